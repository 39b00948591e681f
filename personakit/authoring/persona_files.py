"""The steps to create a persona file: check its name, find its variables, render it, write it."""

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
from personakit.base import LOADED, NAME, REFERENCE, RESERVED
from personakit.errors import PersonaError, Problem, UsageError, VariableError
from personakit.persona import MAX_BYTES, Persona
from personakit.runner import Runner

UNDEFINED = "PK023"


def checked_name(name: str) -> str:
    """Return the name of a new persona, unchanged.

    Raises:
        UsageError: The name is invalid; the message contains the rule and a valid name.
    """
    if NAME.match(name) and not RESERVED.match(name):
        return name
    raise UsageError(
        f"invalid persona name {name[:80]!r}: use 1 to 64 of a-z, 0-9, '_' and '-', beginning with "
        f"a letter or digit; device names of Windows are reserved; did you mean "
        f"{proposed_name(name)!r}?"
    )


def proposed_name(text: str) -> str:
    """Return the valid name that is closest to a text."""
    stem = re.sub(r"\.ya?ml\Z", "", re.split(r"[/\\]", text.strip().rstrip("/\\"))[-1])
    spelled = unicodedata.normalize("NFKD", stem.replace("ß", "ss"))
    ascii_only = spelled.encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", ascii_only).strip("-_")[:64].strip("-_")
    if not slug:
        return "my-persona"
    return f"my-{slug}" if RESERVED.match(slug) else slug


def free(target: Path) -> Path:
    """Return a path, after checking that it does not exist.

    Raises:
        UsageError: The path exists; it is not changed.
    """
    if os.path.lexists(target):
        raise _taken(target)
    return target


def _taken(target: Path) -> UsageError:
    return UsageError(f"{target} already exists and was not changed; choose another name")


def parent_of(runner: Runner, reference: str) -> Persona:
    """Return the persona that a new one extends.

    Raises:
        UsageError: The persona is not found; the message contains similar names.
    """
    if not REFERENCE.match(reference):
        raise UsageError(
            f"--extends: invalid persona name {reference[:80]!r}: write a name, or a path inside "
            f"the library such as partials/professional, without a file extension; a persona "
            f"that a plugin loads is written scheme:rest"
        )
    # What the command line names, the user allows; a file may not name every persona.
    is_loaded = LOADED.match(reference) is not None
    return runner.load(reference) if is_loaded else runner.library.parents()(reference)


def exact_text(data: bytes, name: str) -> str:
    """Return the text of a prompt file, without a byte order mark and with line feeds as line ends.

    Raises:
        UsageError: The file is empty or not UTF-8, or exceeds the size limit of a persona file.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name} exceeds {MAX_BYTES:,} bytes, the limit of a persona file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{name} is encoded as UTF-16; save it as UTF-8")
    try:
        # Editors on Windows write both.
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise PersonaError([Problem(message, name, line, column)]) from None
    if not text.strip():
        raise UsageError(f"{name} is empty; write the system message into it")
    return text


def undeclared(runner: Runner, draft: Draft, target: Path, name: str) -> list[str]:
    """Return the undeclared variables in the system message of a draft, in order of appearance.

    Args:
        runner: The runner that compiles the draft.
        draft: The draft.
        target: The path of the future file.
        name: The name of the text in errors.

    Raises:
        PersonaError: The text is not a valid template.
    """
    persona = _parsed(runner, draft.source(), target)
    try:
        problems: Iterable[Problem] = runner.catalog.compiled(persona).problems
    except PersonaError as error:
        problems = error.problems
    first = persona.document.marks["system",].text_line
    names, wrong = set(), []
    for problem in problems:
        if problem.code == UNDEFINED and problem.subject not in ("input", "parent"):
            names.add(problem.subject)
        elif problem.path == str(target):
            message = problem.message.removeprefix("system: ")
            line = max(problem.line - first + 1, 1)
            wrong.append(dataclasses.replace(problem, message=message, path=name, line=line))
        else:
            wrong.append(problem)
    if wrong:
        raise PersonaError(wrong)
    return sorted(names, key=lambda it: _first(draft.system, it))


def _first(text: str, name: str) -> int:
    match = re.search(rf"\b{name}\b", text)
    return match.start() if match else len(text)


def checked(runner: Runner, source: str, target: Path) -> Persona:
    """Return the persona of a new file, after rendering it once.

    Raises:
        UsageError: The persona is invalid.
    """
    persona = _parsed(runner, source, target)
    prompt = "Hello" if runner.catalog.compiled(persona).takes_input else None
    # A required variable has no value yet.
    with contextlib.suppress(VariableError):
        runner.render(persona, prompt)
    return persona


def with_test(runner: Runner, draft: Draft, persona: Persona) -> Draft:
    """Return a draft with a test that limits its messages to about twice their length."""
    takes_input = runner.catalog.compiled(persona).takes_input
    prompt = "Hello" if persona.prompt and takes_input else None
    try:
        messages = runner.render(persona, prompt).messages
    except VariableError:
        return draft  # only the author knows a value for a required variable
    count = sum(tokens.count_tokens(message.text)[0] for message in messages)
    limit = max(2 * count, 1)
    return dataclasses.replace(draft, limit=-(-limit // 100) * 100, prompted=prompt is not None)


def _parsed(runner: Runner, source: str, target: Path) -> Persona:
    return Persona.parse(source, str(target), parents=runner.library.parents(target))


def save(target: Path, source: str) -> None:
    """Write a new file atomically; never replace an existing one.

    Raises:
        UsageError: The path exists, or the file cannot be written.
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
    """Move a file to a new path with a hard link, which unlike a rename never replaces a file."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links.
        with target.open("xb") as opened:
            opened.write(part.read_bytes())
