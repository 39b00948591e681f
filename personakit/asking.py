"""What a run asks for beside its text: an output and attachments, loaded where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from personakit.checks import is_type
from personakit.errors import ConfigError, UsageError, did_you_mean
from personakit.messages import Request, Response
from personakit.parameters import ALLOWED
from personakit.persona import Persona
from personakit.routing import Router
from personakit.tools import Tool

if TYPE_CHECKING:
    from personakit.attachments import Source
    from personakit.output import Output

T = TypeVar("T", bound=Mapping[str, Any])


def check(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse an option that is unknown, and a limit that is none.

    Args:
        options: What a run was given by name.
        known: The names that there are.

    Raises:
        UsageError: One is wrong.
    """
    for name in options.keys() - known:
        if name in ALLOWED:
            raise UsageError(f"{name} is a parameter: write parameters={{{name!r}: …}}")
        hint = did_you_mean(name, known) or f"; there are: {', '.join(sorted(known))}"
        raise UsageError(f"there is no option {name!r}{hint}")
    rounds = options.get("max_rounds", 1)
    if not is_type(rounds, "integer") or rounds < 1:
        raise UsageError(f"max_rounds is {rounds!r:.40}; give a whole number, 1 or more")
    for name in ("timeout", "deadline"):
        seconds = options.get(name)
        if seconds is not None and not (is_type(seconds, "number") and seconds > 0):
            raise UsageError(f"{name} is {seconds!r:.40}; give seconds, more than 0")


def _wanted(persona: Persona, given: Any) -> Output | None:
    """Return what a run must answer; None for any text."""
    if given is None and persona.output is None:
        return None
    from personakit.output import wanted  # noqa: PLC0415

    return wanted(persona, given)


def settled(persona: Persona, options: T) -> T:
    """Return the options of a run with an output made of its type, which takes a moment, once."""
    given = options.get("output")
    if given is None:
        return options
    made = {**options, "output": _wanted(persona, given)}
    return cast("T", made)


def reader(persona: Persona, given: Any) -> Callable[[Response], Response]:
    """Return what reads the value out of the answer; a schema that is none is refused here."""
    output = _wanted(persona, given)
    return output.reader() if output is not None else lambda response: response


def response_format(persona: Persona, given: Any) -> Mapping[str, Any]:
    """Return the parameter that asks for an output."""
    output = _wanted(persona, given)
    return {} if output is None else {"response_format": output.response_format}


def attached(request: Request, sources: Iterable[Source]) -> Request:
    """Return a request with attachments."""
    if not sources:
        return request
    from personakit.attachments import attach  # noqa: PLC0415

    return attach(request, sources)


def tools(given: Iterable[Tool | Callable[..., Any]]) -> list[Tool]:
    """Return the tools of functions.

    Raises:
        ConfigError: One is no function, or cannot be described.
    """
    if callable(given) or isinstance(given, str | Tool):
        raise ConfigError("tools is a list of functions: write tools=[…]")
    found: dict[str, Tool] = {}
    for one in given:
        if not isinstance(one, Tool) and not callable(one):
            raise ConfigError(f"tools takes functions, found {one!r:.60}")
        tool = one if isinstance(one, Tool) else Tool.of(one)
        known = found.setdefault(tool.name, tool)
        if known.function != tool.function:
            raise ConfigError(
                f"tools has two that are called {tool.name!r}; give one another name: "
                f"Tool.of(function, name=…)"
            )
    return list(found.values())


def shaped(request: Request, router: Router) -> Request:
    """Return a request as its model's provider takes it: with a schema, or with words."""
    form = request.parameters.get("response_format") or {}
    if form.get("type") != "json_schema" or router.takes_schema(request.model):
        return request
    from personakit.output import instructed  # noqa: PLC0415

    return instructed(request)
