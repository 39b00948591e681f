"""How often an answer that arrives is shown."""

from __future__ import annotations

import itertools

import pytest

from personakit.notebook.screen import interval


def times(duration: float) -> list[float]:
    """Return when an answer is shown whose pieces come all the time."""
    shown, now = [0.0], 0.0
    for number in itertools.count(1):
        now += interval(number)
        if now >= duration:
            return [*shown, duration]
        shown.append(now)
    raise AssertionError


@pytest.mark.parametrize("duration", [0.05, 1, 5, 30, 120, 600, 1800, 86400])
def test_an_answer_is_shown_often_at_first_and_at_most_sixty_times(duration: float) -> None:
    shown = times(duration)
    assert len(shown) <= 60
    assert all(b - a > 0.079 for a, b in itertools.pairwise(shown[:-1]))
    if 1 <= duration <= 30:
        # Nobody waits long for the next words.
        assert max(b - a for a, b in itertools.pairwise(shown)) < 5
    if duration == 5:
        assert len(shown) > 25
