"""What all sides render and say: a text with six variables, a loop and a condition."""

from __future__ import annotations

import json
from typing import Any

TEMPLATE = """\
Act as a chef whose name is {{ cook }}.
You cook for {{ guests }} people in {{ location }}, within {{ minutes }} minutes.
Mind this: {% if diet != "any" %}every dish is {{ diet }}; {% endif %}each step is one sentence.
Ask first about {% for topic in topics %}{{ topic }}, {% endfor %}and about what is in the fridge.
Then propose healthy, easy, quick and economical recipes."""
"""No tag begins or ends a line, so that the settings for white space of no peer matter."""

VALUES: dict[str, Any] = {
    "cook": "Florent",
    "guests": 4,
    "location": "Lyon",
    "minutes": 45,
    "diet": "vegan",
    "topics": ["diet", "health habits", "location", "expectations"],
}

PROMPT = "What shall we eat tonight?"

TEXT = """\
Act as a chef whose name is Florent.
You cook for 4 people in Lyon, within 45 minutes.
Mind this: every dish is vegan; each step is one sentence.
Ask first about diet, health habits, location, expectations, and about what is in the fridge.
Then propose healthy, easy, quick and economical recipes."""


def shots(messages: int) -> list[dict[str, str]]:
    """Return the messages between the system's and the user's, questions and answers in turn."""
    pairs = [
        (
            {"user": f"What is in season in month {number}?"},
            {"assistant": f"In month {number}: leeks, lentils and the first of {number + 1}."},
        )
        for number in range(1, messages // 2)
    ]
    return [shot for pair in pairs for shot in pair]


def messages(count: int) -> list[dict[str, str]]:
    """Return the messages that leave, as the API takes them."""
    between = [{"role": role, "content": text} for s in shots(count) for role, text in s.items()]
    system = {"role": "system", "content": TEXT}
    return [system, *between, {"role": "user", "content": PROMPT}]


def grown(variables: int) -> tuple[str, dict[str, Any], str]:
    """Return a persona of so many whole numbers, their values, and the text that they make."""
    names = [f"v{number}" for number in range(variables)]
    keys = {
        "name": "grown",
        "variables": {name: {"type": "integer", "minimum": 0} for name in names},
        "system": "Mind " + ", ".join(f"{{{{ {name} }}}}" for name in names),
    }
    return json.dumps(keys), dict.fromkeys(names, 7), "Mind " + ", ".join("7" for _ in names)


ROWS = [{"name": f"row {n}", "count": n, "price": n * 1.5} for n in range(100)]
CONSTRUCTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a loop over 100 mappings": (
        "{{ v }}{% for row in rows %}- {{ row.name }}: {{ row.count }} at {{ row.price }}, "
        "{% endfor %}",
        {"v": 0, "rows": ROWS},
    ),
    "a loop with loop.index and loop.last": (
        "{{ v }}{% for row in rows %}{{ loop.index }}. {{ row.name }}"
        "{% if not loop.last %}, {% endif %}{% endfor %}",
        {"v": 0, "rows": ROWS},
    ),
    "filters": (
        "{{ v }}{{ a | upper }} {{ b | lower | title }} {{ c | trim }} {{ l | join(', ') }} "
        "{{ a | replace('a', 'b') }} {{ l | length }} {{ d | default('x') }} {{ l | first }} "
        "{% for k, w in m.items() %}{{ k | upper }}={{ w }} {% endfor %}",
        {
            "v": 0, "a": "Florent", "b": "HELLO", "c": "  x ", "l": ["a", "b", "c"], "d": "",
            "m": {"a": 1, "b": 2, "c": 3},
        },
    ),
    "a macro, called 50 times": (
        "{{ v }}{% macro item(x, n=1) %}- {{ x }} ({{ n }}), {% endmacro %}"
        "{% for row in rows %}{{ item(row.name, row.count) }}{% endfor %}",
        {"v": 0, "rows": ROWS[:50]},
    ),
    "a namespace, set 50 times": (
        "{{ v }}{% set ns = namespace(total=0) %}{% for row in rows %}"
        "{% set ns.total = ns.total + row.count %}{% endfor %}{{ ns.total }}",
        {"v": 0, "rows": ROWS[:50]},
    ),
}  # fmt: skip
"""Templates for one construct each, with their values; `v` differs in each render."""


def construct(name: str) -> tuple[str, dict[str, Any], str]:
    """Return the template of a construct, its values, and the persona file that has it."""
    template, values = CONSTRUCTS[name]
    kinds: dict[type, str] = {int: "integer", list: "array", dict: "object"}
    declared = {
        key: {"type": kinds.get(type(value), "string"), "required": True}
        for key, value in values.items()
    }
    return template, values, json.dumps({"variables": declared, "system": template})


def persona(count: int = 2, name: str = "bench", **more: Any) -> str:
    """Return the persona file (JSON is YAML) that makes `messages(count)` out of `VALUES`."""
    keys: dict[str, Any] = {
        "name": name,
        "description": "Plans meals.",
        "variables": {
            "cook": "Nobody",
            "guests": {"type": "integer", "default": 2, "minimum": 1},
            "location": {"type": "string", "required": True},
            "minutes": {"type": "integer", "default": 30},
            "diet": {"type": "string", "enum": ["any", "vegetarian", "vegan"], "default": "any"},
            "topics": {"type": "array", "default": []},
        },
        "system": TEMPLATE,
    }
    if count > 2:
        keys["messages"] = shots(count)
    return json.dumps({**keys, **more}, indent=1)
