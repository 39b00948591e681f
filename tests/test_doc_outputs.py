"""The outputs in the docs are those of the commands above them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from helpers import pages

from personakit.testing import Server

DOCS = Path(__file__).parent.parent / "docs"
# The file that the example of docs/lint.md is about.
DINNER = """\
description: Plans a dinner.
parameters: {temprature: 0.4, max_tokens: 900}
variables:
  diet: {enum: [any, vegetarian, vegan], default: any}
system: |
  You plan a dinner.
  {% if diet == "vegn" %}
  Use no animal products.
  {% endif %}
"""
# A server's count of tokens, as docs/cost.md shows it.
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 50,
    "total_tokens": 1250,
    "prompt_tokens_details": {"cached_tokens": 400},
}


def block(name: str, language: str, wanted: str) -> str:
    found = pages.blocks((DOCS / f"{name}.md").read_text("utf-8"))
    return next(b.text for b in found if b.language == language and wanted in b.text)


def printed(line: str, folder: Path, server: Server | None = None) -> list[str]:
    folder.mkdir(exist_ok=True)
    env = pages.environment(folder / "reader", server.base_url if server else "")
    env |= server.environ() if server else {}
    return pages.stable(pages.typed(line, folder, env)[1])


def test_the_example_of_lint(tmp_path: Path) -> None:
    shown = list(pages.commands(block("lint", "console", "$ personakit lint")))[-1]
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "dinner.yaml").write_text(DINNER, "utf-8")
    assert printed(shown.line, tmp_path) == pages.stable(shown.output)


def test_the_line_with_tokens_and_cost(tmp_path: Path) -> None:
    (shown,) = pages.commands(block("cost", "console", "--usage"))
    with Server() as server:
        server.answers = [{**server.whole("Soup."), "usage": USAGE}]
        line = f"{shown.line} --no-stream -m openai/gpt-4o-mini"
        found = printed(line, tmp_path, server)
    assert ["…", *found[1:]] == pages.stable(shown.output)


def test_the_first_line_of_a_chat(shell: Any, tmp_path: Path) -> None:
    (shown,) = pages.commands(block("chat", "console", "$ personakit chat"))
    env = pages.environment(tmp_path / "reader", "http://127.0.0.1:9/v1")
    with shell.terminal(*shown.line.split()[1:], **env) as session:
        header = session.until(" · /help")
    assert pages.stable(header)[-1] == shown.output.partition(" · /help")[0]


def form(command: str) -> Any:
    """Return the JSON that docs/cli.md shows for a command, with null for each value."""
    text = block("cli", "text", '"usage"')
    (shown,) = re.findall(
        rf"^{command}(?:, ask)? +([\[{{].*?[\]}}])(?= {{5}}|\n\w|\n\Z)", text, re.M | re.S
    )
    return json.loads(re.sub(r'("\w+")(?!:)', r"\1: null", shown))


def same(form: Any, value: Any) -> bool:
    """Return whether a value has the keys of a form, at every depth that the form shows."""
    if isinstance(form, list):
        return bool(value) and all(same(form[0], item) for item in value)
    if isinstance(form, dict) and form and value is not None:
        return form.keys() == value.keys() and all(same(form[key], value[key]) for key in form)
    return True


def test_the_keys_of_json(tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "dinner.yaml").write_text(DINNER, "utf-8")
    commands = {
        "list": "list --json",
        "render": "render chef Dinner --json",
        "run": "run chef Dinner --json -m openai/gpt-4o-mini",
        "lint": "lint --json",
        "keys": "keys list --json",
        "plugins": "plugins --json",
        "log list": "log list --json",
    }
    with Server() as server:
        env = {**pages.environment(tmp_path, ""), **server.environ()}
        for command, line in commands.items():
            _, output = pages.typed(f"personakit {line} 2>/dev/null", tmp_path, env)
            assert same(form(command), json.loads(output)), (form(command), output)
