"""The lists of models: asked at once, for a limited time, and kept for a day."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import Config, Provider, Runner
from personakit.backend import ModelList, list_models, model_cache
from personakit.backend.model_cache import Kept, Listed
from personakit.backend.model_lists import LASTS
from personakit.testing import Reply, Server

KEY = "sk-canary-91b2"
DEAD = "http://127.0.0.1:9/v1"


def lists(
    folder: Path, *providers: Provider, refresh: bool = False, patience: float = 20, **environ: str
) -> dict[str, ModelList]:
    """Return the answers of providers, by name."""
    known = {provider.name: provider for provider in providers}
    env = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), **environ}
    with Runner(Config(path=(), providers=known, environ=env, select=frozenset())) as using:
        results = list_models(using.router, providers, refresh=refresh, patience=patience)
    assert KEY not in repr(results)
    return {one.provider.name: one for one in results}


def here(server: Server, name: str = "here", **more: Any) -> Provider:
    """Return a provider on this machine."""
    return Provider(name, server.base_url, **{"key_required": False, **more})


def elsewhere(server: Server) -> Provider:
    """Return a provider at an address that is not known to be on this machine."""
    url = server.base_url.replace("127.0.0.1", "0.0.0.0")
    return Provider("there", url, key_env="THERE_KEY")


def test_a_list_is_asked_for_with_the_key_and_the_headers_of_the_provider(tmp_path: Path) -> None:
    with Server(models=["b", "a"]) as server:
        provider = here(server, key_env="HERE_KEY", headers=(("X-Team", "a"),))
        answer = lists(tmp_path, provider, HERE_KEY=KEY)["here"]
    assert (answer.has_key, answer.models, answer.fault) == (True, (Listed("a"), Listed("b")), "")
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/v1/models")
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert (headers["authorization"], headers["x-team"]) == (f"Bearer {KEY}", "a")


def test_anthropic_has_headers_of_its_own(tmp_path: Path) -> None:
    with Server(models=["claude"]) as server:
        provider = here(server, "anthropic", key_env="ANTHROPIC_API_KEY")
        assert lists(tmp_path, provider, ANTHROPIC_API_KEY=KEY)["anthropic"].models
    (request,) = server.requests
    assert request.path == "/v1/models?limit=1000"
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in {name.lower() for name in request.headers}


def test_a_provider_without_its_key_is_not_asked(tmp_path: Path) -> None:
    with Server() as server:
        answer = lists(tmp_path, here(server, key_env="HERE_KEY", key_required=True))["here"]
    assert (answer.has_key, answer.models, answer.fault) == (False, None, "")
    assert server.requests == []


def test_a_provider_without_an_address_has_its_default_model(tmp_path: Path) -> None:
    local = Provider("mine", connect=lambda model: None, default_model="small")  # type: ignore[arg-type,return-value]
    bare = dataclasses.replace(local, name="bare", default_model="")
    found = lists(tmp_path, local, bare)
    assert found["mine"].models == (Listed("small"),)
    assert found["bare"].models is None


BODIES: dict[bytes, list[tuple[str, int | None]]] = {
    b'{"data": [{"id": "a", "context_length": 8192}]}': [("a", 8192)],
    b'[{"id": "a", "max_model_len": 4096}, {"id": "a"}]': [("a", None)],
    b'{"models": [{"name": "a", "context_window": 0}]}': [("a", None)],
    b'{"data": [{"id": "a", "context_length": true}, 3, {"id": 5}, {"id": "\\u001b[2J"}]}': [
        ("a", None)
    ],
    b'{"data": []}': [],
}


@pytest.mark.parametrize("body", BODIES)
def test_the_spellings_of_a_list(body: bytes, tmp_path: Path) -> None:
    with Server(models=Reply(body)) as server:
        answer = lists(tmp_path, here(server))["here"]
    assert answer.models == tuple(Listed(*model) for model in BODIES[body])


FAULTS: list[tuple[Reply, str]] = [
    (Reply(b"<html>", headers={"content-type": "text/html"}), "the answer is not a list of models"),
    (Reply(b'{"data": "x"}'), "the answer is not a list of models"),
    (Reply(b"[" * 100_000), "the answer is not a list of models"),
    (Reply(b" " * (17 << 20)), "the answer is larger than 16 MiB"),
    (Reply(f'{{"error": {{"message": "wrong {KEY}\\n!"}}}}'.encode(), 401), "wrong *** !"),
    (Reply(b"", 302, {"location": "http://127.0.0.1:1/"}), "redirects are not followed"),
    (Reply(b"{}", 503), "status 503"),
    (Reply(b"{}", 404), ""),
]


@pytest.mark.parametrize(("reply", "fault"), FAULTS, ids=range(len(FAULTS)))
def test_an_error_is_one_line_and_leaves_the_others(
    reply: Reply, fault: str, tmp_path: Path
) -> None:
    with Server(models=reply) as bad, Server() as good:
        key = {"key_env": "BAD_KEY"}
        found = lists(tmp_path, here(bad, "bad", **key), here(good, "good"), BAD_KEY=KEY)
    assert found["good"].models == (Listed("test-model"),)
    answer = found["bad"]
    assert answer.models is None
    assert fault in answer.fault
    assert "\n" not in answer.fault
    assert bool(answer.fault) == bool(fault)
    assert len(bad.requests) == 1


def test_dead_and_endless_servers_do_not_block(tmp_path: Path) -> None:
    def trickle() -> Generator[bytes]:
        while True:
            yield b" "
            time.sleep(0.1)

    with Server(models=Reply(trickle())) as slow, Server() as good:
        begun = time.monotonic()
        dead = Provider("dead", DEAD, key_required=False)
        found = lists(tmp_path, here(slow, "slow"), here(good, "good"), dead, patience=1)
        assert time.monotonic() - begun < 30
    assert found["good"].models
    assert "no answer within 1 s" in found["slow"].fault
    assert "ConnectError" in found["dead"].fault or "refused" in found["dead"].fault


def test_a_missing_address_is_a_fault_of_its_provider(tmp_path: Path) -> None:
    provider = Provider("azure", base_url_env="AZURE_URL", key_env="AZURE_KEY")
    answer = lists(tmp_path, provider, AZURE_KEY=KEY)["azure"]
    assert (answer.has_key, answer.models) == (True, None)
    assert (
        "AZURE_URL must be an address such as https://example.com/v1; it is not set" in answer.fault
    )


def test_a_list_from_elsewhere_is_kept_for_a_day(tmp_path: Path) -> None:
    with Server(models=["a"]) as server:
        ask = [elsewhere(server)]
        assert lists(tmp_path, *ask, THERE_KEY=KEY)["there"].time is None
        again = lists(tmp_path, *ask, THERE_KEY=KEY)["there"]
        assert again.models == (Listed("a"),)
        assert again.time is not None
        assert len(server.requests) == 1
        server.models = ["b"]
        assert lists(tmp_path, *ask, THERE_KEY=KEY, refresh=True)["there"].models == (Listed("b"),)
        file = tmp_path / "cache" / "personakit" / "models.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert KEY not in file.read_text()
        entries = json.loads(file.read_text())
        entries["there"][1] -= LASTS
        file.write_text(json.dumps(entries))
        assert lists(tmp_path, *ask, THERE_KEY=KEY)["there"].time is None
        assert len(server.requests) == 3
        server.models = Reply(b"{}", 500)
        stale = lists(tmp_path, *ask, THERE_KEY=KEY, refresh=True)["there"]
    assert stale.models == (Listed("b"),)
    assert stale.time is not None
    assert "status 500" in stale.fault


def test_a_list_of_another_address_is_not_used(tmp_path: Path) -> None:
    with Server(models=["a"]) as one, Server(models=["b"]) as other:
        lists(tmp_path, elsewhere(one), THERE_KEY=KEY)
        assert lists(tmp_path, elsewhere(other), THERE_KEY=KEY)["there"].models == (Listed("b"),)


def test_a_list_of_this_machine_is_not_kept(tmp_path: Path) -> None:
    with Server(models=["a"]) as server:
        lists(tmp_path, here(server))
        server.models = ["b"]
        assert lists(tmp_path, here(server))["here"].models == (Listed("b"),)


def cache_of(folder: Path) -> tuple[Config, Path]:
    config = Config(environ={"HOME": str(folder), "XDG_CACHE_HOME": str(folder)})
    return config, folder / "personakit" / "models.json"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b'{"a": ["x", 1, [[1, 2]]]}',
    b'{"a": ["x", "y", []]}', b'{"a": [1, 2, []]}', b'{"a": ["x", 1, [["b", "c"]]]}', b"\xff",
    b"[" * 99_999])  # fmt: skip
def test_a_broken_cache_is_an_empty_one(content: bytes, tmp_path: Path) -> None:
    config, file = cache_of(tmp_path)
    file.parent.mkdir()
    file.write_bytes(content)
    assert model_cache.read(config) == {}
    model_cache.write(config, {"a": Kept("x", 1.0, (Listed("b"),))})
    assert list(model_cache.read(config)) == ["a"]


def test_a_cache_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    config, file = cache_of(tmp_path)
    file.parent.write_text("")
    model_cache.write(config, {"a": Kept("x", 1.0, ())})
    assert model_cache.read(config) == {}


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_the_cache_is_not_written_through_a_link(tmp_path: Path) -> None:
    config, file = cache_of(tmp_path)
    file.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    file.symlink_to(victim)
    model_cache.write(config, {"a": Kept("x", 1.0, ())})
    assert victim.read_text() == "mine"
    assert list(model_cache.read(config)) == ["a"]


MODELS = st.builds(Listed, st.text(max_size=9), st.none() | st.integers(1, 10**7))


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.text(max_size=9),
        st.builds(Kept, st.text(max_size=9), st.floats(0, 1e12), st.lists(MODELS).map(tuple)),
        max_size=4,
    )
)
def test_what_is_kept_is_read_again(kept: Mapping[str, Kept]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config, _ = cache_of(Path(folder))
        model_cache.write(config, kept)
        assert model_cache.read(config) == kept
