"""What the tests of persona share."""

from __future__ import annotations

import pytest

from personakit import Persona, PersonaError

S = "system: hi\n"


def faults(source: str, path: str = "x.yaml") -> list[str]:
    """Return everything that is wrong with a file, as `line:column: message`."""
    with pytest.raises(PersonaError) as caught:
        Persona.parse(source, path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


NAME_RULE = "set `name:` to 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
NO_TEXT = (
    "the persona sends nothing: it has neither `system:`, `messages:` nor `prompt:`; "
    "write `system:` with the system message, such as `system: You are a chef.`"
)
EMPTY = "system: the text is empty; write the system message, or remove the key"


def system_of(persona: Persona) -> str:
    """Return the system message of a persona, which has one, as its file has it."""
    assert persona.system is not None
    return persona.system.source
