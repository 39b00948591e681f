"""Models by name, version and path: what a client can name, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.serving import served

from personakit import Registry, hookimpl
from personakit.ledger import KeyBudget, Ledger
from personakit.server import Settings
from personakit.server.settings import Limits
from personakit.testing import runner


class Hub:
    """A plugin that loads personas by ``hub:…``."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.loader("hub", lambda reference: f"version: '1'\nsystem: 'loaded {reference}'\n")


def test_a_pin_is_not_part_of_the_name_that_a_key_allows(tmp_path: Path) -> None:
    running, upstream = runner(["Hello!"], plugins=[Hub()], path=[tmp_path])
    ledger = Ledger(tmp_path / "ledger.db")
    anna = {"authorization": f"Bearer {ledger.new_key('anna', personas=('hub:a',))[1]}"}
    settings = Settings(ledger=tmp_path / "ledger.db", personas=("hub:*",))
    with served(running, settings) as server:
        assert server.chat(model="hub:a", headers=anna).status == 200
        assert server.chat(model="hub:a@b@1", headers=anna).status == 404
    assert [request.messages[0].text for request in upstream.requests] == ["loaded a"]


def test_a_pin_is_not_the_end_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\nversion: '1.0'\n")
    work = tmp_path / "work"
    work.mkdir()
    for name in ("p@x.yaml", "p@1.0", "p@x.yaml@1"):
        (work / name).write_text("system: Another.\n")
    monkeypatch.chdir(work)
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        for model in ("p@x.yaml", "p@x.yaml@1", "p@", "p@../p.yaml", "p@a\\p.yaml", "p@1.0\n"):
            assert server.chat(model=model).status == 404, model
        assert server.request("GET", "/v1/models/p%2540x").status == 404


def test_a_path_is_decoded_once(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        assert server.request("GET", "/v1/models/%70").status == 200
        assert server.request("GET", "/v1/models/%2570").status == 404


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_variables_in_a_header_in_either_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "p.yaml").write_text("variables: {dish: {}}\nsystem: '{{ dish }}'\n")
    running, upstream = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        value: Any = '{"dish": "Crème brûlée"}'.encode(encoding)
        assert server.chat(headers={"x-personakit-variables": value}).status == 200
    assert upstream.requests[0].messages[0].text == "Crème brûlée"


def test_variables_in_metadata_have_the_same_limit(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("variables: {dish: {}}\nsystem: '{{ dish }}'\n")
    running, upstream = runner(["Hello!"], path=[tmp_path])
    settings = Settings(open=True, ledger=tmp_path / "ledger.db", limits=Limits(variables=100))
    with served(running, settings) as server:
        refused = server.chat(metadata={"dish": "x" * 101})
        assert (refused.status, refused.error["param"]) == (400, "metadata")
        assert server.chat(metadata={"dish": "Soup", "chat": "x" * 101}).status == 200
    assert len(upstream.requests) == 1


def test_both_limits_of_a_persona_are_within_that_of_the_key(tmp_path: Path) -> None:
    both = "{max_tokens: 900, max_completion_tokens: 800}"
    (tmp_path / "p.yaml").write_text(f"system: You help.\nparameters: {both}\n")
    ledger = Ledger(tmp_path / "ledger.db")
    running, upstream = runner(["Hello!"], path=[tmp_path], plugins=[KeyBudget(ledger)])
    anna = {"authorization": f"Bearer {ledger.new_key('anna', max_tokens=50)[1]}"}
    with served(running, Settings(ledger=tmp_path / "ledger.db")) as server:
        assert server.chat(headers=anna).status == 200
    assert set(upstream.requests[0].parameters.values()) == {50}


def test_a_link_to_itself_hides_no_other_persona(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    link = tmp_path / "loop.yaml"
    link.symlink_to(link)
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        assert "p" in {each["id"] for each in server.get("/v1/models").json["data"]}
