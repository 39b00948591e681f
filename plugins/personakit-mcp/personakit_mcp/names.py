"""The names and patterns of personas that an option chooses."""

from __future__ import annotations

from fnmatch import fnmatchcase

from personakit import Runner, UsageError


def chosen(option: str, given: str, runner: Runner, *, valid: bool = False) -> tuple[str, ...]:
    """Return the names and patterns in the value of an option; ``all`` stands for every persona.

    Args:
        option: The option, for messages.
        given: Names and patterns, separated by commas.
        runner: Its library has the personas.
        valid: Whether the file of a persona that is named must be valid.

    Raises:
        UsageError: There is no name, or a pattern matches no persona.
        PersonaError: A persona that is named does not exist, or is invalid.
    """
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if not names:
        raise UsageError(f"{option} names no persona; write {option} chef,tutor or {option} all")
    known = runner.library.names()
    for name in names:
        if name in ("all", "*"):
            continue
        if not any(character in name for character in "*?["):
            if valid or name not in known:
                runner.load(name)
        elif not any(fnmatchcase(each, name) for each in known):
            raise UsageError(
                f"{option}: no persona matches {name[:80]!r}; `personakit list` lists them"
            )
    return names
