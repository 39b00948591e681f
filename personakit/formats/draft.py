"""What an importer makes of an item of a source: a persona before it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import TOOL
from personakit.errors import PersonakitError
from personakit.formats.dumping import dumped, plain
from personakit.formats.names import variable_name
from personakit.formats.note import Note
from personakit.formats.parameters import mapped
from personakit.formats.templates import Text
from personakit.persona import MODEL, Persona
from personakit.providers import BUILT_IN

_OPENAI = re.compile(r"(?:gpt-|chatgpt-|o[1-9])[\w.:-]*\Z")
_SECRET_KEY = re.compile(
    r"(?:.*[_-])?(?:api[_-]?key|apikey|key|token|secret|password)\Z", re.IGNORECASE
)
_NOT_SECRET = re.compile(r"(?:max|min|num|stop|eos|bos|pad)[_-]?\w*tokens?\Z", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][A-Za-z0-9_-]{16,}")
# A value that names a credential, and is none: of the environment, of an editor or of a runner.
_REFERENCE = re.compile(
    r"(?:Bearer\s+)?(?:\$\{(?:env:|input:|secrets[.:])?[\w.-]+\}|\$\{\{\s*[\w.-]+\s*\}\}|"
    r"\$[A-Z][A-Z0-9_]*|\{\{\s*env\.\w+\s*\}\})"
)


@dataclass(slots=True)
class Draft:
    """A persona as an importer reads it.

    Importers set the texts and call the methods, which write the notes.

    Attributes:
        format: The format's name, under which unmapped fields are kept in `metadata`.
        name: The name in the source; empty for that of the file.
        keys: Keys of the persona file except those below: description, version, tags, authors,
            license, source, model, parameters, tools, output, history, tests.
        system: The system message; None for none.
        messages: The few-shot messages: role and text.
        prompt: The user's message; None for what the user types.
        variables: The declarations of the variables by their names in the persona.
        kept: Unmapped fields by their names in the source.
        notes: What is different.
        renamed: The name in the persona of each variable by that in the source.
        input: The variable of the source that became `input`; None for none.
        item: The row or the place of the item in its file; None for the whole file.
        line: The line of the file on which the item begins, from 1.
        data: The bytes of the item; None for those of the file.
        dialect: The dialect of the format; empty if there is one only.
        tools: The tools of the source, as they are written there; None for none.
    """

    format: str
    name: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    system: Text | None = None
    messages: list[tuple[str, Text]] = field(default_factory=list)
    prompt: Text | None = None
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    input: str | None = None
    item: int | str | None = None
    line: int | None = None
    data: bytes | None = None
    dialect: str = ""
    tools: Any = None

    def note(
        self, code: str, message: str, *, field: str = "", line: int | None = None,
        lost: bool = False,
    ) -> None:  # fmt: skip
        """Add a note, once."""
        made = Note(code, message, field, line, lost)
        if made not in self.notes:
            self.notes.append(made)

    def keep(
        self, name: str, value: Any, code: str = "unmapped", message: str = "",
        line: int | None = None,
    ) -> None:  # fmt: skip
        """Keep a field of the source in `metadata`, without credentials.

        Args:
            name: The field's name in the source.
            value: Its value, plain data.
            code: The code of the note.
            message: The note's text; default: that a persona has no such field.
            line: The line of the field.
        """
        where = f"metadata.{self.format}.{name}"
        safe = self._without_credentials(name, value, line)
        if safe is _DROPPED:
            return
        self.kept[name] = safe
        self.note(
            code,
            message or f"{name!r} has no equivalent in a persona; it is kept in {where}",
            field=name,
            line=line,
        )

    def safe(self, name: str, value: Any) -> Any:
        """Return a value without credentials, each of which is noted; None if it is one itself."""
        found = self._without_credentials(name, value, None)
        return None if found is _DROPPED else found

    def _without_credentials(self, name: str, value: Any, line: int | None) -> Any:
        if isinstance(value, Mapping):
            parts = {
                str(key): self._without_credentials(f"{name}.{key}", one, line)
                for key, one in value.items()
            }
            return {key: one for key, one in parts.items() if one is not _DROPPED}
        if isinstance(value, list | tuple):
            items = [self._without_credentials(name, one, line) for one in value]
            return [one for one in items if one is not _DROPPED]
        last = name.rpartition(".")[2]
        if not isinstance(value, str) or not value or _REFERENCE.fullmatch(value.strip()):
            return value
        by_name = _SECRET_KEY.match(last) and not _NOT_SECRET.match(last)
        if by_name or _SECRET_VALUE.search(value):
            self.note(
                "credential",
                f"the value of {name!r} looks like a credential and was left out; give personakit "
                f"the key with `personakit keys set`",
                field=name,
                line=line,
                lost=True,
            )
            return _DROPPED
        return value

    def set_model(self, value: Any, field: str = "model", line: int | None = None) -> None:
        """Set the model, if personakit can call it; else keep the value.

        Args:
            value: A name, or a list of names, of which the first that can be called is set.
            field: The field of the source.
            line: Its line.
        """
        if value in (None, "", []):
            return
        names = value if isinstance(value, list) else [value]
        found = [(name, model_of(name)) for name in names if isinstance(name, str)]
        chosen = next((model for _, model in found if model), None)
        if chosen is not None:
            self.keys["model"] = chosen
        if chosen is None or len(names) > 1:
            shown = ", ".join(map(repr, names))
            instead = f"and {chosen} is used" if chosen else "choose one with -m or in `model:`"
            self.keep(
                field, value, "model",
                f"model {shown:.120} cannot be called as it is written; it is kept in "
                f"metadata.{self.format}.{field}, {instead}", line,
            )  # fmt: skip

    def set_parameters(
        self, values: Mapping[str, Any], field: str = "parameters", line: int | None = None
    ) -> None:
        """Set parameters by their names in any tool; keep those without an equivalent.

        Args:
            values: The parameters by name.
            field: The field of the source that holds them; empty if they are fields of their own.
            line: Its line.
        """
        for name, value in values.items():
            if value is None:
                continue
            one = mapped(name, value)
            if one is not None:
                self.keys.setdefault("parameters", {}).update(one)
                continue
            path = f"{field}.{name}" if field else name
            safe = self._without_credentials(path, value, line)
            if safe is _DROPPED:
                continue
            target = self.kept.setdefault(field, {}) if field else self.kept
            target[name] = safe
            self.note(
                "parameter",
                f"parameter {name!r} with {value!r:.60} has no equivalent; it is kept in "
                f"metadata.{self.format}.{path} and not sent",
                field=path,
                line=line,
            )

    def set_output(self, schema: Any, field: str = "output", line: int | None = None) -> None:
        """Set the JSON Schema of the answer; keep it if a persona cannot have it."""
        if not schema:
            return
        try:
            Persona.parse(dumped({"system": "x", "output": plain(schema)}))
        except PersonakitError as error:
            reason = str(error).partition(": ")[2].partition("\n")[0]
            self.keep(
                field, schema, "output",
                f"{field}: {reason:.200}; the schema is kept in metadata.{self.format}.{field}",
                line,
            )  # fmt: skip
        else:
            self.keys["output"] = schema

    def keep_tools(self, value: Any, field: str = "tools", line: int | None = None) -> None:
        """Keep the tools of another program; `legal_tools` are those that could be named here."""
        if value in (None, "", []):
            return
        self.tools = value
        self.keep(
            field, value, "tools",
            f"tools belong to another program; they are kept in metadata.{self.format}.{field}. "
            f"List under `tools:` what an installed plugin offers", line,
        )  # fmt: skip

    def variable(self, name: str, **declaration: Any) -> str:
        """Declare a variable; return its name in the persona.

        Args:
            name: Its name in the source. A second call adds to the declaration.
            declaration: Keys of a variable in a persona file, such as ``default``; those with the
                value None are left out.
        """
        if name not in self.renamed:
            own = variable_name(name, self.variables)
            self.renamed[name] = own
            self.variables[own] = {}
            if own != name:
                self.note(
                    "variable-renamed",
                    f"variable {name!r} is called {own!r}, since templates need a name of letters, "
                    f"digits and '_'",
                    field=name,
                )
        own = self.renamed[name]
        given = {key: value for key, value in declaration.items() if value is not None}
        self.variables[own].update(given)
        return own

    def use_input(self, slot: str) -> str:
        """Note that the user's text stands in a slot of the source; return ``input``."""
        self.input = slot
        return "input"

    def fixed_prompt(self) -> None:
        """Note that the last message is fixed, so that what the user types is not used."""
        self.note(
            "input",
            "the last message is the user's and has no place for what the user types, which is "
            "not used; write {{ input }} into `prompt:` where it belongs",
            field="prompt",
        )

    @property
    def texts(self) -> Iterable[Text]:
        """All texts."""
        yield from (one for one in (self.system, self.prompt) if one is not None)
        yield from (text for _, text in self.messages)


class _Dropped:
    pass


_DROPPED = _Dropped()


def model_of(name: str) -> str | None:
    """Return ``provider/model`` for a name of another tool; None if personakit cannot call it."""
    name = name.strip()
    if not MODEL.match(name) or " " in name:
        return None
    provider, slash, rest = name.partition("/")
    if slash and rest and provider in BUILT_IN:
        return name
    provider, colon, rest = name.partition(":")
    if colon and rest and provider in BUILT_IN and "/" not in provider:
        return f"{provider}/{rest}"
    return f"openai/{name}" if _OPENAI.match(name) else None


def legal_tools(value: Any) -> list[str]:
    """Return the names in a value that a tool may have here."""
    names = re.split(r"\s*,\s*", value) if isinstance(value, str) else value
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and TOOL.match(name)]
