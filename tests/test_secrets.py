"""Secrets: what is shown of them, and where the key of a provider comes from."""

from __future__ import annotations

import asyncio
import base64
import copy
import dataclasses
import json
import os
import pickle
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import Config, ConfigError, Endpoint, Provider, Registry, Runner, Secret, hookimpl
from personakit.base import Hidden, hide, scrub
from personakit.keys import Keys
from personakit.keys.keyfile import put, read
from personakit.providers import BUILT_IN
from personakit.testing import MODES, Reply, Server, in_mode, persona

CANARY = "sk-canary+7f/3a9=Q"


def all_of(error: BaseException) -> str:
    """Return an error and all that led to it, with the local variables of every frame."""
    waiting: list[BaseException | None] = [error]
    shown = []
    while waiting:
        found = waiting.pop()
        if found is not None:
            waiting += [found.__cause__, found.__context__]
            made = traceback.TracebackException.from_exception(found, capture_locals=True)
            shown += [*made.format(), repr(found), repr(vars(found)), repr(found.args)]
    return "".join(shown)


# --- the type -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{:>30}".format,
        "%s %r".__mod__,
        lambda secret: f"{secret!r} {secret!s} {secret!a}",
        lambda secret: repr([secret, {secret: secret}]),
        lambda secret: repr(Endpoint("http://x", secret, "m")),
        lambda secret: repr(Provider("x", api_key=secret, headers=(("a", secret),))),
        lambda secret: repr(dataclasses.asdict(Endpoint("http://x", secret, "m"))),
        lambda secret: repr(Hidden({"KEY": CANARY})),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: str(ConfigError(f"{secret}")),
    ],
)
def test_nothing_shows_a_secret(show: Callable[[Any], str]) -> None:
    given = Secret(CANARY)
    shown = show((given, given)) if show == "%s %r".__mod__ else show(given)
    assert CANARY not in shown
    assert "canary" not in shown
    assert given.reveal() == CANARY


def test_a_secret_is_a_value() -> None:
    one, same, other = Secret("a"), Secret("a"), Secret("b")
    assert one == same == Secret(one)
    assert one != other
    assert one != "a"
    assert {one: 1}[same] == 1
    assert copy.copy(one) is copy.deepcopy(one) is one
    assert (bool(one), bool(Secret(""))) == (True, False)
    assert Endpoint("u", "a", "m") == Endpoint("u", one, "m") != Endpoint("u", None, "m")


@pytest.mark.parametrize("dump", [pickle.dumps, json.dumps])
def test_a_secret_is_not_written_by_chance(dump: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"Secret is not pickled.*reveal|Secret is not JSON") as got:
        dump(Secret(CANARY))
    assert CANARY not in all_of(got.value)


def test_a_secret_does_not_change() -> None:
    for name in ("value", "_Secret__value"):
        with pytest.raises(AttributeError, match="does not change"):
            setattr(Secret(CANARY), name, "x")
        with pytest.raises(AttributeError, match="does not change"):
            delattr(Secret(CANARY), name)


def test_a_secret_is_made_of_a_text() -> None:
    wrong: Any = CANARY.encode()
    with pytest.raises(TypeError, match="a secret is a str, found bytes") as got:
        Secret(wrong)
    del wrong
    assert CANARY not in "".join(all_of(got.value).splitlines()[-6:])


KEYS = st.text('abcXYZ019-_/+=.&"\\% é\n', min_size=8, max_size=60)
FORMS: list[Callable[[str], str]] = [
    lambda key: key,
    json.dumps,
    lambda key: json.dumps(json.dumps(key)[1:-1]),
    lambda key: json.dumps(key, ensure_ascii=False),
    repr,
    quote,
    lambda key: quote(key, safe=""),
    lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: base64.b64encode(b"u:" + key.encode() + b"!").decode(),
    lambda key: base64.urlsafe_b64encode(b"Bearer " + key.encode()).decode(),
]


@given(KEYS, st.sampled_from(FORMS[:2] + FORMS[3:]), st.text(max_size=9), st.text(max_size=9))
def test_a_secret_is_found_however_it_is_written(
    key: str, form: Callable[[str], str], before: str, after: str
) -> None:
    hidden = Secret(key).hide(f"{before}|{form(key)}|{after}")
    assert hidden.startswith(f"{before}|") or key in before
    assert "***" in hidden
    assert key not in hidden


