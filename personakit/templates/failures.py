"""Errors of rendering: messages for the author of a template, with their positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from personakit.base import describe, locate
from personakit.errors import Problem, TemplateError, did_you_mean
from personakit.templates.budget import Refused
from personakit.templates.compiler import Place
from personakit.templates.filters import MissingField

_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))
_NO_PROMPT = "this persona needs a prompt: type one, or pipe a text in"
_MOST = 10


def failure(error: Exception, place: Place, values: Mapping[str, Any]) -> TemplateError:
    """Return the error for a template that could not be rendered.

    Args:
        error: The exception that the template raised.
        place: The location of the template.
        values: The values that it was rendered with.
    """
    message, subject = _explained(error, values)
    at, line = _origin(error, place)
    problem = at.problem(message, line, subject=subject)
    return TemplateError([_located(problem) if subject else problem])


def _explained(error: Exception, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the message, and the word of the template to point at; empty for none."""
    if isinstance(error, MissingField):
        return _missing(error, values)
    if isinstance(error, Refused | jinja2.UndefinedError):
        message = str(error)
        return _NO_PROMPT if message == "'input' is undefined" else message, ""
    if isinstance(error, RecursionError):
        return "the template calls itself too deeply (recursion)", ""
    # A template is user input, not program code: any exception is an error in the file.
    if isinstance(error, TypeError) and "'builtin_function_or_method' object" in str(error):
        methods = ", ".join(sorted(_METHODS & {"items", "keys", "values"}))
        return (
            f"the template fails: {error}; call a method such as {methods} with (), and write a "
            f'key of that name as ["items"]'
        ), ""
    return f"the template fails: {str(error) or type(error).__name__}", ""


def _missing(error: MissingField, values: Mapping[str, Any]) -> tuple[str, str]:
    obj, name = error.obj, error.name
    where = _path_of(obj, values)
    if isinstance(obj, Mapping):
        hint = did_you_mean(name, map(str, obj)) if isinstance(name, str) else ""
        found = f"{where or 'the mapping'} has no field {name!r}{hint or _listed(obj)}"
        return found, f".{name}"
    if isinstance(obj, list | tuple) and isinstance(name, int):
        items = "1 item" if len(obj) == 1 else f"{len(obj)} items"
        hint = "; indexes begin at 0" if name == len(obj) else ""
        return f"{where or 'the list'} has {items}, none at index {name}{hint}", ""
    if not isinstance(obj, str | int | float | list | tuple):
        return str(error), ""
    shown = where or describe(obj)
    return f"{shown} has no {'field' if isinstance(name, str) else 'item'} {name!r}", f".{name}"


def _listed(obj: Mapping[Any, Any]) -> str:
    names = [str(name) for name in obj]
    rest = ", …" if len(names) > _MOST else ""
    return f" (it has: {', '.join(names[:_MOST])}{rest})" if names else " (it is empty)"


def _path_of(obj: Any, values: Mapping[str, Any]) -> str:
    """Return the path of a value in the variables: ``item 2 of 'order.lines'``."""
    if not isinstance(obj, list | tuple | Mapping):
        return ""
    for path, value in _walk(values):
        if value is obj:
            *before, last = path
            if isinstance(last, int):
                return f"item {last + 1} of {_dotted(before)}"
            return _dotted(path)
    return ""


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


def _dotted(path: tuple[Any, ...] | list[Any]) -> str:
    first, *rest = path
    fields = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    return f"'{first}{fields}'"


def _located(problem: Problem) -> Problem:
    """Add the position of its subject to a problem, if the file contains the subject."""
    try:
        lines = Path(problem.path).read_bytes().decode("utf-8-sig", "replace").split("\n")
    except (OSError, ValueError):
        return problem
    position = locate(lines, problem.line, problem.subject) if problem.line else None
    return problem if position is None else replace(problem, line=position[0], column=position[1])


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
