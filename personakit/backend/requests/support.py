"""Check a request against what its provider and its wire support."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from personakit.backend.wire import Wire
from personakit.errors import ConfigError, spelled
from personakit.messages import Request
from personakit.providers import BUILT_IN, Provider, split_model

if TYPE_CHECKING:
    from personakit.schemas import SchemaSubset

_HINTS = frozenset({"frequency_penalty", "logit_bias", "presence_penalty", "seed", "verbosity"})
"""What a persona wishes, and an answer without it is still one to the persona."""
_notified: set[tuple[str, str, str]] = set()


def supported(request: Request, provider: Provider) -> None:
    """Check that a provider supports the attachments and the tools of a request.

    Raises:
        ConfigError: It does not.
    """
    if not provider.attachments and any(message.parts for message in request.messages):
        raise ConfigError(
            f"provider {provider.name!r} does not accept images, files or audio; choose another "
            f"model{_with()}, or send text alone"
        )
    if request.tools and not provider.tools:
        names = ", ".join(tool.name for tool in request.tools)
        raise ConfigError(
            f"provider {provider.name!r} does not support tools ({names}); choose another "
            f"model{_with()}, or run without tools: remove `tools:` from the persona"
            f"{spelled(terminal=', or leave out -T and --functions', python='', service='')}"
        )


def _with() -> str:
    return spelled(
        terminal=" with `-m provider/model`", python=' with `model="provider/model"`', service=""
    )


def formed(request: Request, provider: Provider, subset: SchemaSubset | None) -> Request:
    """Return a request that asks for a structured answer as its provider accepts it.

    A schema that the provider does not accept is written into the system message.

    Args:
        request: The request; it has a `response_format`.
        provider: Its provider.
        subset: The subset of JSON Schema that the provider accepts; None for all of it.
    """
    from personakit.output import instructed  # noqa: PLC0415

    form = request.parameters["response_format"]
    kind = form.get("type")
    if kind == "json_schema" and not provider.json_schema:
        return instructed(request)
    if subset is None or kind not in ("json_object", "json_schema"):
        return request
    inner = form.get("json_schema") or {}
    schema = subset.reduced(inner.get("schema") or {"type": "object"})
    if schema is None:
        return instructed(request)
    changed = {"type": "json_schema", "json_schema": {**inner, "schema": schema}}
    return request.replace(parameters={**request.parameters, "response_format": changed})


def sayable(request: Request, wire: Wire, notify: Callable[[str], None]) -> Request:
    """Return a request with the parameters that a wire can say.

    Args:
        request: The request.
        wire: The wire.
        notify: Called with one line about a parameter of a persona that is left out, once in a
            process.

    Raises:
        ConfigError: It cannot say one that the caller set, or that changes what an answer is.
    """
    if wire.parameters is None:
        return request
    parameters = request.parameters
    given = {name for name, value in parameters.items() if value is not None}
    # A wire that says which schemas it has sends the request's.
    formed = {"response_format"} if wire.schemas is not None else set()
    unknown = sorted(given - wire.parameters - formed)
    wrong = next((n for n in unknown if n not in _HINTS or n not in request.defaults), None)
    if wrong is not None:
        place = "in the persona or " if wire.name == "responses" else ""
        # A provider that a plugin brings together with its wire has no chat completions.
        instead = (
            f", or write `api: chat` {place}under `providers:` of the config file, as chat "
            f"completions have it"
        )
        has_chat = wire.name == "responses" or split_model(request.model)[0] in BUILT_IN
        raise ConfigError(
            f"{request.model}: {wire.title} has no parameter {wrong!r}; remove it"
            f"{instead if has_chat else ''}"
        )
    for name in unknown:
        if (request.model, wire.name, name) not in _notified:
            _notified.add((request.model, wire.name, name))
            notify(f"personakit: {name} is left out: {wire.title} has no such parameter")
    if not unknown:
        return request
    kept = {name: value for name, value in parameters.items() if name not in unknown}
    return request.replace(parameters=kept)
