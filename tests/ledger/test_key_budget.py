"""The budgets of keys, through runs in all modes."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from personakit import (
    BackendError,
    Blocked,
    BudgetExceeded,
    Key,
    Ledger,
    LedgerError,
    PluginError,
    RateLimited,
    Request,
    Response,
    Total,
    Usage,
    hookimpl,
)
from personakit.ledger import KeyBudget, calling
from personakit.testing import MODES, in_mode, persona, runner

MODEL = "openai/gpt-4o-mini"
SIX = "sixsix"  # the fake upstream counts a token for each message and each character
DAY = 86_400


@contextmanager
def using(key: Key | None) -> Iterator[None]:
    token = calling.set(key)
    try:
        yield
    finally:
        calling.reset(token)


def spent(ledger: Ledger, name: str = "anna") -> Total:
    """Return what a key has spent; no call is running, so nothing is left reserved."""
    later = time.time() + 2 * DAY
    found = {unit: ledger.spent(f"key:{name}:{unit}") for unit in ("day", "month")}
    assert found == {unit: ledger.spent(f"key:{name}:{unit}", now=later) for unit in found}
    assert found["day"] == found["month"]
    return found["day"]


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_in_tokens(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=60)
    running, upstream = runner([SIX], plugins=[KeyBudget(ledger)])
    with using(key):
        for _ in range(2):
            assert (
                in_mode(mode, running, persona(), "Hi", parameters={"max_tokens": 10}).text == SIX
            )
        with pytest.raises(BudgetExceeded) as caught:
            in_mode(mode, running, persona(), "Hi", parameters={"max_tokens": 30})
    assert len(upstream.requests) == 2
    assert spent(ledger) == Total(2, 16, 0, 2)
    said = caught.value.reason
    assert "the budget tokens_day of key 'anna' is 60 tokens; 16 tokens are used" in said
    assert "00:00 UTC; to continue, lower max_tokens" in said
    assert "or ask for a higher tokens_day" in said
    left = DAY - time.time() % DAY
    assert caught.value.retry_after == pytest.approx(left, abs=30)


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_in_dollars(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", usd_month=0.0005)
    answer = Response("ok", finish_reason="stop", usage=Usage(1000, 100, 1100))
    running, upstream = runner([answer], plugins=[KeyBudget(ledger)])
    options: dict[str, Any] = {"model": MODEL, "parameters": {"max_tokens": 100}}
    with using(key):
        for _ in range(2):
            assert in_mode(mode, running, persona(), "Hi", **options).cost == 0.00021
        options["parameters"] = {"max_tokens": 500}
        with pytest.raises(
            BudgetExceeded, match=r"usd_month of key 'anna' is \$0\.0005; \$0\.0004"
        ):
            in_mode(mode, running, persona(), "Hi", **options)
    assert len(upstream.requests) == 2
    assert spent(ledger) == Total(2, 2200, 420_000, 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_without_a_price_is_refused(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", usd_day=5, tokens_day=1000)
    running, upstream = runner([SIX], plugins=[KeyBudget(ledger)])
    with using(key), pytest.raises(BudgetExceeded) as caught:
        in_mode(mode, running, persona(), "Hi")
    assert upstream.requests == []
    assert caught.value.retry_after is None
    assert "the price of test/model is unknown, so usd_day of key 'anna'" in caught.value.reason
    assert "use a model whose price is known, or give the key a budget in tokens" in str(
        caught.value
    )
    assert not ledger.totals()


@pytest.mark.parametrize("mode", MODES)
def test_calls_without_a_key_are_not_counted(mode: str, ledger: Ledger) -> None:
    running, _ = runner([SIX], plugins=[KeyBudget(ledger)])
    with using(None):
        assert in_mode(mode, running, persona(), "Hi").text == SIX
    assert ledger.totals() == {}


@pytest.mark.parametrize("mode", MODES)
def test_a_run_without_max_tokens_may_use_what_is_left(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=100)
    answer = Response("long", usage=Usage(10, 290, 300))
    running, upstream = runner([answer], plugins=[KeyBudget(ledger)])
    with using(key):
        in_mode(mode, running, persona(), "Hi")
        with pytest.raises(BudgetExceeded, match="300 tokens are used"):
            in_mode(mode, running, persona(), "Hi")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("mode", MODES)
def test_every_call_of_a_run_is_counted(mode: str, ledger: Ledger) -> None:
    class Twice:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            await send.run(persona("Other.", name="other"), "?")
            response: Response = await send(request)
            return response

    key, _ = ledger.new_key("anna", tokens_month=1000)
    running, _ = runner([SIX], plugins=[KeyBudget(ledger), Twice()])
    with using(key):
        in_mode(mode, running, persona(), "Hi")
    assert spent(ledger).calls == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_fails_counts_what_is_known(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=10_000)
    running, _ = runner([RateLimited("slow down")], plugins=[KeyBudget(ledger)])
    with using(key), pytest.raises(RateLimited):
        in_mode(mode, running, persona(), "Hi")
    assert spent(ledger) == Total()
    failed = BackendError("gone", partial="x" * 100)
    running, _ = runner([failed], plugins=[KeyBudget(ledger)])
    with using(key), pytest.raises(BackendError):
        in_mode(mode, running, persona(), "Hi")
    total = spent(ledger)
    assert total.calls == 1
    assert 60 < total.tokens < 100


def test_a_cancelled_run_counts_its_prompt(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=10_000)

    running, _ = runner(["x" * 300], plugins=[KeyBudget(ledger)])

    async def leave() -> None:
        stream = running.astream(persona(), "Hi")
        await anext(aiter(stream))
        await stream.aclose()

    with using(key):
        asyncio.run(leave())
    total = spent(ledger)
    assert total.calls == 1
    assert 10 < total.tokens < 60


@pytest.mark.parametrize("mode", MODES)
def test_calls_of_a_key_without_a_budget_are_counted(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=100)
    running, _ = runner([SIX], plugins=[KeyBudget(ledger)])
    with using(key):
        for _ in range(2):
            assert in_mode(mode, running, persona(), "Hi").text == SIX
    assert spent(ledger).calls == 2
    assert spent(ledger).tokens > 12


@pytest.mark.parametrize("mode", MODES)
def test_a_ledger_that_cannot_be_used_refuses(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database" * 100)
    running, upstream = runner([SIX], plugins=[KeyBudget(Ledger(path))])
    with using(Key("anna", tokens_day=5000)), pytest.raises(Blocked) as caught:
        in_mode(mode, running, persona(), "Hi")
    assert "nothing was sent: the ledger" in str(caught.value)
    assert isinstance(caught.value.__cause__, LedgerError)
    assert upstream.requests == []
    # One without a budget does not need it.
    with using(Key("bob")):
        assert in_mode(mode, running, persona(), "Hi").text == SIX


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_cannot_be_counted_is_in_the_error(mode: str, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=5000)

    def answer(_: Request) -> Response:
        ledger.close()
        ledger.path.write_bytes(b"no database" * 100)
        for suffix in ("-wal", "-shm"):
            Path(f"{ledger.path}{suffix}").unlink(missing_ok=True)
        return Response("paid", usage=Usage(1, 2, 3))

    running, _ = runner([answer], plugins=[KeyBudget(ledger)])
    with using(key), pytest.raises(PluginError, match=r"KeyBudget.*cannot be used") as caught:
        in_mode(mode, running, persona(), "Hi")
    assert caught.value.response is not None
    assert caught.value.response.text == "paid"


@pytest.mark.parametrize("is_async", [False, True])
def test_parallel_runs_never_exceed_a_budget(is_async: bool, ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=400)
    running, upstream = runner([SIX], plugins=[KeyBudget(ledger)])
    options: dict[str, Any] = {"parameters": {"max_tokens": 6}}

    def once(_: int) -> None:
        with using(key):
            running.run(persona(), "Hi", **options)

    async def many() -> None:
        runs = (running.arun(persona(), "Hi", **options) for _ in range(100))
        await asyncio.gather(*runs, return_exceptions=True)

    if is_async:
        with using(key):
            asyncio.run(many())
    else:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(once, number) for number in range(100)]:
                assert isinstance(done.exception(), BudgetExceeded | None)
    total = spent(ledger)
    assert total == Total(len(upstream.requests), 8 * len(upstream.requests), 0, total.calls)
    assert 300 < total.tokens <= 400


def test_days_and_months_begin_anew(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", tokens_day=50, tokens_month=80)
    budget = KeyBudget(ledger)
    running, _ = runner([SIX], plugins=[budget])
    start = 1_800_000_000  # 2027-01-15 08:00 UTC
    told = []
    with using(key):
        for day in (0, 0.5, 1, 2, 3, 4, 5, 17):
            moment = start + day * DAY
            budget.clock = functools.partial(float, moment)
            try:
                # It may use 46 tokens, and uses 8.
                running.run(persona(), "Hi", parameters={"max_tokens": 20})
                told.append("")
            except BudgetExceeded as error:
                until = time.gmtime(moment + (error.retry_after or 0))
                told.append(f"{error.reason.split()[2]} {time.strftime('%m-%d %H:%M', until)}")
    today, month = "tokens_day 01-16 00:00", "tokens_month 02-01 00:00"
    assert told == ["", today, "", "", "", "", month, ""]
