"""What is wrong with how a run ended."""

from __future__ import annotations

import pickle
import re
import traceback
from typing import Any

from faulty.modes import Fails, Gives, Mode
from faulty.running import Ended
from faulty.server import KEY, Faulty
from personakit import BackendError, RateLimited

SPARE = 1.0
"""Seconds that a run may take over its deadline."""


def problems(ended: Ended, wanted: Gives | Fails, mode: Mode, server: Faulty) -> list[str]:
    """Return what is wrong with how a run ended."""
    found = [] if ended.seconds < mode.deadline + SPARE else ["later than the deadline"]
    if isinstance(wanted, Gives):
        return found + wrong_answer(ended, wanted)
    if not isinstance(ended.error, BackendError):
        return [*found, "no error of the family"]
    return found + wrong_error(ended, ended.error, wanted, mode, server)


def wrong_answer(ended: Ended, wanted: Gives) -> list[str]:
    got = ended.response
    if got is None:
        return [f"not the answer {wanted.text!r}"]
    checks = {
        f"text is {got.text!r}": got.text == wanted.text,
        f"finish_reason is {got.finish_reason!r}": got.finish_reason == wanted.finish_reason,
        f"streamed {ended.streamed!r}": ended.streamed in (None, got.text),
        "raw holds a NaN": "nan" not in str(got.raw),
        "id is no text": isinstance(got.id, str),
        "the text cannot be encoded": encodes(got.text),
    }
    return [said for said, right in checks.items() if not right]


PYTHON = re.compile("(Type|Attribute|Key|Index|Recursion|Unicode|Value)[A-Za-z]*Error")
ADVICE = re.compile(
    r"\b(add|ask|check|choose|correct|give|raise|run|see|set|try|use|wait)\b", re.IGNORECASE
)


def wrong_error(
    ended: Ended, error: BackendError, wanted: Fails, mode: Mode, server: Faulty
) -> list[str]:
    said = str(error)
    request_id = f"req-{len(server.requests)}"
    checks = {
        f"not one of {', '.join(kind.__name__ for kind in wanted.kinds)}": isinstance(
            error, wanted.kinds
        ),
        f"partial is {error.partial[:80]!r}": wanted.partial in (None, error.partial),
        f"streamed {str(ended.streamed)[:80]!r}, partial {error.partial[:80]!r}": (
            ended.streamed in (None, error.partial)
        ),
        f"status is {error.status}": wanted.status in (None, error.status),
        f"request_id is {error.request_id!r}": (
            error.request_id
            in {True: [request_id], False: [""], None: ["", request_id]}[wanted.identified]
        ),
        f"the cause is {error.__cause__!r}": (not wanted.caused or is_foreign(error.__cause__)),
        "it names no model": "test-model" in said,
        "it names no address": server.base_url in said,
        "it says not what to do next": ADVICE.search(said.partition(server.base_url)[2]),
        f"it says not {wanted.says!r}": wanted.says in said,
        "it says the key": KEY not in said + repr(vars(error)),
        "its traceback says the key": KEY not in "".join(traceback.format_exception(error)),
        "it holds control characters": said.isprintable(),
        "it cannot be encoded": encodes(said) and encodes(error.partial),
        "it speaks of Python": not PYTHON.search(said),
        "it is long": len(said) < 2000,
        "it came late": not wanted.at_once or ended.seconds < mode.deadline / 2,
        "it changes when pickled": same(error, pickle.loads(pickle.dumps(error))),
    }
    if isinstance(error, RateLimited):
        waits = getattr(error, "retry_after", "missing")
        right = wanted.retry_after in (None, waits) and (
            waits is None or (isinstance(waits, float) and waits >= 0)
        )
        checks[f"retry_after is {waits!r}"] = right
    return [text for text, right in checks.items() if not right]


def is_foreign(error: BaseException | None) -> bool:
    """Tell whether an error is the client's, or the one of a library under it."""
    return error is not None and not type(error).__module__.startswith("personakit")


def encodes(text: str) -> bool:
    """Tell whether a text holds no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode() == text


def same(error: BackendError, again: Any) -> bool:
    return (type(error), str(error), vars(error)) == (type(again), str(again), vars(again))


def judged(ended: Ended, wanted: Any, mode: Mode, server: Faulty) -> list[str]:
    """As `problems`, for one of several right ends."""
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    found = [problems(ended, one, mode, server) for one in several]
    best = min(found, key=len)
    return [f"{ended}: {'; '.join(best)}"] if best else []


def show(found: dict[str, list[str]]) -> str:
    return "\n".join(f"{way}: {line}" for way, lines in found.items() for line in lines)