@given(st.integers(16, len(CANARY)), st.text("xyz ", max_size=9), st.integers(1, 3))
def test_the_beginning_of_a_long_secret_is_found_where_it_was_cut(
    length: int, after: str, times: int
) -> None:
    cut = f"|{CANARY[:length]}{after}"
    assert Secret(CANARY).hide(cut * times) == f"|***{after}" * times
    assert Secret(CANARY).hide(CANARY[:15]) == CANARY[:15]


@given(st.text(), st.text("xyz", min_size=1))
def test_a_text_without_the_secret_stays(text: str, key: str) -> None:
    if key not in text:
        assert Secret(key + "@@@@@@@@").hide(text) == text
    assert Secret("ab").hide("ab cab") == "ab cab"


def test_secrets_are_hidden_in_plain_data() -> None:
    data = {"a": [CANARY, 1, None], CANARY: (f"x{CANARY}", CANARY.encode())}
    hidden = hide(data, [Secret(CANARY), Secret("")])
    assert hidden == {"a": ["***", 1, None], "***": ("x***", b"***")}
    assert hide(data, []) is data


def test_an_error_is_scrubbed_with_all_that_led_to_it() -> None:
    def inner(header: str) -> None:
        error = ConnectionError(f"cannot send {header}")
        error.body = [{"key": header}]  # type: ignore[attr-defined]
        raise error

    def outer() -> None:
        key = Secret(CANARY).reveal()
        try:
            inner(f"Bearer {key}")
        except OSError as error:
            error.add_note(key)
            raise ExceptionGroup("both", [ValueError(key), error]) from error

    def call() -> None:
        error = None
        try:
            outer()
        except ExceptionGroup as caught:
            error = caught
        assert error is not None
        assert CANARY in all_of(error)
        scrub(error, [Secret(CANARY)], sys.exception())
        shown = all_of(error)
        assert CANARY not in shown
        assert "in inner" in shown
        assert "cannot send Bearer ***" in shown

    def user() -> None:
        mine = "kept"
        raise ValueError(mine)

    try:
        user()
    except ValueError as before:
        call()
        assert "mine = 'kept'" in all_of(before)  # noqa: PT017


# --- where a key comes from ---------------------------------------------------------------------

MINE = Provider("mine", "http://mine/v1", key_env="MINE_KEY")


def keys(environ: dict[str, str] | None = None, **config: Any) -> Keys:
    return Keys(Config(environ=environ or {}, **config), lambda kind, name: None, lambda k, n: n)


def test_the_places_go_in_order(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    put(file, "mine", Secret("from-file"))
    found = keys({"MINE_KEY": "from-env"}, keys_file=file)
    named = dataclasses.replace(MINE, api_key="from-config")
    found.given["mine"] = Secret("given")
    assert found.find(named) == Secret("given")
    del found.given["mine"]
    assert found.find(named) == Secret("from-config")
    assert found.find(MINE) == Secret("from-env")
    assert keys(keys_file=file).find(MINE) == Secret("from-file")


def test_a_provider_that_needs_no_key_gets_the_one_that_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ollama = BUILT_IN["ollama"]
    assert keys(keys_file=file).find(ollama) is None
    put(file, "ollama", Secret("k"))
    assert keys(keys_file=file).find(ollama) == Secret("k")
    put(file, "ollama", None)  # it is in the keyring, which is not looked into here
    with pytest.raises(ConfigError, match=r"run `personakit keys set ollama`"):
        keys(keys_file=file).find(ollama)


def test_what_was_looked_at_is_said(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with pytest.raises(ConfigError) as got:
        keys(keys_file=file).find(MINE)
    said = str(got.value)
    assert said.startswith(
        "no key for provider 'mine': set MINE_KEY, run `personakit keys set mine`"
    )
    assert said.endswith(f"looked in MINE_KEY (not set), {file} (no such file)")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660, 0o666])
def test_a_file_that_others_can_read_or_change_is_not_used(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "my keys.json"
    put(file, "mine", Secret(CANARY))
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"its mode is {mode:o}\).*chmod 600 '.*my keys.json'"):
        keys(keys_file=file).find(MINE)
    with pytest.raises(ConfigError, match="chmod 600"):
        put(file, "other", Secret("k"))
    assert stat.S_IMODE(file.stat().st_mode) == mode
    file.chmod(0o400)
    assert keys(keys_file=file).find(MINE) == Secret(CANARY)


