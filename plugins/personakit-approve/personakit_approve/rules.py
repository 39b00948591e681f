"""The rules: patterns of tool names, and what they decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Decision = Literal["never", "ask", "always"]
LISTS: tuple[Decision, ...] = ("never", "ask", "always")
"""The lists of patterns, the most cautious one first."""

REST = "*"
"""The pattern of every tool that no other pattern of the plugin matches."""


@dataclass(frozen=True)
class Rules:
    """Patterns as of `fnmatch.fnmatchcase`: ``*``, ``?`` and ``[…]``; case matters.

    Attributes:
        never: The tools that are not run.
        ask: The tools that are run if the user allows the call.
        always: The tools that are run without a question.

    Raises:
        ValueError: A pattern is empty, or is in two of the lists.
    """

    never: tuple[str, ...]
    ask: tuple[str, ...]
    always: tuple[str, ...]

    def __post_init__(self) -> None:
        found: dict[str, str] = {}
        for name in LISTS:
            for number, pattern in enumerate(getattr(self, name)):
                if not pattern.strip():
                    raise ValueError(
                        f"{name}[{number}] is {pattern!r}, which no tool matches; use the name of "
                        f"a tool, or a pattern such as 'read_*'"
                    )
                other = found.setdefault(pattern, name)
                if other != name:
                    raise ValueError(
                        f"the pattern {pattern!r} is in {other} and in {name}; remove it from one"
                    )

    def decide(self, tool: str) -> Decision:
        """Return what the rules decide about a tool; ``ask`` if no pattern matches its name."""
        for name in LISTS:
            if matches(getattr(self, name), tool):
                return name
        return next((name for name in LISTS if REST in getattr(self, name)), "ask")


def matches(patterns: Sequence[str], tool: str) -> bool:
    """Return whether a pattern other than `REST` matches the name of a tool."""
    return any(fnmatchcase(tool, pattern) for pattern in patterns if pattern != REST)
