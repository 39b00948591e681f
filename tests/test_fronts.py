"""Errors advise what the reader can do: options in a terminal, arguments in Python."""

from __future__ import annotations

import json

import pytest

from personakit import Config, PersonakitError, Runner, front, told
from personakit.testing import Reply, Server, persona


def message(name: str, answer: Reply) -> str:
    """Return the message of the error of a run for a front."""
    with Server([answer]) as upstream, Runner(upstream.config(), log=False) as running:
        asking = persona("You help.")
        request = running.render(asking, "Hi").replace(max_retries=0)
        with front(name), pytest.raises(PersonakitError) as caught:
            running.run(asking, request)
    return told(caught.value)


def refused(status: int, text: str = "no") -> Reply:
    return Reply(json.dumps({"error": {"message": text}}).encode(), status)


@pytest.mark.parametrize(
    ("status", "front", "advice"),
    [
        (500, "python", "; try again later, or choose another model with model="),
        (500, "terminal", "; try again later, or choose another model with -m"),
        (500, "magic", "; try again later, or choose another model with -m"),
        (500, "service", "; try again later"),
        (400, "python", "; correct what the message names; `Runner.render` returns the request"),
        (400, "terminal", "; correct what the message names; `--dry-run` shows the request"),
        (400, "service", ""),
        (401, "terminal", "; check the provider's key; `personakit keys list` shows its source"),
        (401, "service", "; the operator has to check the provider's key, whose source "
         "`personakit keys list` shows"),
        (404, "service", "; the operator has to correct the persona's model, as provider/model"),
    ],
)  # fmt: skip
def test_the_advice_of_a_failed_call(status: int, front: str, advice: str) -> None:
    assert message(front, refused(status)).endswith(f"no{advice}")


def test_what_a_provider_says_is_not_cut() -> None:
    said = "choose one with -m, such as `x`; `--dry-run` is for operators"
    assert message("service", refused(400, said)).endswith(f"status 400: {said}")


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("python", ": set OPENAI_API_KEY, run `personakit keys set openai` in a terminal, or ",
         'such as model="local" or model="ollama/…"'),
        ("terminal", ": set OPENAI_API_KEY, run `personakit keys set openai`, or ",
         "such as -m local or -m ollama/…"),
        ("service", ": the operator of the server has to set OPENAI_API_KEY, run `personakit keys "
         "set openai`, or ", "such as local or ollama/…"),
    ],
)  # fmt: skip
def test_a_missing_key(name: str, start: str, end: str) -> None:
    running = Runner(Config(environ={}), log=False)
    with front(name), pytest.raises(PersonakitError) as caught:
        running.run(persona("You help."), "Hi", model="openai/gpt-5-mini")
    assert f"no key for provider 'openai'{start}" in told(caught.value)
    assert end in told(caught.value)
