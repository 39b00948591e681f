"""Errors of rendering: messages for the author of a template, with their positions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import LoopContext

from personakit.base import describe, locate, occurrences, read_file
from personakit.errors import Problem, TemplateError, did_you_mean, spelled
from personakit.persona import MAX_BYTES
from personakit.templates.budget import Refused
from personakit.templates.compiler import Place
from personakit.templates.filters import MissingField

_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))
_MOST = 10


def failure(error: Exception, place: Place, values: Mapping[str, Any]) -> TemplateError:
    """Return the error for a template that could not be rendered.

    Args:
        error: The exception that the template raised.
        place: The location of the template.
        values: The values that it was rendered with.
    """
    message, subject, owner = _explained(error, values)
    at, line = _origin(error, place)
    problem = at.problem(message, line, subject=subject)
    if subject:
        return TemplateError([_located(problem, owner, at.literal)])
    return TemplateError(placed([problem]))


def placed(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems of templates with their columns, where their files can be read."""
    lines: dict[str, list[str]] = {}
    result = []
    for problem in problems:
        if problem.path not in lines:
            lines[problem.path] = _lines(problem.path)
        text = lines[problem.path]
        if problem.line and not problem.column and problem.line <= len(text):
            start = text[problem.line - 1]
            column, end = len(start) - len(start.lstrip()) + 1, len(start.rstrip()) + 1
            place = problem.line, column, max(column, end)
            if problem.subject:
                found = locate(text, problem.line, problem.subject)
                place = found[:3] if found else place
            result.append(_at(problem, *place))
        else:
            result.append(problem)
    return result


def _at(problem: Problem, line: int, column: int, end: int) -> Problem:
    return replace(problem, line=line, column=column, end_line=line, end_column=end)


def _lines(path: str) -> list[str]:
    try:
        return read_file(path, MAX_BYTES).decode("utf-8-sig", "replace").split("\n")
    except (OSError, ValueError):
        return []


def _explained(error: Exception, values: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the message, the field to point at, and the path that is before it; empty for none."""
    if isinstance(error, MissingField):
        if isinstance(error.name, jinja2.Undefined):
            # The mistake is in the name of the field, which is undefined itself.
            try:
                str(error.name)
            except jinja2.UndefinedError as inner:
                return _explained(inner, values)
        return _missing(error, values)
    if isinstance(error, Refused | jinja2.UndefinedError):
        message = str(error)
        return _no_prompt() if message == "'input' is undefined" else message, "", ""
    if isinstance(error, RecursionError):
        return "the template calls itself too deep (recursion)", "", ""
    # A template is user input, not program code: any exception is an error in the file.
    if isinstance(error, TypeError) and "'builtin_function_or_method' object" in str(error):
        methods = ", ".join(sorted(_METHODS & {"items", "keys", "values"}))
        hint = f'call a method such as {methods} with (), and write a key of that name as ["items"]'
        return f"the template fails: {error}; {hint}", "", ""
    if isinstance(error, TypeError) and "can only concatenate str" in str(error):
        return "a text and another value cannot be added with +; join them with ~", "", ""
    if isinstance(error, TypeError) and "expected str instance" in str(error):
        hint = "the filter join takes any values, as in {{ x | join(', ') }}"
        return f"the template fails: {error}; {hint}", "", ""
    return f"the template fails: {str(error) or type(error).__name__}", "", ""


def _no_prompt() -> str:
    way = spelled(
        python='pass one, as in personakit.run(NAME, "…") or conversation.run("…")',
        terminal="type one, or pipe a text in",
        magic="write it in the cell, below %%persona",
        service="send a message of the user",
    )
    return f"this persona needs a prompt: {way}"


def _missing(error: MissingField, values: Mapping[str, Any]) -> tuple[str, str, str]:
    obj, name = error.obj, error.name
    path = _path_of(obj, values)
    where = _named(path)
    subject = f".{name}", _dotted(path)
    # An address in memory differs in each process.
    field = repr(name) if isinstance(name, str) else re.sub(" at 0x[0-9a-fA-F]+", "", repr(name))
    if isinstance(obj, Mapping):
        hint = did_you_mean(name, map(str, obj)) if isinstance(name, str) else ""
        message = f"{where or 'the mapping'} has no field {field}{hint or _listed(obj)}"
        return message, *subject
    if isinstance(obj, list | tuple) and isinstance(name, int):
        items = "1 item" if len(obj) == 1 else f"{len(obj)} items"
        hint = "; indexes begin at 0" if name == len(obj) else ""
        return f"{where or 'the list'} has {items}, none at index {name}{hint}", *subject
    if isinstance(obj, LoopContext):
        fields = [field for field in dir(LoopContext) if not field.startswith("_")]
        hint = did_you_mean(str(name), fields) or f" (it has: {', '.join(fields)})"
        return f"'loop' has no field {field}{hint}", f".{name}", "loop"
    if not isinstance(obj, str | int | float | list | tuple):
        return str(error), "", ""
    shown = where or describe(obj)
    kind = "field" if isinstance(name, str) else "item"
    return f"{shown} has no {kind} {field}", *subject


def _listed(obj: Mapping[Any, Any]) -> str:
    names = [str(name) for name in obj]
    rest = ", …" if len(names) > _MOST else ""
    return f" (it has: {', '.join(names[:_MOST])}{rest})" if names else " (it is empty)"


def _path_of(obj: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the path of a value in the variables; empty if it is not one of them."""
    if not isinstance(obj, list | tuple | Mapping):
        return ()
    return next((path for path, value in _walk(values) if value is obj), ())


def _named(path: tuple[Any, ...]) -> str:
    """Return a path for a message: ``item 2 of 'order.lines'``; empty for an empty one."""
    if path and isinstance(path[-1], int):
        return f"item {path[-1] + 1} of '{_dotted(path[:-1])}'"
    return f"'{_dotted(path)}'" if path else ""


def _walk(values: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every list and mapping in the variables, with its path."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((name,), values[name]) for name in values]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            yield path, value
            waiting += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            yield path, value
            waiting += [((*path, index), item) for index, item in enumerate(value)]


def _dotted(path: tuple[Any, ...]) -> str:
    fields = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(fields)[1:]


def _located(problem: Problem, owner: str, literal: bool) -> Problem:
    """Add the position of a field to a problem, if there is only one that it can be.

    Args:
        problem: The problem; its subject is a dot and the field.
        owner: The path that is before the field; empty if it is unknown.
        literal: Whether the line of the problem is the line of the field.
    """
    if not problem.line:
        return problem
    lines = _lines(problem.path)
    found = list(occurrences(lines, problem.line, problem.subject))
    if literal:
        found = [place for place in found if place.line == problem.line]
    owners = {place.before for place in found}
    if owner in owners:
        found = [place for place in found if place.before == owner]
    elif len(owners) != 1:
        return problem
    return _at(problem, *found[0][:3])


def _origin(error: BaseException, place: Place) -> tuple[Place, int]:
    """Return the location of the template or partial that raised an error, and the line."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            own = template.filename in (None, place.path)
            place = place if own else Place(str(Path(template.filename)))
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return place, int(line)
