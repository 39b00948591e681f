"""The codes of `personakit lint`: stable, each with its severity and meaning.

Problems that keep a persona from being loaded get their code in the modules that parse persona
files; the others get it in this package. docs/lint.md explains each code.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Code(NamedTuple):
    """The severity and meaning of a code."""

    severity: Severity
    title: str


CODES: dict[str, Code] = {
    "PK001": Code("error", "the file cannot be read, or is not YAML"),
    "PK002": Code("error", "`extends` names a persona that cannot be extended"),
    "PK003": Code("error", "the persona has no text: neither `system`, `messages` nor `prompt`"),
    "PK010": Code("error", "unknown key"),
    "PK011": Code("error", "a value of the wrong type"),
    "PK012": Code("error", "a value that is not allowed"),
    "PK013": Code("error", "unknown or refused model parameter"),
    "PK014": Code("error", "a model parameter out of its range"),
    "PK020": Code("error", "template syntax"),
    "PK021": Code("error", "unknown filter or test"),
    "PK022": Code("error", "an include that cannot be followed"),
    "PK023": Code("error", "a template uses a variable that is not declared"),
    "PK024": Code("warning", "a variable that no template uses"),
    "PK025": Code("error", "a comparison whose outcome is always the same"),
    "PK026": Code("warning", "a test for a variable that is always defined"),
    "PK027": Code("warning", "a variable that may be null is written without a test"),
    "PK028": Code("warning", "a `prompt:` that does not use the text of the user"),
    "PK029": Code("error", "a template uses a field that no value has"),
    "PK030": Code("error", "a plugin that is not installed"),
    "PK031": Code("error", "a plugin with invalid options"),
    "PK032": Code("error", "a plugin that is broken"),
    "PK033": Code("warning", "a tool that no installed plugin provides"),
    "PK034": Code("error", "an option, model or persona that only the user may name"),
    "PK035": Code("error", "plugins in an order that one of them forbids"),
    "PK040": Code("error", "the name differs from the file name"),
    "PK041": Code("error", "two files in one folder have the same name"),
    "PK042": Code("warning", "the file hides a packaged persona"),
    "PK043": Code("warning", "a file that cannot be found by name"),
    "PK044": Code("warning", "the name differs from the file name, outside the library"),
    "PK050": Code("error", "a test with invalid or missing variables"),
    "PK051": Code("error", "a test that contradicts itself"),
    "PK052": Code("error", "a test whose `prompt:` is missing, or is not used"),
    "PK053": Code("error", "a judge that does not exist"),
    "PK060": Code("warning", "`description` is missing"),
    "PK061": Code("warning", "a text that is cut by a comment"),
    "PK070": Code("error", "a JSON Schema that no value matches"),
    "PK071": Code("warning", "a JSON Schema that every value matches"),
    "PK090": Code("warning", "a comment that ignores nothing"),
}
