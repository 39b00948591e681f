"""Limits, sums and what the caller gets to see, through the public API."""

import asyncio
import dataclasses
import re
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from personakit_budget import Budget
from personakit_budget.ledger import Ledger

from personakit import (
    BackendError,
    Blocked,
    PersonaError,
    PluginError,
    RateLimited,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    Usage,
    hookimpl,
)
from personakit.testing import MODES, Server, check_plugin, in_mode, persona, runner

NOON = 1_772_366_400.0  # 2026-03-01 12:00 UTC
MODEL = "openai/gpt-4o-mini"
SIX = "sixsix"  # the fake upstream counts a token for each message and each character


def used(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return the calls, tokens, nano-dollars and calls without a price of each persona.

    No call is running, so a reservation that is left is a mistake.
    """
    ledger = Ledger(folder)
    found = {name: dataclasses.astuple(total) for name, total in ledger.by_persona(0, 0).items()}
    later = ledger.by_persona(0, time.time() + 86_400)
    assert found == {name: dataclasses.astuple(total) for name, total in later.items()}
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("option", ["persona_tokens", "day_tokens"])
def test_a_limit_refuses_before_anything_is_sent(mode: str, option: str, folder: Path) -> None:
    budget = Budget(**{option: 60}, folder=str(folder))  # type: ignore[arg-type]
    budget.clock = lambda: NOON
    running, upstream = runner([SIX], plugins=[budget])
    for left in (52, 44):
        response = in_mode(mode, running, persona(), "Hi", parameters={"max_tokens": 10})
        assert response.text == SIX
        assert response.metadata["budget"] == {
            "tokens": 8,
            "usd": None,
            "left": {option: left},
        }
    with pytest.raises(Blocked) as caught:
        in_mode(mode, running, persona(), "Hi", parameters={"max_tokens": 30})
    assert len(upstream.requests) == 2
    said = caught.value.reason
    assert f"the limit {option} of" in said
    assert "is 60 tokens; 16 tokens are used" in said
    assert "the limit resets at 2026-03-02 00:00 UTC" in said
    assert f"raise {option}" in said
    assert used(folder) == {"test": (2, 16, 0, 2)}


@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_all_its_rounds(mode: str, folder: Path) -> None:
    def look() -> str:
        """Look."""
        return "seen"

    call = Response(
        "",
        tool_calls=(ToolCall("1", "look"),),
        finish_reason="tool_calls",
        usage=Usage(90, 10, 100),
    )

    class Offer:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.with_tools(Tool.of(look))

    budget = Budget(run_tokens=420, folder=str(folder))
    running, upstream = runner([call, call, "done"], plugins=[Offer(), budget])
    response = in_mode(mode, running, persona(), "Hi")
    assert response.metadata["budget"]["tokens"] == (response.usage or Usage()).total_tokens
    assert response.metadata["budget"]["tokens"] > 200
    running, upstream = runner([call], plugins=[Offer(), budget])
    with pytest.raises(
        Blocked, match=r"run_tokens of this run is 420.*the next run starts at zero"
    ):
        in_mode(mode, running, persona(), "Hi")
    assert 2 <= len(upstream.requests) <= 4


@pytest.mark.parametrize("mode", MODES)
def test_known_prices_are_summed_exactly(mode: str, folder: Path) -> None:
    answer = Response("ok", finish_reason="stop", usage=Usage(1000, 100, 1100))
    budget = Budget(day_usd=0.0005, folder=str(folder))
    running, _ = runner([answer], plugins=[budget])
    options: dict[str, Any] = {"model": MODEL, "parameters": {"max_tokens": 100}}
    for left in (0.00029, 0.00008):
        response = in_mode(mode, running, persona(), "Hi", **options)
        assert response.cost == 0.00021
        assert response.metadata["budget"]["usd"] == 0.00021
        assert response.metadata["budget"]["left"] == {"day_usd": left}
    options["parameters"] = {"max_tokens": 1000}
    with pytest.raises(Blocked, match=r"day_usd of all personas is \$0\.0005; \$0\.0004"):
        in_mode(mode, running, persona(), "Hi", **options)


def test_tokens_read_from_the_upstreams_cache_cost_less(folder: Path) -> None:
    usage = Usage(1000, 100, 1100, cached_tokens=500)
    answer = Response("ok", finish_reason="stop", usage=usage)
    running, _ = runner([answer], plugins=[Budget(folder=str(folder))])
    assert running.run(persona(), "Hi", model=MODEL).cost == 0.0001725


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_price_stays_unknown(mode: str, folder: Path) -> None:
    running, upstream = runner([SIX], plugins=[Budget(run_usd=1, folder=str(folder))])
    response = in_mode(mode, running, persona(), "Hi")
    assert response.cost is None
    assert response.metadata["budget"]["usd"] is None
    assert used(folder) == {"test": (1, 8, 0, 1)}
    refusing = Budget(run_usd=1, unknown_price="refuse", folder=str(folder))
    running, upstream = runner([SIX], plugins=[refusing])
    message = "price of test/model is unknown, so run_usd cannot be enforced"
    with pytest.raises(Blocked, match=message):
        in_mode(mode, running, persona(), "Hi")
    assert upstream.requests == []
    without = Budget(run_tokens=999, unknown_price="refuse", folder=str(folder))
    running, _ = runner([SIX], plugins=[without])
    assert in_mode(mode, running, persona(), "Hi").text == SIX


def test_a_day_ends_at_midnight_of_the_time_zone(folder: Path) -> None:
    budget = Budget(day_tokens=45, timezone="Europe/Paris", folder=str(folder))
    running, _ = runner([SIX], plugins=[budget])
    options: dict[str, Any] = {"parameters": {"max_tokens": 15}}
    budget.clock = lambda: NOON
    running.run(persona(), "Hi", **options)
    budget.clock = lambda: NOON + 11 * 3600 - 1
    with pytest.raises(Blocked, match="at 2026-03-02 00:00 Europe/Paris"):
        running.run(persona(), "Hi", **options)
    budget.clock = lambda: NOON + 11 * 3600
    assert running.run(persona(), "Hi", **options).metadata["budget"]["left"] == {"day_tokens": 37}


def test_personas_count_apart_and_together(folder: Path) -> None:
    budget = Budget(persona_tokens=60, day_tokens=500, folder=str(folder))
    running, _ = runner([SIX], plugins=[budget])
    running.run(persona(), "Hi")
    left = running.run(persona(name="other"), "Hi").metadata["budget"]["left"]
    assert left == {"persona_tokens": 52, "day_tokens": 484}


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_fails_counts_what_is_known(mode: str, folder: Path) -> None:
    budget = Budget(day_tokens=10_000, folder=str(folder))
    running, _ = runner([RateLimited("slow down")], plugins=[budget])
    with pytest.raises(RateLimited):
        in_mode(mode, running, persona(), "Hi")
    assert used(folder) == {}
    running, _ = runner([BackendError("gone", partial="x" * 100)], plugins=[budget])
    with pytest.raises(BackendError):
        in_mode(mode, running, persona(), "Hi")
    ((calls, tokens, _, _),) = used(folder).values()
    assert calls == 1
    assert 60 < tokens < 100


def test_a_failure_of_an_inner_plugin_counts_its_answer(folder: Path) -> None:
    class Broken:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> None:
            await send(request)
            raise KeyError("x")

    running, _ = runner([SIX], plugins=[Budget(folder=str(folder)), Broken()])
    with pytest.raises(PluginError):
        running.run(persona(), "Hi")
    assert used(folder) == {"test": (1, 8, 0, 1)}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_abandoned_stream_counts_what_flowed(is_async: bool, folder: Path) -> None:
    running, _ = runner(["x" * 300], plugins=[Budget(folder=str(folder))])

    async def leave() -> None:
        stream = running.astream(persona(), "Hi")
        await anext(aiter(stream))
        await stream.aclose()

    if is_async:
        asyncio.run(leave())
    else:
        stream = running.stream(persona(), "Hi")
        next(stream)
        stream.close()
    ((calls, tokens, _, _),) = used(folder).values()
    assert calls == 1
    assert 10 < tokens < 60


def test_without_usage_the_text_is_counted(folder: Path) -> None:
    running, _ = runner([Response("x" * 100)], plugins=[Budget(folder=str(folder))])
    assert running.run(persona(), "Hi").metadata["budget"]["tokens"] > 50


def test_a_reservation_of_a_dead_process_expires(folder: Path) -> None:
    budget = Budget(day_tokens=100, folder=str(folder))
    budget.clock = lambda: NOON
    running, _ = runner([SIX], plugins=[budget])
    code = f"""
import os
from pathlib import Path
from personakit import Amount
from personakit_budget.ledger import Call, Ledger

call = Call("run", "test", {NOON}, {NOON - 43200})
Ledger(Path({str(folder)!r})).reserve_for(call, lambda spent: Amount(90, None))
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    with pytest.raises(Blocked, match="90 tokens are used or reserved"):
        running.run(persona(), "Hi")
    budget.clock = lambda: NOON + 3601
    assert running.run(persona(), "Hi").text == SIX


def test_a_dry_run_leaves_nothing(folder: Path) -> None:
    running, _ = runner(plugins=[Budget(folder=str(folder))])
    running.prepare(persona(), "Hi")
    assert used(folder) == {}


def test_the_stream_is_not_changed(folder: Path) -> None:
    budget = Budget(day_tokens=10**6, folder=str(folder))
    assert check_plugin(budget, "Hi", ["größer\n\nals"]).text == "größer\n\nals"


def test_text_flows_live(folder: Path) -> None:
    running, _ = runner(["one two"], plugins=[Budget(folder=str(folder))])
    assert list(running.stream(persona(), "Hi")) == ["one", " tw", "o"]


@pytest.mark.parametrize("mode", MODES)
def test_a_broken_ledger_refuses(mode: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "budget.sqlite3").write_text("this is no database, and long enough to tell" * 9)
    running, upstream = runner([SIX], plugin_options={"budget": {"folder": str(folder)}})
    who = persona(plugins=[{"use": "budget", "on_error": "skip"}])
    with pytest.raises(Blocked, match=r"budget\.sqlite3 cannot be used: file is not a database"):
        in_mode(mode, running, who, "Hi")
    assert upstream.requests == []


def test_a_locked_ledger_refuses(folder: Path) -> None:
    budget = Budget(folder=str(folder))
    budget.ledger.patience = 0.05
    running, upstream = runner([SIX], plugins=[budget])
    running.run(persona(), "Hi")
    connection = sqlite3.connect(folder / "budget.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(Blocked, match="database is locked"):
        running.run(persona(), "Hi")
    connection.close()
    assert len(upstream.requests) == 1


def test_the_ledger_is_the_users_own(folder: Path) -> None:
    running, _ = runner(plugins=[Budget(folder=str(folder))])
    running.run(persona(), "Hi")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "budget.sqlite3").stat().st_mode) == 0o600


