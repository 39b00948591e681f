"""What notebooks show for requests, personas, traces and conversations."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from helpers.hostile import IMG, Page

from personakit import (
    Config,
    Conversation,
    Message,
    Persona,
    Request,
    Response,
    Runner,
    Trace,
)
from personakit.base import printable
from personakit.display import (
    error_bundle,
    look_bundle,
    persona_bundle,
    personas_bundle,
    request_bundle,
    response_bundle,
)
from personakit.looking import look
from personakit.testing import Server

TEXT = f"""
description: Cooks {IMG}
tags: [food, "<b>"]
parameters: {{temperature: 0.4}}
variables:
  diet: {{enum: [any, "<i>vegan"], default: any, description: 'What <u>they</u> eat'}}
  guests: {{type: integer, minimum: 1, maximum: 40, required: true}}
system: "You cook. {IMG.replace('"', "'")}"
"""


@pytest.fixture
def persona() -> Persona:
    return Persona.parse(TEXT, "cook.yaml")


def page(value: Any) -> str:
    """Return what a value shows; it acts on nothing and loads nothing."""
    bundle = value._repr_mimebundle_(include=None, exclude=None)
    html = bundle["text/html"]
    found = Page(html)
    assert {
        it for it in found.wrong if it not in ("details", "summary", "details open=None")
    } == set()
    # Colours follow the theme, and stay readable without one.
    assert re.findall(r"color: (?!var\()", html) == []
    assert bundle["text/plain"] == repr(value)
    return found.text


def test_a_persona_shows_what_it_takes(persona: Persona) -> None:
    text = page(persona)
    assert f"cook: Cooks {IMG}" in text
    for part in (
        "tags: food, <b>",
        "temperature=0.4",
        "any | <i>vegan",
        "integer 1..40",
        "required",
    ):
        assert part in text
    assert "What <u>they</u> eat" in text


def test_a_request_shows_each_message_in_a_box() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}
    parts: Any = [{"type": "text", "text": "Look"}, image]
    messages = (Message("system", IMG), Message("user", parts))
    request = Request("openai/x", messages=messages, parameters={"temperature": 1})
    text = page(request)
    assert f"system · {len(IMG)} characters · {IMG}" in text
    assert "[image url, 1,0" in text
    assert "AAAA" not in text
    assert "openai/x · temperature=1" in text


def test_a_long_message_is_cut_with_its_length() -> None:
    shown = Request("a/b", messages=(Message("user", "x" * 1_000_000),))._repr_mimebundle_()
    assert len(shown["text/html"]) < 25_000
    assert "980,000 more characters" in shown["text/html"]
    short = Request("a/b", messages=(Message("user", "x"), Message("user", "y" * 20_001)))
    assert "user · 1 character · x" in page(short)
    assert "… 1 more charactera/b" in page(short)


def test_a_trace_shows_a_row_for_each_step_with_what_it_changed(persona: Persona) -> None:
    class Shout:
        async def chat(self, request: Any, send: Any) -> Any:
            response = await send(request.with_system("<b>LOUD"))
            return response.replace(text=response.text.upper())

    from personakit import hookimpl

    Shout.chat = hookimpl(Shout.chat)  # type: ignore[method-assign]
    trace = Trace()
    with Server(["quiet"]) as server, Runner(server.config(), plugins=[Shout()]) as runner:
        runner.run(persona, "Hi!", variables={"guests": 2}, trace=trace)
    text = page(trace)
    assert "<b>LOUD" in text
    assert "QUIET" in text
    assert "model" in text


def test_a_conversation_shows_its_history(persona: Persona) -> None:
    with Server(["An answer."]) as server, Runner(server.config()) as runner:
        talk: Conversation = runner.conversation(persona, variables={"guests": 2})
        talk.run(f"A question {IMG}")
    text = page(talk)
    assert f"A question {IMG}" in text
    assert "An answer." in text
    assert "cook · 2 messages" in text


def test_an_answer_of_a_schema_is_shown_as_code() -> None:
    form = {"type": "object", "properties": {"dish": {"type": "string"}}, "required": ["dish"]}
    answer = '{"dish": "*Soup*"}'
    config: Config
    with Server([answer]) as server:
        config = server.config()
        with Runner(config) as runner:
            persona = Persona.parse("system: x", "x.yaml")
            response = runner.run(persona, "Hi!", output=form)
    shown = response._repr_mimebundle_()["text/markdown"]
    assert shown.startswith(f"```json\n{answer}\n```\n")


def test_no_form_for_a_terminal_contains_control_characters() -> None:
    hostile = "\x1b]0;owned\x07 \x1b[31mred \x9b \u202e"
    text = f"description: {json.dumps(hostile)}\nsystem: {json.dumps(hostile)}"
    persona = Persona.parse(text, "a.yaml")
    with Runner(Config(plugins=())) as runner:
        seen = look(runner, "a.yaml", text)
    response = Response(hostile)
    assert response.text == hostile
    bundles = (
        response_bundle(response),
        personas_bundle([("a", hostile, "")]),
        persona_bundle(persona),
        look_bundle(seen, "a"),
        error_bundle(hostile),
        request_bundle(Request("openai/m", messages=(Message("user", hostile),))),
    )
    ignored = "mathjax_ignore tex2jax_ignore"
    for bundle in bundles:
        assert bundle["text/plain"] == printable(bundle["text/plain"])
        # A price is no formula.
        assert ignored in bundle.get("text/html", ignored)
    assert "\\u001b[31mred" in response_bundle(response)["text/plain"]
