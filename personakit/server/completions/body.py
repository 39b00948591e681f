"""The body of a chat completion: what the client asks for, checked before anything runs.

The shape is that of https://platform.openai.com/docs/api-reference/chat/create, with `variables`
beside it. What other clients send in its place, such as messages under `input`, is read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import describe, read_json
from personakit.errors import PersonakitError, UsageError
from personakit.frozen import check_plain, quick_init
from personakit.messages import Message
from personakit.persona import parameters
from personakit.server.completions.messages import read_messages
from personakit.server.completions.other_names import as_chat
from personakit.server.completions.tools import Offered, offered, wrong

_READ = (
    "model messages input instructions variables metadata tools tool_choice parallel_tool_calls "
    "stream stream_options n"
).split()
_HARMLESS = ("user", "store", "n")  # ignored without a word: they change no answer


@quick_init
@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for.

    Attributes:
        model: The name of the persona.
        messages: The client's conversation.
        variables: The values of the persona's variables, from `variables` and the header.
        texts: The strings of `metadata`: those with the name of a variable are its value.
        parameters: Parameters of the model call.
        tools: The client's own tools.
        choice: The `tool_choice`; None if the client sets none.
        parallel: The `parallel_tool_calls`; None if the client sets none.
        stream: Whether the answer is streamed.
        usage: Whether the stream ends with the tokens.
        ignored: The keys that have no effect.
    """

    model: str
    messages: tuple[Message, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tools: Offered = field(default_factory=Offered)
    choice: Any = None
    parallel: bool | None = None
    stream: bool = False
    usage: bool = False
    ignored: tuple[str, ...] = ()


def read(body: Any, header: str, most: int) -> Asked:
    """Return what a client asks for.

    Args:
        body: The parsed body.
        header: The header ``x-personakit-variables``; empty if there is none.
        most: The most bytes of all variables.

    Raises:
        Refusal: The body is invalid (400), with the part that is wrong as `param`.
    """
    if not isinstance(body, dict):
        raise wrong("", f"the body must be a JSON object, found {describe(body)}")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise wrong("model", f"model must be the name of a persona, found {describe(model)}")
    number = body.get("n")
    if number not in (None, 1) or isinstance(number, bool):
        raise wrong("n", f"n must be 1: a persona gives one answer, found {describe(number)}")
    tools = offered(body.get("tools"))
    given, ignored = _parameters(body)
    options = _mapping(body, "stream_options")
    choice = tools.chosen(body.get("tool_choice"))
    return Asked(
        model,
        read_messages(body, tools),
        _variables(body, header, most),
        _texts(body),
        given,
        tools,
        choice,
        _flag(body, "parallel_tool_calls"),
        bool(_flag(body, "stream")),
        bool(_flag(options, "include_usage", "stream_options.")),
        ignored,
    )


def _parameters(body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters of the model call, and the keys that have no effect."""
    given: dict[str, Any] = {}
    ignored = []
    for name, value in as_chat(body).items():
        if value is None or name in _READ:
            continue
        if name in parameters.ALLOWED:
            if problem := parameters.fault(name, value):
                raise wrong(name, problem)
            given[name] = value
        elif name not in _HARMLESS:
            ignored.append(name)
    return given, tuple(ignored)


def _variables(body: Mapping[str, Any], header: str, most: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if header:
        try:
            given = read_json(_as_utf8(header))
        except ValueError as error:
            message = f"the header x-personakit-variables is not valid JSON: {error}"
            raise wrong("variables", message) from None
        if not isinstance(given, dict):
            found = describe(given)
            message = f"the header x-personakit-variables must be a JSON object, found {found}"
            raise wrong("variables", message)
    given = {**given, **_mapping(body, "variables")}
    if given and len(json.dumps(given)) > most:
        raise wrong("variables", f"the variables have more than {most:,} bytes as JSON")
    try:
        check_plain(given, "variables")
    except UsageError as error:
        raise wrong("variables", str(error)) from None
    return given


def _as_utf8(header: str) -> str:
    """Return the text of a header, which many clients send as UTF-8 although it is Latin-1."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    """Return `metadata`, whose values are strings (OpenAI's limit: 16 of 512 characters)."""
    texts = _mapping(body, "metadata")
    for name, value in texts.items():
        if not isinstance(value, str):
            message = f"metadata must contain strings, found {describe(value)}; write variables"
            raise wrong(f"metadata.{name:.64}", message)
    return texts


def _mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, f"{name} must be an object, found {describe(value)}")
    return value


def _flag(body: Mapping[str, Any], name: str, at: str = "") -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(f"{at}{name}", f"{at}{name} must be true or false, found {describe(value)}")
    return value


def convert(name: str, text: str, variable: Any) -> Any:
    """Return the value of a variable that was given as text.

    Raises:
        Refusal: The text is not a value of its type (400).
    """
    try:
        return variable.convert(text)
    except PersonakitError as error:
        raise wrong(f"metadata.{name}", str(error)) from None
