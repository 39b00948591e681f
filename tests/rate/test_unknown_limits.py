"""Limits that a provider does not tell are found within a minute, and kept."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.providers import Provider, in_virtual_time, used

PROVIDERS: dict[str, dict[str, Any]] = {
    "16 at once": {"at_once": 16},
    "100 at once, slow": {"at_once": 100, "latency": 3.0},
    "100 at once, with a wait": {"at_once": 100, "retry_after": 1.0},
    "10 a second": {"rate": 10},
    "10 a second, with a wait": {"rate": 10, "retry_after": 1.0},
    "50 a second, fast": {"rate": 50, "latency": 0.2},
    "50 a second, slow": {"rate": 50, "latency": 4.0, "retry_after": 0.5},
    "20 a second, told in headers": {"rate": 20, "tells": True},
    "100 a second and 40 at once": {"rate": 100, "at_once": 40, "latency": 0.5},
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_ninety_percent_of_a_limit_are_used_after_a_minute(name: str) -> None:
    provider = Provider(**PROVIDERS[name])
    learnt = in_virtual_time(lambda: used(provider, 120.0))
    limits = [provider.rate or 1e9, (provider.at_once or 1e9) / provider.latency]
    best = min(limits)
    assert provider.speed(60, 120) >= 0.9 * best
    assert learnt.refused <= provider.refused < 0.2 * len(provider.accepted)


def test_without_a_limit_the_window_grows() -> None:
    provider = Provider()
    in_virtual_time(lambda: used(provider, 60.0))
    assert provider.refused == 0
    assert provider.speed(40, 60) > 200
