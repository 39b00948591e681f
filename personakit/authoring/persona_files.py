"""Making a persona file: its name, its variables, a check that it works, and the writing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from personakit import tokens
from personakit.authoring.drafts import Draft
from personakit.base import NAME, RESERVED
from personakit.errors import PersonaError, Problem, UsageError, VariableError
from personakit.persona import MAX_BYTES, REFERENCE, Persona
from personakit.runner import Runner

UNDEFINED = "PK023"


def checked_name(name: str) -> str:
    """Return a name for a new persona.

    Raises:
        UsageError: It is none; the message has the rule, and one that would do.
    """
    if NAME.match(name) and not RESERVED.match(name):
        return name
    raise UsageError(
        f"{name[:80]!r} is no name: use 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter "
        f"or digit, and no device name of Windows; how about {proposed_name(name)}?"
    )


def proposed_name(text: str) -> str:
    """Return the name that comes nearest to a text."""
    stem = re.sub(r"\.ya?ml\Z", "", re.split(r"[/\\]", text.strip().rstrip("/\\"))[-1])
    spelled = unicodedata.normalize("NFKD", stem.replace("ß", "ss"))
    ascii_only = spelled.encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", ascii_only).strip("-_")[:64].strip("-_")
    if not slug:
        return "my-persona"
    return f"my-{slug}" if RESERVED.match(slug) else slug


def free(target: Path) -> Path:
    """Return a path at which nothing is yet.

    Raises:
        UsageError: Something is; it stays as it is.
    """
    if os.path.lexists(target):
        raise _taken(target)
    return target


def _taken(target: Path) -> UsageError:
    return UsageError(f"{target} is there already, and stays as it is; choose another name")


def parent_of(runner: Runner, reference: str) -> Persona:
    """Return the persona that a new one extends.

    Raises:
        UsageError: There is none; the message says what comes near.
    """
    if not REFERENCE.match(reference):
        raise UsageError(
            f"--extends: {reference[:80]!r} is no name of a persona; write its name, or a path "
            f"inside the library such as partials/professional, without an ending"
        )
    return runner.library.parents()(reference)


def exact_text(data: bytes, name: str) -> str:
    """Return the text of a prompt file, with each of its characters.

    Raises:
        UsageError: It is not UTF-8, or larger than a persona file may be.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name} has more than {MAX_BYTES:,} bytes, the limit of a persona file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#04x} is not UTF-8; save the file with that encoding"
        raise PersonaError([Problem(found, name, line)]) from None


def undeclared(runner: Runner, draft: Draft, target: Path, name: str) -> list[str]:
    """Return the names that the system message of a draft takes and that nothing declares.

    Args:
        runner: What the draft is compiled with.
        draft: The draft.
        target: The file that it will be.
        name: What to call the text in errors.

    Raises:
        PersonaError: The text is no template.
    """
    persona = _parsed(runner, draft.source(), target)
    try:
        problems: Iterable[Problem] = runner.catalog.compiled(persona).problems
    except PersonaError as error:
        problems = error.problems
    first = persona.document.marks["system",].text_line
    found, wrong = set(), []
    for problem in problems:
        if problem.code == UNDEFINED and problem.subject not in ("input", "parent"):
            found.add(problem.subject)
        elif problem.path == str(target):
            message = problem.message.removeprefix("system: ")
            line = max(problem.line - first + 1, 1)
            wrong.append(dataclasses.replace(problem, message=message, path=name, line=line))
        else:
            wrong.append(problem)
    if wrong:
        raise PersonaError(wrong)
    return sorted(found, key=lambda it: _first(draft.system, it))


def _first(text: str, name: str) -> int:
    found = re.search(rf"\b{name}\b", text)
    return found.start() if found else len(text)


def checked(runner: Runner, source: str, target: Path) -> Persona:
    """Return the persona that a new file will be, after rendering it once.

    Raises:
        UsageError: It would be wrong.
    """
    persona = _parsed(runner, source, target)
    runner.catalog.compiled(persona)
    # A required variable has no value before somebody gives one.
    with contextlib.suppress(VariableError):
        runner.render(persona, "Hello")
    return persona


def with_test(runner: Runner, draft: Draft, persona: Persona) -> Draft:
    """Return a draft with a test that its messages stay about as short as they are."""
    prompt = "Hello" if persona.prompt else None
    try:
        messages = runner.render(persona, prompt).messages
    except VariableError:
        return draft  # only its author knows the value of a required variable
    count = sum(tokens.count_tokens(message.text)[0] for message in messages)
    limit = max(2 * count, 1)
    return dataclasses.replace(draft, limit=-(-limit // 100) * 100, prompted=prompt is not None)


def _parsed(runner: Runner, source: str, target: Path) -> Persona:
    return Persona.parse(source, str(target), parents=runner.library.parents())


def save(target: Path, source: str) -> None:
    """Write a new file, whole or not at all; never over one that is there.

    Raises:
        UsageError: Something is there, or it cannot be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as opened:
                opened.write(source.encode())
            _put(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if os.path.lexists(target) and isinstance(error, FileExistsError):
            raise _taken(target) from None
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None


def _put(part: Path, target: Path) -> None:
    """Give a file its name, which must be free: a link never replaces, as a renaming would."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        with target.open("xb") as opened:
            opened.write(part.read_bytes())
