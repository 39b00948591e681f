"""The replies of the Responses API, whole and as the events that OpenAI streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from personakit.testing.fake_backend import pieces

Item = dict[str, Any]
# The events of each kind of part, and the key of its text there.
_EVENTS: dict[str, tuple[str, str, Item]] = {
    "output_text": ("response.output_text", "text", {"logprobs": []}),
    "refusal": ("response.refusal", "refusal", {}),
    "reasoning_text": ("response.reasoning_text", "text", {}),
    "summary_text": ("response.reasoning_summary_text", "text", {}),
}
_ECHOED = {
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_output_tokens": None,
    "metadata": {},
    "reasoning": None,
    "text": {"format": {"type": "text"}},
    "store": True,
    "truncation": "disabled",
    "top_logprobs": 0,
}
_FIXED = {
    "object": "response",
    "created_at": 1_780_000_000,
    "completed_at": 1_780_000_001,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "previous_response_id": None,
    "background": False,
    "max_tool_calls": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def message(text: str, identity: str = "msg_test", **more: Any) -> Item:
    """Return the output item of a text."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    head = {"id": identity, "type": "message", "status": "completed", "role": "assistant"}
    return {**head, "content": [part], **more}


def response(
    *output: Item, request: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a whole response, with other values for some of its keys.

    Args:
        output: Its items.
        request: The body of the request, of which it repeats the parameters.
        changes: The other values.
    """
    sent = request or {}
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    return {
        **_FIXED,
        **{name: sent.get(name, value) for name, value in _ECHOED.items()},
        "id": "resp_test",
        "status": "completed",
        "model": "test-model",
        "output": list(output),
        "usage": usage,
        **changes,
    }


def events(whole: Mapping[str, Any], size: int = 3) -> Iterator[bytes]:
    """Yield the events of a response, in OpenAI's order.

    Args:
        whole: The response, as its last event has it.
        size: The number of characters in a delta; 0 for a text at once.
    """
    start = {**whole, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    start |= {"error": None, "incomplete_details": None}
    data: list[Item] = [
        {"type": "response.created", "response": start},
        {"type": "response.in_progress", "response": start},
    ]
    for index, item in enumerate(whole["output"]):
        data += _item(index, item, size)
    data.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(data):
        yield write(event, number)


def write(event: Mapping[str, Any], number: int = 0) -> bytes:
    """Return an event as it is sent."""
    data = json.dumps({**event, "sequence_number": number}).encode()
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), data)


def _item(index: int, item: Item, size: int) -> Iterator[Item]:
    """Yield the events of an item."""
    begun = {**item, "status": "in_progress"} if "status" in item else dict(item)
    at: Item = {"output_index": index}
    lists = [name for name in ("summary", "content") if isinstance(item.get(name), list)]
    begun |= {name: [] for name in lists}
    is_call = item.get("type") == "function_call"
    begun |= {"arguments": ""} if is_call else {}
    yield {"type": "response.output_item.added", **at, "item": begun}
    at = {"item_id": item.get("id") or f"item_{index}", **at}
    if is_call:
        name, text = "response.function_call_arguments", item["arguments"]
        for piece in pieces(text, size):
            yield {"type": f"{name}.delta", **at, "delta": piece}
        yield {"type": f"{name}.done", **at, "name": item["name"], "arguments": text}
    for key in lists:
        for number, part in enumerate(item[key]):
            yield from _part(key, {**at, f"{key}_index": number}, part, size)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part(key: str, at: Item, part: Item, size: int) -> Iterator[Item]:
    """Yield the events of a part of a message or of thoughts."""
    name, text, more = _EVENTS[part["type"]]
    around = "response.content_part" if key == "content" else "response.reasoning_summary_part"
    begun = {**part, text: "", **({"annotations": []} if "annotations" in part else {})}
    yield {"type": f"{around}.added", **at, "part": begun}
    for piece in pieces(part[text], size):
        yield {"type": f"{name}.delta", **at, "delta": piece, **more}
    for number, annotation in enumerate(part.get("annotations", ())):
        found = {"annotation_index": number, "annotation": annotation}
        yield {"type": f"{name}.annotation.added", **at, **found}
    yield {"type": f"{name}.done", **at, text: part[text], **more}
    yield {"type": f"{around}.done", **at, "part": part}
