"""The names and patterns of personas that an option chooses."""

from __future__ import annotations

from personakit import Runner, UsageError


def chosen(
    option: str, given: str, runner: Runner, among: tuple[str, ...] = ("*",)
) -> tuple[str, ...]:
    """Return the names and patterns in the value of an option; ``*`` for the word ``all``.

    Args:
        option: The option, for messages.
        given: Names and patterns, separated by commas.
        runner: Its library has the personas.
        among: Names and patterns of the personas that are offered.

    Raises:
        UsageError: There is no name, or one matches no persona.
    """
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if not names:
        raise UsageError(f"{option} names no persona; write {option} chef,tutor or {option} all")
    patterns = tuple("*" if name == "all" else name for name in names)
    for name in (name for name in names if ":" in name):
        raise UsageError(
            f"{option}: {name[:80]!r} is a persona of a plugin; MCP clients are offered those with "
            f"files alone, which `personakit list` lists"
        )
    for message in runner.library.unmatched(patterns, among):
        raise UsageError(f"{option}: {message}")
    return patterns
