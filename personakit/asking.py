"""What a run asks for beside its text: an output and attachments, loaded where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from personakit.backend import Router
from personakit.errors import ConfigError
from personakit.messages import Request, Response
from personakit.persona import Persona
from personakit.run import Options, check
from personakit.tools import Tool

if TYPE_CHECKING:
    from personakit.attachments import Source
    from personakit.output import Output


def _wanted(persona: Persona, given: Any) -> Output | None:
    """Return what a run must answer; None for any text."""
    if given is None and persona.output is None:
        return None
    from personakit.output import wanted  # noqa: PLC0415

    return wanted(persona, given)


def settled(persona: Persona, options: Options) -> Options:
    """Return the options of a run, with an output made of its type, which takes a moment, once.

    Raises:
        UsageError: An option is unknown or wrong.
    """
    check(options)
    given = options.get("output")
    if given is None:
        return options
    return {**options, "output": _wanted(persona, given)}


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


def check_tools(persona: Persona, request: Request) -> None:
    """Check that every tool that a persona lists is there, now that all plugins had their turn.

    Raises:
        ConfigError: One is missing.
    """
    missing = set(persona.tools) - {tool.name for tool in request.tools}
    if missing:
        names = ", ".join(repr(name) for name in persona.tools if name in missing)
        raise ConfigError(
            f"{persona.path}: no plugin brings the tools {names}; install one that does, or list "
            f"the plugin that offers them under `plugins:` (see `personakit plugins`)"
        )


def shaped(request: Request, router: Router) -> Request:
    """Return a request as its model's provider takes it: with a schema, or with words."""
    form = request.parameters.get("response_format") or {}
    if form.get("type") != "json_schema" or router.takes_schema(request.model):
        return request
    from personakit.output import instructed  # noqa: PLC0415

    return instructed(request)
