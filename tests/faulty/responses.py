"""The modes with the replies of the Responses API: those of chat completions, said in its way.

The modules of modes are loaded once more, with this module in place of their replies; only shapes
are its own.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from typing import Any

from faulty import replies
from faulty.modes import Ends, Fails, Gives, Mode
from faulty.replies import END, JSON, TEXT, head, part, reply, sse, stream
from faulty.server import Exchange
from faulty.shape import ERRORS, INVALID, shape
from personakit import IncompleteAnswer
from personakit.testing import responses

__all__ = ["END", "JSON", "TEXT", "head", "part", "reply", "sse", "stream"]
LENGTH = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def whole(message: Any = TEXT, **changes: Any) -> dict[str, Any]:
    """Return a response, with other values for some keys of it."""
    return responses.response(responses.message(message), **changes)


def chunk(delta: Any, finish: str | None = None, **changes: Any) -> Any:
    """Return the object of an event, or several: a text, if there is one, and the end."""
    content = delta.get("content") if isinstance(delta, dict) else delta
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": content}
    odd = {"type": "response.odd", **changes}
    if finish is None:
        return odd if delta == {} else text
    last = whole(TEXT[:5], **LENGTH) if finish == "length" else whole()
    return [
        *([] if delta == {} else [text]),
        {"type": f"response.{last['status']}", "response": last},
    ]


def event(data: Any) -> bytes:
    """Return events: bytes as they are, anything else as JSON, with the names that they have."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return b"".join(map(event, data))
    kind = data.get("type") if isinstance(data, dict) else None
    is_named = isinstance(kind, str) and kind.startswith("response.")
    name = f"event: {kind}\n".encode() if is_named else b""
    return name + replies.event(data)


def said(text: str) -> bytes:
    """Return an event with text."""
    return event(chunk({"content": text}))


STOP = event(chunk({}, "stop"))
DONE = replies.DONE  # of servers that send it, too
FIRST = event({"type": "response.created", "response": whole(status="in_progress")})


def works(exchange: Exchange, text: str = TEXT) -> None:
    """Answer as it should be."""
    if exchange.streams:
        last = {"type": "response.completed", "response": whole(text)}
        stream(exchange, FIRST, said(text[:5]), said(text[5:]), event(last))
    else:
        exchange.send(reply(exchange, whole(text)))


def _shapes() -> tuple[Mode, ...]:
    fields = {name: shape({"error": error}) for name, (error, _) in ERRORS.items()}
    errors = [
        Mode(f"200 with an error: {name}", serve, Fails((ERRORS[name][1],)))
        for name, serve in fields.items()
    ]
    unknown = Fails((IncompleteAnswer,), TEXT)
    nothing: dict[str, Any] = {"id": "msg_1", "type": "message"}
    shapes: dict[str, tuple[dict[str, Any], Ends | tuple[Ends, ...]]] = {
        "output missing": ({k: v for k, v in whole().items() if k != "output"}, INVALID),
        "output null": (whole(output=None), INVALID),
        "output empty": (whole(output=[]), INVALID),
        "output an object": (whole(output={}), INVALID),
        "item null": (whole(output=[None]), INVALID),
        "item a text": (whole(output=["Hello"]), INVALID),
        "content null": (whole(output=[{**nothing, "content": None}]), Gives("")),
        "content a number": (whole(output=[{**nothing, "content": 7}]), INVALID),
        "text a number": (whole(7), INVALID),
        "content empty": (whole(""), Gives("")),
        "usage null": (whole(usage=None), Gives()),
        "usage a list": (whole(usage=[1]), Gives()),
        "tokens a text": (whole(usage={"input_tokens": "5"}), Gives()),
        "status incomplete": (whole(**LENGTH), Gives(TEXT, "length")),
        "status unknown": (whole(status="tired"), unknown),
        "status missing": ({k: v for k, v in whole().items() if k != "status"}, Gives()),
        "id a number": (whole(id=7), Gives()),
        "model a list": (whole(model=["x"]), Gives()),
        "unknown keys": (whole(more={"a": [1, None]}), Gives()),
        "a chat completion": (replies.whole(), INVALID),
    }
    return (*errors, *(Mode(name, shape(data), ends) for name, (data, ends) in shapes.items()))


def _again(*names: str) -> dict[str, tuple[Mode, ...]]:
    """Return the modes of modules, each built on those before it, with the replies of this one."""
    modes, before = {}, {name: sys.modules.get(f"faulty.{name}") for name in ("replies", *names)}
    sys.modules["faulty.replies"] = sys.modules[__name__]
    try:
        for name in names:
            spec = importlib.util.find_spec(f"faulty.{name}")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            modes[name] = module.MODES
    finally:
        for name, earlier in before.items():
            del sys.modules[f"faulty.{name}"]
            if earlier is not None:
                sys.modules[f"faulty.{name}"] = earlier
    return modes


def _families() -> dict[str, tuple[Mode, ...]]:
    again = _again("body", "connection", "status", "events", "stream")
    families = {
        **{name: again[name] for name in ("connection", "status", "body")},
        "shape": _shapes(),
        "stream": (*again["events"], *again["stream"]),
    }
    return {
        family: tuple(dataclasses.replace(mode, api="responses") for mode in modes)
        for family, modes in families.items()
    }


FAMILIES = _families()