@pytest.mark.parametrize(
    "content",
    [f'{{"mine": "{CANARY}"', f'["{CANARY}"]', f'{{"mine": ["{CANARY}"]}}', f'"{CANARY}"',
     f"\xff{CANARY}".encode("latin-1"), CANARY, "[" * 100_000, "0" * 2_000_000],
    ids=range(8),
)  # fmt: skip
def test_a_file_of_keys_that_is_none_shows_nothing(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "keys.json"
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    file.chmod(0o600)
    for change in (lambda: put(file, "mine", Secret("new")), lambda: read(file)):
        with pytest.raises(ConfigError, match=r"no JSON mapping .* move it away") as got:
            change()
        _only_ours(got.value)
    assert file.read_bytes() == data


def _only_ours(error: BaseException) -> None:
    """Check that no frame of personakit, and no error before it, has the canary."""
    assert error.__cause__ is error.__context__ is None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals["__name__"].startswith("personakit"):
            assert CANARY not in repr(frame.f_locals)
    assert CANARY not in str(error)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_private_at_creation_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    file = tmp_path / "a" / "b" / "keys.json"
    before = os.umask(umask)
    try:
        put(file, "mine", Secret("k"))
        put(file, "other", Secret("l"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(p.stat().st_mode) for p in (file.parent, file.parent.parent)] == [
        0o700
    ] * 2
    assert [p.name for p in file.parent.iterdir()] == ["keys.json"]
    assert read(file) == {"mine": Secret("k"), "other": Secret("l")}


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "keys.json", tmp_path / "keys.json"
    put(real, "mine", Secret("k"))
    link.symlink_to(real)
    put(link, "other", Secret("l"))
    assert link.is_symlink()
    assert read(real) == {"mine": Secret("k"), "other": Secret("l")}
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match=r"loop: cannot be (read|written)"):
        put(loop, "mine", Secret("k"))


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"keys.json: cannot be (read|written): Not a directory"):
        put(tmp_path / "file" / "keys.json", "mine", Secret(CANARY))


