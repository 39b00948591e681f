"""The inputs that fuzzing begins with, made by personakit itself, and a mutator of inputs."""

from __future__ import annotations

import json
import random
from pathlib import Path

from fuzz.targets import CORPUS
from personakit import Message, Response, ToolCall, Usage
from personakit.codec import pretty, write_message, write_response
from personakit.library.folders import shipped
from personakit.testing import Server

_CONFIG = b"""\
model: openai/gpt-5-mini
path: [~/personas]
parameters: {temperature: 0.5}
plugins: [{retry: {attempts: 2}}]
allow_plugins: [retry]
timeout: 30
deadline: 60
log: {max_age: 90d, max_size: 500MB, python: true}
providers:
  work: {base_url: "https://example.com/v1", key_env: WORK_KEY, headers: {X-Team: a}}
"""
_KEYS = """\
name description version license source tags authors metadata model parameters variables system
prompt messages output history tools plugins tests extends template type default required enum
minimum maximum pattern example include set for if endif endfor filter macro call loop range
temperature stop logit_bias response_format max_tokens seed user assistant properties anyOf $ref
object array string number integer boolean null true choices delta message content tool_calls
function arguments usage finish_reason error index format exchanges request response Content-Length
Transfer-Encoding Connection Upgrade Expect Host chunked
""".split()
_PARTS = [
    *(key.encode() for key in _KEYS), b"{{ ", b" }}", b"{% ", b" %}", b"{#", b"#}", b": ", b"\n  ",
    b"- ", b"|", b"|\n", b">-", b"[", b"]", b"{", b"}", b'"', b"'", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\\ud800", b"1e400", b"-1", b".inf", b"9" * 30, b"9" * 5000, b"data: ", b"\r\n\r\n", b"\n\n",
    b"[DONE]", b"event: error\n", b"&a", b"*a", b"!!python/object:os.system", b"<<: ", b"[" * 70,
    b"{'a':" * 70, b"[" * 1500, b"(" * 200, b"a|e|" * 50, b"x" * 3000, b" " * 3000,
    b"\xf0\x9f\x98\x80", b"{% for i in range(99999) %}", b"{{ 9 ** 9 ** 9 }}", b"{{ x * 9999999 }}",
    b"\x85", b"\t",
]  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Return the inputs that a target begins with: made by code, and those of the corpus."""
    kept = [file.read_bytes() for file in sorted((CORPUS / target).glob("*"))]
    return [*_made(target), *kept]


def _made(target: str) -> list[bytes]:
    files = [file.read_bytes() for file in sorted(Path(shipped()).rglob("*.yaml"))]
    if target == "personas":
        return files
    if target == "templates":
        values = json.dumps({"x": [1, {"a": "b"}], "guests": 2, "diet": "vegan"}).encode()
        return [file.partition(b"system: |")[2] + b"\0" + values for file in files]
    if target == "configs":
        return [_CONFIG]
    if target == "connections":
        from fuzz.connections import SEEDS

        return SEEDS
    call = ToolCall("call-1", "look", '{"at": "sky"}')
    response = Response("Hello\nyou", (call,), "tool_calls", "m", usage=Usage(1, 2, 3))
    if target == "recordings":
        exchange = {"request": {"model": "m"}, "response": write_response(response)}
        fault = {"request": {}, "error": {"status": 500, "type": "UpstreamUnavailable"}}
        tests = {"a": {"exchanges": [exchange, fault], "model": "m"}}
        messages = [write_message(Message("user", "Hi")), write_message(response.message)]
        saved = {"format": 1, "persona": "chef", "id": "a", "messages": messages}
        return [pretty(one).encode() for one in ({"format": 1, "tests": tests}, saved)]
    with Server() as server:
        whole, events = server.whole("Hello"), b"".join(server.events("Hello you", usage=True))
    if target == "answers":
        called = {**whole, "choices": [{"index": 0, "message": write_message(response.message)}]}
        failed = {"error": {"message": "no", "type": "invalid_request_error", "code": "x"}}
        bodies = [json.dumps(one).encode() for one in (whole, called, failed)]
        return [*(b"\0" + body for body in bodies), b"\x04" + bodies[-1]]
    delta = {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    chunk = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]})
    called_events = b"\0data: " + chunk.encode() + b"\n\ndata: [DONE]\n\n"
    return [b"\0" + events, b"\x07" + events.replace(b"Hel", b"<think>"), called_events]


def mutated(known: list[bytes], chance: random.Random) -> bytes:
    """Return an input with a few random changes: parts inserted, removed, moved and joined."""
    data = chance.choice(known)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        at, length = chance.randrange(len(data) + 1), chance.choice((0, 1, 2, 8, 40, 300))
        other = chance.choice(known)
        start = chance.randrange(len(other) + 1)
        part = (
            chance.choice(_PARTS),
            chance.randbytes(chance.randrange(1, 5)),
            other[start : start + chance.choice((1, 9, 60, 400))],
            b"",
            data[at : at + length] * chance.choice((2, 3, 50)),
        )[chance.choice((0, 0, 0, 1, 2, 2, 3, 4))]
        data = data[:at] + part + data[at + length :]
    return data[:200_000]
