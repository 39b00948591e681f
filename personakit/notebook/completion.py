"""What Tab completes on a line of the magic: personas, variables, parameters and models."""

from __future__ import annotations

import contextlib

from click.shell_completion import ShellComplete

from personakit.notebook.asked import run_command, words_of
from personakit.notebook.authoring import KEYS, NEW
from personakit.notebook.session import Session


def complete(session: Session, line: str) -> list[str]:
    """Return the words that may stand at the end of a line.

    Args:
        session: The notebook.
        line: The line up to the cursor.
    """
    with contextlib.suppress(Exception):  # it must not disturb what is being typed
        return _found(session, line)
    return []


def _found(session: Session, line: str) -> list[str]:
    _, *words = [word.text for word in words_of(line)]
    typed = words.pop() if words and not line[-1:].isspace() else ""
    command = run_command()
    names = _named(session, words)
    found = ShellComplete(command, {}, "persona", "").get_completions(words, typed)
    listed = [str(item.value) for item in found if item.type == "plain"]
    if words[-1:] in (["-v"], ["--variable"]):
        persona = names and session.runner().load(names)
        declared = persona.variables if persona else {}
        listed += [f"{name}=" for name in declared if name.startswith(typed)]
        listed += [n for n in declared if n in session.shell.user_ns and n.startswith(typed)]
    elif not names and not typed.startswith("-") and not listed:
        every = {*session.runner().library.names(), NEW, KEYS}
        listed += sorted(name for name in every if name.startswith(typed))
    # IPython takes what follows a `=` for the word.
    head = typed[: typed.rfind("=") + 1]
    return list(dict.fromkeys(one.removeprefix(head) for one in listed))


def _named(session: Session, words: list[str]) -> str:
    """Return the persona that a line names; empty if it names none yet."""
    runner = session.runner()
    return next((w for w in words if w[:1] != "-" and session.is_persona(runner, w)), "")
