"""What a batch would take, before anything is sent."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from personakit.batch.records import tail_lines
from personakit.tokens import count_tokens
from personakit.usage import Usage, price

if TYPE_CHECKING:
    from pathlib import Path

    from personakit.batch.rows import Row
    from personakit.messages import Request

SAMPLED = 200
"""The rows of which the prompts are counted; those of a larger table are spread over it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a batch would take.

    Attributes:
        rows: The rows that would be sent.
        repeats: The rows that would get the answer of an equal one.
        done: The rows that have a result already.
        invalid: The rows that would be left out.
        model: ``provider/model``.
        prompt_tokens: Tokens of all prompts, as far as the messages decide them.
        answer_tokens: Tokens of all answers, by the median of those in the output; None if there
            are none yet.
        cost: US dollars; None if the price or the answers are unknown. Plugins and tools may cost
            more.
        prompt_cost: US dollars of the prompts alone; None if the price is unknown.
        seconds: At the limits of `rpm` and `tpm`; None without these.
        exact: Whether the prompts' tokens are those of the model's own vocabulary.
    """

    rows: int
    repeats: int
    done: int
    invalid: int
    model: str
    prompt_tokens: int
    answer_tokens: int | None
    cost: float | None
    prompt_cost: float | None
    seconds: float | None
    exact: bool


def estimated(  # noqa: PLR0913 - each is a count of its own
    requests: Iterator[Request],
    *,
    rows: int,
    repeats: int,
    done: int,
    invalid: int,
    model: str,
    out: Path,
    rpm: float | None,
    tpm: float | None,
) -> Estimate:
    """Return an estimate.

    Args:
        requests: Rendered requests of rows that are spread over the table.
        rows: The rows that would be sent.
        repeats: See `Estimate`.
        done: See `Estimate`.
        invalid: See `Estimate`.
        model: ``provider/model``.
        out: The file of the answers.
        rpm: Requests a minute.
        tpm: Tokens a minute.
    """
    mean, exact = _mean_prompt(requests, model)
    prompt = round(mean * rows)
    each = _median_answer(out)
    answers = None if each is None else round(each * rows)
    cost = None
    if answers is not None:
        cost = price(model, Usage(prompt, answers, prompt + answers))
    minutes = [rows / rpm] if rpm else []
    minutes += [(prompt + (answers or 0)) / tpm] if tpm else []
    return Estimate(
        rows=rows,
        repeats=repeats,
        done=done,
        invalid=invalid,
        model=model,
        prompt_tokens=prompt,
        answer_tokens=answers,
        cost=cost,
        prompt_cost=price(model, Usage(prompt, 0, prompt)),
        seconds=60 * max(minutes) if minutes else None,
        exact=exact,
    )


def _mean_prompt(requests: Iterator[Request], model: str) -> tuple[float, bool]:
    """Return the mean of the tokens of prompts, and whether all are those of the vocabulary."""
    counts, exact = [], True
    for request in islice(requests, SAMPLED):
        pairs = [count_tokens(message.text or "", model) for message in request.messages]
        counts.append(sum(count for count, _ in pairs))
        exact = exact and all(known for _, known in pairs)
    return (statistics.fmean(counts) if counts else 0.0), exact


def _median_answer(out: Path) -> float | None:
    """Return the median of the tokens of the last answers in a file; None if there are none."""
    usages = (json.loads(line)["usage"] for line in tail_lines(out, SAMPLED))
    counts = [usage["completion_tokens"] for usage in usages if usage and usage["total_tokens"]]
    return statistics.median(counts) if counts else None


def spread(count: int, rows: int) -> list[int]:
    """Return numbers below `rows` with about equal distances, `count` or all of them.

    Args:
        count: How many.
        rows: The number of rows.
    """
    if count >= rows:
        return list(range(rows))
    return [index * rows // count for index in range(count)]


def every(rows: Iterator[Row], places: list[int]) -> Iterator[Row]:
    """Yield the rows that have these positions in a sequence of rows."""
    wanted = iter(places)
    place = next(wanted, None)
    for position, row in enumerate(rows):
        if position == place:
            yield row
            place = next(wanted, None)
        if place is None:
            return
