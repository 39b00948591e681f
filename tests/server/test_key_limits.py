"""Limits of keys that a client tries to pass."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.held_upstream import HeldUpstream
from helpers.serving import Served, served

from personakit import Runner
from personakit.config import Config
from personakit.ledger import KeyBudget, Ledger
from personakit.server import Settings
from personakit.server.settings import Limits
from personakit.testing import runner


class Place:
    """A server with keys, whose upstream waits."""

    def __init__(self, folder: Path) -> None:
        (folder / "p.yaml").write_text("system: You help.\n")
        self.settings = Settings(ledger=folder / "ledger.db")
        self.ledger = Ledger(folder / "ledger.db")
        self.upstream = HeldUpstream()
        config = Config(model="test/model", path=())
        plugins = [KeyBudget(self.ledger)]
        self.runner = Runner(
            config, path=[folder], plugins=plugins, backend=self.upstream, log=False
        )

    def key(self, name: str, **limits: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.ledger.new_key(name, **limits)[1]}"}

    @contextmanager
    def serving(self) -> Iterator[Served]:
        with served(self.runner, self.settings) as server:
            try:
                yield server
            finally:
                self.upstream.go.set()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def begin(server: Served, headers: dict[str, str]) -> threading.Thread:
    thread = threading.Thread(target=lambda: server.chat(headers=headers))
    thread.start()
    return thread


def test_a_refused_request_gives_back_no_place_of_another(place: Place) -> None:
    anna = {**place.key("anna", concurrent=1), "x-request-id": "same"}
    bob = {**place.key("bob", concurrent=1), "x-request-id": "same"}
    with place.serving() as server:
        begun = [begin(server, anna)]
        assert place.upstream.wait_for(1)
        begun.append(begin(server, bob))
        assert place.upstream.wait_for(2)
        statuses = [server.chat(headers=who).status for who in (anna, anna, bob, bob, anna)]
        assert statuses == [429] * 5
        place.upstream.go.set()
        for thread in begun:
            thread.join(10)
        assert [server.chat(headers=who).status for who in (anna, bob)] == [200, 200]
    assert len(place.upstream.requests) == 4


def test_a_key_does_not_fill_the_queue_beyond_its_own_limit(place: Place) -> None:
    place.settings = dataclasses.replace(
        place.settings, limits=Limits(concurrent=1, queue=2), ledger=place.ledger.path
    )
    anna, bob, carl = place.key("anna"), place.key("bob", concurrent=1), place.key("carl")
    with place.serving() as server:
        begun = [begin(server, anna)]
        assert place.upstream.wait_for(1)
        begun.append(begin(server, bob))
        gate = server.application._runs.gate
        until = time.monotonic() + 10
        while not gate._waiting and time.monotonic() < until:
            time.sleep(0.005)
        assert [server.chat(headers=bob).status for _ in range(3)] == [429] * 3
        statuses: list[int] = []
        begun.append(
            threading.Thread(target=lambda: statuses.append(server.chat(headers=carl).status))
        )
        begun[-1].start()
        place.upstream.go.set()
        for thread in begun:
            thread.join(10)
    assert statuses == [200]


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_with_a_budget_needs_a_runner_that_keeps_it(tmp_path: Path, stream: bool) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, upstream = runner(["Hello!"], path=[tmp_path])
    ledger = Ledger(tmp_path / "ledger.db")
    tokens = [ledger.new_key("anna", tokens_day=9_000)[1], ledger.new_key("bob", rpm=9)[1]]
    anna, bob = ({"authorization": f"Bearer {token}"} for token in tokens)
    with served(running, Settings(ledger=tmp_path / "ledger.db")) as server:
        refused = server.chat(headers=anna, stream=stream)
        assert (refused.status, refused.error["code"]) == (503, "budgets_not_kept")
        assert "KeyBudget" not in refused.body.decode()
        assert server.chat(headers=bob, stream=stream).status == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_ledger_that_breaks_during_a_request_refuses(place: Place, stream: bool) -> None:
    anna = place.key("anna", tokens_day=9_000)
    place.upstream.go.set()
    with place.serving() as server:
        assert server.chat(headers=anna).status == 200
        place.ledger.close()
        server.application._access.close()
        for file in place.ledger.path.parent.glob("ledger.db*"):
            file.write_bytes(b"not a database" * 999)
        # The key is still remembered.
        refused = server.chat(headers=anna, stream=stream)
    assert (refused.status, refused.error["code"]) == (503, "ledger_unavailable")
    assert "ledger.db" not in refused.body.decode()
    assert len(place.upstream.requests) == 1
