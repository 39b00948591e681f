"""A personakit plugin that hides personal data in requests and restores it in answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from personakit import BackendError, Message, Request, Response, Send, hookimpl
from personakit_redact.detectors import Kind, find
from personakit_redact.restore import Restore, Table

__all__ = ["Redact"]

_SIGNED = frozenset({"signature", "thought_signature"})
# Bytes as text, in which digits mean nothing.
_OPAQUE = _SIGNED | {"data", "encrypted_content", "encrypted_index", "id"}


@dataclass(eq=False)
class Redact:
    """Redaction of personal data in requests, which is restored in answers.

    Attributes:
        entities: The kinds of data to hide.
        region: The ISO 3166 code of the country whose national phone numbers are found, such as
            "FR"; "" finds only numbers that start with + and a country code.
        restore: Restore the values in the answer and in the arguments of tool calls.

    Raises:
        ValueError: The region is unknown.
    """

    # What another plugin stores has no personal data.
    outside_of = ("cache",)

    entities: list[Kind] = field(default_factory=lambda: ["email", "phone", "card", "iban"])
    region: str = "US"
    restore: bool = True

    def __post_init__(self) -> None:
        self.region = self.region.upper()
        if self.region not in {"US", ""}:  # valid, so the import can wait
            from personakit_redact.numbering import check_region  # noqa: PLC0415

            check_region(self.region)

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Request | Response:
        """Send the request without personal data, and restore the answer."""
        table = Table()
        _map_request(request, table.reserve)
        hidden = _map_request(request, lambda text: self._hide(text, table))
        # What a model wrote behind this plugin contains its placeholders, which stay.
        hidden = hidden.replace(
            messages=tuple(_map_items(m, lambda t: self._hide(t, table)) for m in hidden.messages)
        )
        if not self.restore:
            return hidden
        try:
            response = await send.live(hidden, filter=Restore(table))
        except BackendError as error:
            error.partial = table.restore(error.partial)
            if isinstance(error.response, Response):
                answer = _restored(error.response, table)
                error.response = answer.replace(
                    text=table.restore(answer.text), reasoning=table.restore(answer.reasoning)
                )
            raise
        return _restored(response, table)

    def _hide(self, text: str, table: Table) -> str:
        pieces, at = [], 0
        for start, end, kind in find(text, self.entities, self.region):
            pieces += [text[at:start], table.name(kind, text[start:end])]
            at = end
        return "".join([*pieces, text[at:]])


def _restored(response: Response, table: Table) -> Response:
    """Return a response with the values restored in its calls and annotations.

    The filter restores its text and its reasoning; `items` go back as they came.
    """
    calls = (
        replace(call, arguments=table.restore(call.arguments, _in_json))
        for call in response.tool_calls
    )
    annotations = (_map_value(one, table.restore) for one in response.annotations)
    return response.replace(tool_calls=tuple(calls), annotations=tuple(annotations))


def _map_request(request: Request, change: Callable[[str], str]) -> Request:
    """Return `request` with `change` applied to every text in messages and parameters."""
    texts = request.map_text(change).messages
    messages = (_map_names(_map_calls(message, change), change) for message in texts)
    return request.replace(
        messages=tuple(messages), parameters=_map_value(request.parameters, change)
    )


def _map_calls(message: Message, change: Callable[[str], str]) -> Message:
    """Return `message` with `change` applied to the arguments of its tool calls."""
    calls = (replace(c, arguments=_map_json(c.arguments, change)) for c in message.tool_calls)
    return message.replace(tool_calls=tuple(calls)) if message.tool_calls else message


def _map_items(message: Message, change: Callable[[str], str]) -> Message:
    """Return `message` with `change` applied to what its provider wants back with it.

    What is signed is left out if it would change: the provider rejects another text.
    """
    if not message.items:
        return message
    items = _map_kept(message.items, change)
    return message if items is message.items else message.replace(items=tuple(items))


def _map_kept(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON with `change` applied, itself if nothing changes; None to leave it out."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        parts = [(k, v, v if k in _OPAQUE else _map_kept(v, change)) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(None, item, _map_kept(item, change)) for item in value]
    else:
        return value
    if all(old is new or old == new for _, old, new in parts):
        return value
    if isinstance(value, Mapping):
        kept = {key: new for key, old, new in parts if new is not None or old is None}
        return None if any(value.get(key) for key in _SIGNED) else kept
    return [new for _, old, new in parts if new is not None or old is None]


def _map_names(message: Message, change: Callable[[str], str]) -> Message:
    """Return `message` with `change` applied to the file names, which the model sees."""
    if not any(part.get("type") == "file" for part in message.parts):
        return message
    parts = [_map_name(part, change) for part in message.content or () if isinstance(part, Mapping)]
    return message.replace(content=parts)


def _map_name(part: Mapping[str, Any], change: Callable[[str], str]) -> Mapping[str, Any]:
    file = part.get("file")
    name = file.get("filename") if isinstance(file, Mapping) else None
    if not isinstance(file, Mapping) or not isinstance(name, str):
        return part
    # Exclude `.pdf`: `ann@example.com.pdf` looks like one address, and upstreams need the suffix.
    end = len(name) - 4 if name.lower().endswith(".pdf") else len(name)
    return {**part, "file": {**file, "filename": f"{change(name[:end])}{name[end:]}"}}


def _map_json(text: str, change: Callable[[str], str]) -> str:
    """Return JSON `text` with `change` applied to its values, or to all of it if it is not JSON."""
    try:
        value = json.loads(text)
        changed = _map_value(value, change, numbers=True)
        return text if changed == value else json.dumps(changed, ensure_ascii=False)
    except (ValueError, RecursionError):
        return change(text)


def _map_value(value: Any, change: Callable[[str], str], *, numbers: bool = False) -> Any:
    """Return plain data with `change` applied to its texts and, if `numbers`, its integers."""
    if isinstance(value, Mapping):
        return {
            change(key): _map_value(item, change, numbers=numbers) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_map_value(item, change, numbers=numbers) for item in value]
    if numbers and type(value) is int and (changed := change(str(value))) != str(value):
        return changed
    return change(value) if isinstance(value, str) else value


def _in_json(value: str) -> str:
    """Return `value` escaped for a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]
