"""From a client's conversation to the request of a run: the persona's messages come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personakit.conversation import newest
from personakit.messages import Message, Request
from personakit.persona import Persona
from personakit.server.callers.access import LIMITS, Caller
from personakit.server.completions.body import Asked, convert
from personakit.server.completions.tools import wrong
from personakit.server.settings import Settings

_SYSTEM = ("system", "developer")

RETRIES = 1
"""How often a request that failed is sent again: clients retry, too, and the numbers multiply."""


def build(
    runner: Any,
    persona: Persona,
    asked: Asked,
    messages: Sequence[Message],
    caller: Caller,
    settings: Settings,
    model: str | None,
) -> tuple[Request, tuple[str, ...]]:
    """Return the request of a run, and the keys of the body that have no effect.

    The persona's messages come first. A system message of the client follows that of the persona.
    The last message of the user goes through the persona's `prompt`.

    Args:
        runner: The runner.
        persona: The persona.
        asked: What the client asks for.
        messages: The client's conversation.
        caller: Who asks.
        settings: The settings of the server.
        model: The upstream model that the client chooses; None for the persona's.

    Raises:
        Refusal: The client asks for something that is not allowed (400).
        UsageError: A value is invalid.
    """
    parameters, ignored = _used(persona, asked, settings)
    _check_tools(runner, persona, asked)
    leading, before, said, after = _parts(messages, settings)
    if persona.history is not None:
        before = newest(tuple(before), persona.history.keep)
    text = _text(runner, persona, said)
    given = _variables(persona, asked, settings.limits.variables)
    rendered = runner.render(persona, text, variables=given, model=model, parameters=parameters)
    end = len(rendered.messages) - (text is not None or persona.prompt is not None)
    head, prompt = list(rendered.messages[:end]), list(rendered.messages[end:])
    at = 1 if head and head[0].role in _SYSTEM else 0
    head[at:at] = leading
    if said is not None and said.parts and prompt:
        prompt[0] = _with_parts(prompt[0], said)
    request = rendered.replace(
        messages=(*head, *before, *prompt, *after),
        history=tuple(before),
        _history_at=len(head),
        parameters=_limited(rendered.parameters, asked, caller),
        max_retries=RETRIES,
    )
    return request, tuple(ignored)


def _with_parts(prompt: Message, said: Message) -> Message:
    """Return the rendered prompt with the images and files of the user's message."""
    text = ({"type": "text", "text": prompt.text},) if prompt.text else ()
    return prompt.replace(content=(*text, *said.parts))


def _used(persona: Persona, asked: Asked, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters that have an effect, and the keys that have none."""
    ignored = list(asked.ignored)
    parameters = dict(asked.parameters)
    without = ["response_format"] if persona.output is not None else []
    without += ["logprobs", "top_logprobs"] if asked.stream else []
    ignored += [name for name in without if parameters.pop(name, None) is not None]
    if ignored and settings.strict:
        message = f"these keys have no effect: {', '.join(ignored)[:500]}; leave them out"
        raise wrong(ignored[0], message)
    return parameters, ignored


def _text(runner: Any, persona: Persona, said: Message | None) -> str | None:
    """Return the text of the user; None if there is none and the persona needs none."""
    takes = persona.prompt is None or runner.catalog.compiled(persona).takes_input
    if said is not None and not takes:
        raise wrong(
            "messages",
            "the prompt of this persona has no place for a message of the user; send an empty "
            "`messages`, and `variables` if it has any",
        )
    if said is None and persona.prompt is not None and takes:
        raise wrong("messages", "this persona needs a message of the role 'user'; add one")
    return None if said is None else said.text


def _variables(persona: Persona, asked: Asked, most: int) -> Mapping[str, Any]:
    declared = persona.variables
    given = {name: text for name, text in asked.texts.items() if name in declared}
    if sum(map(len, given.values())) > most:
        raise wrong("metadata", f"the variables in metadata have more than {most:,} characters")
    texts = {name: convert(name, text, declared[name]) for name, text in given.items()}
    return {**texts, **asked.variables} if texts else asked.variables


def _permitted(messages: Sequence[Message], settings: Settings) -> Sequence[Message]:
    """Return the messages, with the client's system messages as the settings want them."""
    mode = settings.client_system
    if mode == "append" or not any(message.role in _SYSTEM for message in messages):
        return messages
    if mode == "refuse":
        raise wrong("messages", "this server does not accept system messages; leave them out")
    return [m.replace(role="user") if m.role in _SYSTEM else m for m in messages]


def _last_of_user(messages: Sequence[Message]) -> int | None:
    """Return the index of the last message of the user; None if there is none."""
    return next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), None)


def _parts(
    given: Sequence[Message], settings: Settings
) -> tuple[Sequence[Message], Sequence[Message], Message | None, Sequence[Message]]:
    """Return the system messages at the start, and what is before, at and after the last user's.

    A system message that the settings make one of the user's is the last one of the user only if
    there is no other.
    """
    last = _last_of_user(given)
    messages = _permitted(given, settings)
    start = next((n for n, one in enumerate(messages) if one.role not in _SYSTEM), len(messages))
    last = _last_of_user(messages) if last is None else last
    if last is None:
        return messages[:start], messages[start:], None, ()
    return messages[:start], messages[start:last], messages[last], messages[last + 1 :]


def _limited(parameters: Mapping[str, Any], asked: Asked, caller: Caller) -> Mapping[str, Any]:
    """Return the parameters within the limits of the key, with the choice of tools."""
    if set(LIMITS) <= parameters.keys() and (given := asked.parameters.keys() & LIMITS):
        # An upstream refuses both. Without this, the persona's could be the one that it takes.
        kept = next(name for name in LIMITS if name in given)
        dropped = set(LIMITS) - {kept}
        parameters = {name: value for name, value in parameters.items() if name not in dropped}
    changes: dict[str, Any] = {}
    if asked.choice is not None:
        changes["tool_choice"] = asked.choice
    if asked.parallel is not None and asked.tools.tools:
        changes["parallel_tool_calls"] = asked.parallel
    limited = caller.limited(parameters)
    return {**limited, **changes} if changes else limited


def _check_tools(runner: Any, persona: Persona, asked: Asked) -> None:
    if not (persona.tools and asked.tools.tools):
        return
    own = {tool.name for tool in runner.catalog.bind(persona).tools}
    if both := sorted(own & asked.tools.names):
        message = f"the persona has a tool of its own named {both[0]!r}; rename yours"
        raise wrong("tools", message)
