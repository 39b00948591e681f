"""What the tests of output share."""

from __future__ import annotations

from typing import Any

from personakit import (
    Response,
)
from personakit.testing import in_mode, persona, runner

BOOKING = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "guests": {"type": "integer", "minimum": 1}},
    "required": ["name", "guests"],
    "additionalProperties": False,
}


CLERK = persona(output=BOOKING)


GOOD = '{"name": "Ann", "guests": 2}'


def ask(answer: Any, who: Any = CLERK, mode: str = "run", **options: Any) -> Response:
    running, _ = runner([answer])
    return in_mode(mode, running, who, "A table", **options)
