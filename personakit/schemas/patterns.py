"""Regular expressions that are matched in linear time, within limits on their size and the text's.

The engine is Rust's `regex` crate, in pydantic_core; its syntax is described at
https://docs.rs/regex/latest/regex/#syntax. Its time is proportional to the length of the text
*times* the size of the pattern, and counted repetitions multiply the size: `(?:a|b){2000}` takes
minutes for a megabyte. So the size is limited, and the product of both, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from personakit.base import brief, brief_repr, deadline, time_left

MAX_LENGTH = 5_000
"""The longest pattern, in characters."""
MAX_SIZE = 20_000
"""The largest size of a pattern, by `size_of`; about 0.5 s to compile."""
MAX_WORK = 50_000_000
"""The largest product of a pattern's size and a text's length: 1.5 s in the worst case known."""
_SECONDS = 1.0
# A Unicode class is a large automaton, and `.` a small one.
_CLASS, _ANY = 25, 4
_SETS = re.compile(r"\\[dDsSwWpPbB]|\[:")
_BRACED = re.compile(r"\\[xuUpPbB]\{[^}]*\}")
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")

_ADVICE = {
    "look-around": ": patterns are matched in linear time; write a pattern of all that is allowed, "
    "such as ^[a-z]+$",
    "backreferences": ": patterns are matched in linear time; repeat the pattern of the group",
}


class Pattern:
    """A regular expression in the syntax of Rust's `regex` crate, which matches in linear time.

    It supports neither look-around nor references to groups. Its classes are those of Unicode.

    Args:
        text: The pattern, at most 5,000 characters.

    Attributes:
        text: The pattern.
        size: The number of its parts, with counted repetitions multiplied.

    Raises:
        ValueError: The pattern is invalid or too large, or the engine does not support it.
    """

    __slots__ = ("_matches", "size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = _size_of(text)
        self._matches = _compiled(text)

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield "text", self.text

    def __reduce__(self) -> tuple[type[Pattern], tuple[str]]:
        return Pattern, (self.text,)

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Return the pattern of a text; the last 256 are kept.

        Raises:
            ValueError: As for `Pattern`.
        """
        return _cached(text)

    def search(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in a text.

        Raises:
            ValueError: The text is too long for a pattern of this size.
            Timeout: The deadline of the run has passed.
        """
        time_left()
        if self.size * len(text) > MAX_WORK:
            most = MAX_WORK // self.size
            raise ValueError(
                f"a text of {len(text):,} characters is too long for the pattern "
                f"{brief(self.text, 60)}, which matches at most {most:,}"
            )
        return self._matches(text)


class Backtracking:
    """A pattern that needs backtracking, from a Python type or from a schema given in Python.

    Its engine is the package `regex`, which stops at a time limit.
    """

    __slots__ = ("_pattern", "size", "text")

    def __init__(self, text: str) -> None:
        import regex  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

        try:
            self._pattern: Any = regex.compile(text)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from None
        self.text, self.size = text, len(text)

    def search(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in a text.

        Raises:
            ValueError: It takes more than a second.
            Timeout: The deadline of the run has passed.
        """
        time_left()
        try:
            return self._pattern.search(text, timeout=deadline.shorter(_SECONDS)) is not None
        except TimeoutError:
            time_left()
            raise ValueError(
                f"the pattern {brief(self.text, 60)} takes more than {_SECONDS:g} s for a text of "
                f"{len(text):,} characters"
            ) from None


def pattern_of(text: str) -> Pattern | Backtracking:
    """Return a pattern with the engine that supports it.

    Raises:
        ValueError: Neither engine supports it.
    """
    try:
        return Pattern.of(text)
    except ValueError as error:
        try:
            return Backtracking(text)
        except ValueError:
            raise error from None


def foreign_pattern(text: str) -> Pattern | Backtracking:
    """Return the pattern of a schema in a persona file: backtracking only where it is needed.

    Raises:
        ValueError: It is invalid or too large.
    """
    try:
        return Pattern.of(text)
    except ValueError as error:
        if not any(word in str(error) for word in _ADVICE):
            raise
        # The limits of the other engine are the size of the pattern and its time.
        _size_of(text)
        return Backtracking(text)


def _size_of(text: str) -> int:
    """Return the size of a pattern, and check its limits.

    Raises:
        ValueError: A limit is exceeded.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it has {len(text):,} characters; the limit is {MAX_LENGTH:,}")
    # In this mode a comment may contain brackets, and the size is unknown.
    if _VERBOSE.search(text):
        raise ValueError("the flag x is not supported; write the pattern without spaces")
    size = _measured(text)
    if size > MAX_SIZE:
        raise ValueError(
            f"its repetitions are too large: their counts multiply to {min(size, 10**12):,} "
            f"parts, the limit is {MAX_SIZE:,}; use `*` or `+`, or `maxLength`"
        )
    return size


def _measured(text: str) -> int:
    """Return the number of parts of a pattern, valid or not, with repetitions multiplied."""
    groups: list[list[int]] = [[0, 0]]  # the size and the last part of each open group
    at = 0
    while at < len(text):
        end, part = _part(text, at)
        top = groups[-1]
        if text[at] == "(":
            groups.append([0, 0])
        elif text[at] == ")" and len(groups) > 1:
            part = groups.pop()[0] + 1
            groups[-1] = [groups[-1][0] + part, part]
        elif text[at] == "{":
            most = max(map(int, re.findall(r"\d{1,9}", text[at:end])), default=1)
            top[0] += top[1] * (max(most, 1) - 1)
            top[1] *= max(most, 1)
        else:
            top[0] += part
            top[1] = part
        at = end
    return max(sum(size for size, _ in groups), 1)


def _part(text: str, at: int) -> tuple[int, int]:
    """Return the end and the size of the part of a pattern that begins at a place."""
    if text[at] == "\\":
        braced = _BRACED.match(text, at)
        return braced.end() if braced else at + 2, _CLASS if _SETS.match(text, at) else 1
    if text[at] == "{":
        end = text.find("}", at) + 1
        return end or len(text), 0
    if text[at] == "[":
        end = _class_end(text, at)
        return end, 1 + (end - at) // 4 + _CLASS * len(_SETS.findall(text[at:end]))
    return at + 1, _ANY if text[at] == "." else int(text[at] not in "*+?|")


def _class_end(text: str, at: int) -> int:
    """Return the end of a class, which may contain other classes."""
    depth, start = 0, at
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "[":
            depth += 1
            start = at + 2 if text.startswith("^", at + 1) else at + 1
        # Directly after the opening, a bracket is a member of the class.
        elif text[at] == "]" and at != start:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(text)


def _compiled(text: str) -> Callable[[str], bool]:
    """Return a function that tests whether the pattern matches in a text."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # noqa: PLC0415

    schema = core_schema.str_schema(pattern=text, strict=True, regex_engine="rust-regex")
    try:
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        reason = str(error).rsplit("error: ", 1)[-1].strip()
    advice = next((more for start, more in _ADVICE.items() if reason.startswith(start)), "")
    raise ValueError(" ".join(reason.split()) + advice)


_cached = functools.lru_cache(maxsize=256)(Pattern)
