"""Prompty: a file with front matter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAD = """\
---
name: bench
model:
  id: test-model
  provider: openai
  apiType: chat
  connection: {kind: key, endpoint: %s, apiKey: key}
inputs:
  cook: {kind: string}
  guests: {kind: integer}
  location: {kind: string}
  minutes: {kind: integer}
  diet: {kind: string}
  topics: {kind: array, items: {kind: string}}
template:
  format: {kind: jinja2}
  parser: {kind: prompty}
---
system:
%s
user:
%s
"""


def _agent(job: dict[str, Any]) -> Any:
    import prompty

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.prompty"
        url = job.get("base_url", "http://127.0.0.1:1/v1")
        file.write_text(HEAD % (url, job["template"], job["prompt"]), "utf-8")
        return prompty.load(str(file))


def render(job: dict[str, Any]) -> Callable[[], str]:
    """Make the messages of a file that is loaded once."""
    import prompty

    agent, fresh = _agent(job), job["fresh"]

    def once() -> str:
        said: str = prompty.prepare(agent, inputs=fresh())[0].text
        return said.strip()

    return once


def call(job: dict[str, Any]) -> Callable[[], str]:
    """Render a file that is loaded once, and call the model."""
    import prompty

    agent, values = _agent(job), job["variables"]

    def once() -> str:
        return str(prompty.invoke(agent, inputs=values))

    return once
