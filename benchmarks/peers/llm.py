"""llm: its templates know `$variables` and nothing else, so the caller does the loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]


def render(job: Job) -> Callable[[], str]:
    """Evaluate a template whose loop and condition the caller has resolved into two variables."""
    from llm.templates import Template

    text = re.sub(r"{% if .*?{% endif %}", "${mind}", job["template"])
    text = re.sub(r"{% for .*?{% endfor %}", "${asked}", text)
    text = re.sub(r"{{ (\w+) }}", r"${\1}", text)
    template, fresh = Template(name="bench", system=text), job["fresh"]

    def once() -> str:
        values = fresh()
        mind = f"every dish is {values['diet']}; " if values["diet"] != "any" else ""
        asked = "".join(f"{topic}, " for topic in values["topics"])
        system = template.evaluate("", {**values, "mind": mind, "asked": asked})[1]
        return str(system)

    return once


def call(job: Job) -> Callable[[], str]:
    """Prompt a model with a system text; further messages belong to a conversation."""
    import llm
    from llm.default_plugins.openai_models import Chat

    model = Chat(model_id="test-model", api_base=job["base_url"], key="key")
    system, prompt = job["messages"][0]["content"], job["messages"][-1]["content"]
    assert llm

    def once() -> str:
        return str(model.prompt(prompt, system=system, stream=False).text())

    return once
