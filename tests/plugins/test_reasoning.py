"""Reasoning behind the first-party plugins, none of which hides it from the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personakit import Response, Usage
from personakit.testing import MODES, in_mode, persona, runner

OUTPUT = {"type": "object", "properties": {"a": {"type": "integer"}}}
ANSWER = Response(
    '{"a": 1}',
    finish_reason="stop",
    reasoning="Let me think.",
    annotations=({"type": "citation"},),
    usage=Usage(1, 2, 3),
)
PLUGINS: list[Any] = [
    "retry",
    "cache",
    "schema",
    "redact",
    "otel",
    {"budget": {"run_tokens": 100_000}},
    {"guard": {"output": {"deny": ["devil"]}}},
    {"guard": {"input": {"deny": ["devil"]}}},
]


@pytest.mark.parametrize("plugin", PLUGINS, ids=str)
@pytest.mark.parametrize("mode", [*MODES, "pieces"])
def test_reasoning_survives(plugin: Any, mode: str, tmp_path: Path) -> None:
    options = {"cache": {"folder": str(tmp_path)}, "budget": {"folder": str(tmp_path)}}
    running, _ = runner([ANSWER], plugin_options=options)
    who = persona(plugins=[plugin], output=OUTPUT)
    first = in_mode(mode, running, who, "Hi!")
    assert (first.text, first.reasoning) == (ANSWER.text, ANSWER.reasoning)
    assert first.annotations == ANSWER.annotations
    again = in_mode(mode, running, who, "Hi!")  # from the cache
    assert again.reasoning == ANSWER.reasoning
