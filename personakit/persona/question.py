"""The persona of a question that is asked without a persona file."""

from __future__ import annotations

from personakit.persona.persona import Persona, Text
from personakit.persona.yaml import Document

QUESTION_PATH = "<ask>"
"""The path of such a persona in errors and in the run log. No file of a library has it."""


def question_persona(system: str | None = None) -> Persona:
    """Return a persona with nothing but a system message.

    Args:
        system: The text of the message, which is not a template; None or an empty text for no
            system message.
    """
    document = Document({}, {}, QUESTION_PATH)
    text = Text(system, ("system",), document, literal=True) if system else None
    return Persona("ask", document, text)
