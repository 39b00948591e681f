"""Keys, admission, budgets and kept values of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from personakit import Ledger, TooMany


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.db")


def test_a_key_is_found_by_its_token(ledger: Ledger) -> None:
    key, token = ledger.new_key("anna", personas=["chef"], usd_day=2)
    assert ledger.key(token) == key
    assert ledger.key(f"{token}x") is None
    assert token.encode() not in ledger.path.read_bytes()


def test_slots_and_requests_are_counted_apart(ledger: Ledger) -> None:
    key, _ = ledger.new_key("anna", rpm=3, concurrent=2)
    ledger.admit(key, "a")
    ledger.admit(key, "b")
    with pytest.raises(TooMany, match="2 requests at the same time") as caught:
        ledger.admit(key, "c")
    assert (caught.value.reason, caught.value.retry_after) == ("concurrent", 1.0)
    ledger.leave("a")
    ledger.admit(key, "c")
    ledger.leave("b")
    with pytest.raises(TooMany, match="3 requests a minute") as caught:
        ledger.admit(key, "d")
    assert caught.value.reason == "rate"
    assert 19 < caught.value.retry_after <= 20