def test_no_key_is_lost_when_many_write(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    names = [f"p{n}" for n in range(12)]
    threads = [threading.Thread(target=put, args=(file, name, Secret(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(read(file)) == sorted(names)


# --- the schemes of plugins ---------------------------------------------------------------------


def asking(function: Callable[[str], Any], reference: str = "vault:a/b") -> Callable[[], Any]:
    """Return a look-up of the key of a provider that names a plugin's scheme."""

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    provider = dataclasses.replace(MINE, api_key=reference)
    config = Config(path=(), select=frozenset(), environ={"MINE_KEY": "env"},
                    providers={"mine": provider}, file="config.yaml")  # fmt: skip
    router = Runner(config, plugins=[Vault]).router
    return lambda: router.endpoint(provider, "m").api_key


def fails(error: BaseException) -> Callable[[str], Any]:
    def function(rest: str) -> str:
        key = f"{CANARY} of {rest}"
        assert key
        raise error

    return function


async def awaited(_: str) -> str:
    return CANARY


def test_a_scheme_gives_the_key() -> None:
    assert asking(lambda rest: f" {rest}\n")() == Secret("a/b")
    assert asking(Secret)() == Secret("a/b")
    assert asking(lambda rest: "x", "literal:vault:a")() == Secret("vault:a")
    assert asking(lambda rest: "x", "sk-no-scheme")() == Secret("sk-no-scheme")
    assert asking(lambda rest: "x", "C:0815")() == Secret("C:0815")


def test_a_scheme_is_asked_once_until_the_key_is_refused() -> None:
    asked: list[str] = []

    def function(rest: str) -> str:
        asked.append(rest)
        return f"key-{len(asked)}"

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    refused = {"error": {"message": "no"}}
    for mode in MODES:
        asked.clear()
        bad = Reply(json.dumps(refused).encode(), 401)
        with Server(["one", "two", bad, "three"]) as server:
            provider = Provider("mine", server.base_url, api_key="vault:x")
            config = Config(path=(), select=frozenset(), environ={}, providers={"mine": provider})
            running = Runner(config, plugins=[Vault])
            for text in ("one", "two", None, "three"):
                if text is None:
                    with pytest.raises(Exception, match="status 401"):
                        in_mode(mode, running, persona(), model="mine/m")
                else:
                    assert in_mode(mode, running, persona(), model="mine/m").text == text
            sent = [r.headers.get("Authorization", r.headers.get("authorization"))
                    for r in server.requests]  # fmt: skip
            running.close()
        assert sent == [f"Bearer key-{n}" for n in (1, 1, 1, 2)]


def test_a_slow_scheme_does_not_hold_the_event_loop() -> None:
    going = threading.Event()

    def function(_: str) -> str:
        assert going.wait(30), "the loop stood still"
        return "k"

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    async def main(running: Runner) -> str:
        run = asyncio.create_task(running.arun(persona(), model="mine/m"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, going.set)
        return (await run).text

    with Server() as server:
        provider = Provider("mine", server.base_url, api_key="vault:x")
        config = Config(path=(), select=frozenset(), environ={}, providers={"mine": provider})
        assert asyncio.run(main(Runner(config, plugins=[Vault]))) == "Hello!"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rest: "", "it returned an empty text"),
        (lambda rest: None, "it returned NoneType, not a text"),
        (lambda rest: CANARY.encode(), "it returned bytes, not a text"),
        (awaited, "it returned coroutine, not a text"),
        (fails(ValueError(CANARY)), r"it failed with ValueError at test_secrets.py:\d+"),
        (fails(SystemExit(CANARY)), r"it failed with SystemExit at test_secrets.py:\d+"),
        (fails(ConfigError("run `vault login`")), "run `vault login`"),
    ],
)
def test_what_a_scheme_does_wrong_is_said_without_the_key(
    function: Callable[[str], Any], message: str
) -> None:
    ask = asking(function)
    with pytest.raises(
        ConfigError,
        match=rf"^no key for provider 'mine': scheme 'vault' of plugin 'Vault': {message}$",
    ) as got:
        ask()
    _only_ours(got.value)


def test_a_scheme_s_key_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="provider 'mine', from vault:, holds a space") as got:
        asking(lambda rest: f"{CANARY} {rest}")()
    _only_ours(got.value)


def test_a_scheme_that_nobody_brings_is_not_sent_as_a_key() -> None:
    with pytest.raises(ConfigError) as got:
        asking(lambda rest: "x", f"op:{CANARY}")()
    said = str(got.value)
    for part in ("config.yaml: ", "'mine'", "scheme 'op'", "literal:", "keys set mine"):
        assert part in said
    _only_ours(got.value)


def test_literal_is_no_scheme_of_a_plugin() -> None:
    with pytest.raises(ValueError, match="config file itself"):
        Registry("x").secret("literal", str)


@pytest.mark.parametrize(
    "content",
    [
        f"providers: {{w: {{base_url: https://x.y, api_key: {CANARY!r}, more: 1}}}}",
        f"providers: {{w: {{base_url: https://x.y, api_key: [{CANARY!r}]}}}}",
        f"providers: {{w: {{base_url: https://x.y, api_key: {CANARY!r}",
        f"providers: {{w: {{headers: {{x: {CANARY!r}}}}}}}",
    ],
)
def test_a_config_file_that_is_wrong_shows_no_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    environ = Hidden({"PERSONAKIT_CONFIG": str(file), "OPENAI_API_KEY": CANARY})
    with pytest.raises(ConfigError, match=r"config\.yaml:1") as got:
        Config.read(environ)
    _only_ours(got.value)


# --- the documented example ---------------------------------------------------------------------


def test_the_documented_plugin_reads_from_op(
    tmp_path: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parent.parent / "docs" / "plugins" / "setup.md"
    code = page.read_text("utf-8").split("`personakit_op.py` brings")[1].split("```")[1]
    assert len([line for line in code.splitlines()[1:] if line.strip()]) <= 12
    (tmp_path / "personakit_op.py").write_text(code.removeprefix("python\n"))
    monkeypatch.syspath_prepend(tmp_path)
    install("personakit-op", op="personakit_op")
    command = tmp_path / "bin" / "op"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\n[ "$2" = op://Team/llm/credential ] && echo the-key && exit\n'
                       'echo "[ERROR] no item" >&2; exit 1\n')  # fmt: skip
    command.chmod(0o700)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    config = Config(path=(), select=frozenset({"op"}), environ={})

    def key(reference: str) -> Secret | None:
        return Runner(config).router.keys.find(dataclasses.replace(MINE, api_key=reference))

    assert key("op://Team/llm/credential") == Secret("the-key")
    with pytest.raises(ConfigError, match=r"plugin 'op': \[ERROR\] no item; run `op signin`"):
        key("op://Team/other/credential")