def test_eight_threads_share_an_instance(folder: Path) -> None:
    running, upstream = runner([SIX], plugins=[Budget(day_tokens=300, folder=str(folder))])

    def once(_: int) -> bool:
        try:
            running.run(persona(), "Hi", parameters={"max_tokens": 6})
        except Blocked:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(once, range(60)))
    assert 10 < done == len(upstream.requests)
    assert used(folder) == {"test": (done, 8 * done, 0, done)}
    assert 8 * done <= 300


def test_tasks_share_an_instance(folder: Path) -> None:
    running, _ = runner([SIX], plugins=[Budget(run_tokens=50, folder=str(folder))])

    async def all_of_them() -> list[Response]:
        return await asyncio.gather(*(running.arun(persona(), "Hi") for _ in range(20)))

    found = asyncio.run(all_of_them())
    assert [r.metadata["budget"]["tokens"] for r in found] == [8] * 20
    assert used(folder) == {"test": (20, 160, 0, 20)}


@pytest.mark.parametrize("mode", MODES)
def test_with_the_openai_client(mode: str, folder: Path) -> None:
    with Server(["Hello!"]) as server:
        config = dataclasses.replace(
            server.config(), plugin_options={"budget": {"folder": str(folder)}}
        )
        running = Runner(config)
        who = persona(plugins=[{"budget": {"persona_usd": 1}}])
        response = in_mode(mode, running, who, "Hi", model=MODEL)
        running.close()
    assert response.metadata["budget"]["tokens"] == 11
    assert response.cost == pytest.approx((5 * 0.15 + 6 * 0.6) / 1e6)
    assert used(folder) == {"test": (1, 11, 4350, 0)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_tokens": 0}, "run_tokens is 0; use a value above 0"),
        ({"day_usd": -0.5}, r"day_usd is -0\.5; use a value above 0"),
        ({"timezone": "Mars"}, "unknown timezone 'Mars'; use a name such as 'UTC'"),
        ({"unknown_price": "deny"}, "option 'unknown_price'"),
        ({"run_token": 5}, "no option 'run_token'.*did you mean 'run_tokens'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    running, _ = runner()
    with pytest.raises(PersonaError, match=message):
        running.run(persona(plugins=[{"budget": options}]), "Hi")


@pytest.mark.parametrize("folder", ["/data", "~/data", "../data", "data", "file:/data"])
def test_a_persona_cannot_name_the_folder(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "clerk.yaml"
    file.write_text(f"system: Hi.\nplugins:\n  - budget: {{folder: '{folder}'}}\n")
    running, upstream = runner()
    message = (
        f"{file}:3:.*plugin 'budget' .*option 'folder': found '{folder}'; only the user may set it"
        ".*`plugin_options: {budget: {folder: …}}`"
    )
    with pytest.raises(PersonaError, match=message):
        running.run(file, "Hi")
    assert upstream.requests == []
    assert list(tmp_path.iterdir()) == [file]


def test_the_readme_lists_the_options() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)
    assert listed == [field.name for field in dataclasses.fields(Budget)]


def test_what_cannot_be_counted_is_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budget = Budget(day_usd=5, folder=str(folder))
    answers = [Response("Hello!", finish_reason="stop"), Response("Hello!", finish_reason="stop")]
    running, _ = runner(answers, plugins=[budget])
    for _ in answers:
        running.run(persona(), "Hi", model=MODEL)
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.match(
        f"personakit: budget: {MODEL} reports no tokens.* estimate of \\d+ tokens", said
    )
    assert "max_tokens" in said
    running, _ = runner([SIX], plugins=[budget])
    running.run(persona(), "Hi", model="test/m")
    assert "the price of test/m is unknown" in caplog.records[-1].getMessage()
    assert "unknown_price: refuse" in caplog.records[-1].getMessage()


def test_an_answer_that_cannot_be_used_counts(folder: Path) -> None:
    call = ToolCall("1", "wipe", "")
    cut = Response("", tool_calls=(call,), finish_reason="length", usage=Usage(100, 50, 150))
    running, _ = runner([cut], plugins=[Budget(day_tokens=1000, folder=str(folder))])
    with pytest.raises(BackendError):
        running.run(persona(), "Hi")
    assert used(folder) == {"test": (1, 150, 0, 1)}
