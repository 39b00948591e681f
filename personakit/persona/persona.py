"""Persona: one YAML file, read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from personakit.base import NAME, RESERVED, TOOL, describe, given
from personakit.errors import PersonaError, Problem, UsageError, did_you_mean
from personakit.frozen import FrozenDict, freeze
from personakit.messages import Role
from personakit.persona import parameters, tests, variables, yaml
from personakit.persona.history import History, read_history
from personakit.persona.plugins import PluginUse, read_plugins
from personakit.persona.tests import PersonaTest
from personakit.persona.validation import Checker
from personakit.persona.variables import Variable
from personakit.persona.yaml import Document

REFERENCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(?:/[a-z0-9][a-z0-9_-]{0,63}){0,7}\Z")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/ ~-]{0,299}\Z")
ROLES = ("system", "developer", "user", "assistant")
KEYS = (
    "name description version extends tags authors license source metadata model parameters "
    "variables system messages prompt tools output history plugins tests template"
).split()
UNNAMED = "<string>"
MAX_PARENTS = 16
MAX_VARIABLES = 1000
_PIECE = 1 << 16

Parents = Callable[[str], "Persona"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a persona: a template, unless its file says `template: none`.

    Attributes:
        source: The text as it stands in the file.
        at: Where it stands in the document, such as ``("messages", 0, "user")``; empty for a text
            that no file has.
        document: The file that it stands in: the persona's own or a parent's.
        literal: True when it is no template.
        parent: What `{{ parent.system }}` means in it.
    """

    source: str
    at: yaml.Path
    document: Document = field(repr=False, compare=False)
    literal: bool = False
    parent: Persona | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Persona:
    """A persona, as its file describes it, with what it takes over from its parents.

    Make one with `personakit.load`, `Persona.parse` or `Persona.read`. The attributes are the keys
    of the file; the texts are not rendered yet.
    """

    name: str
    system: Text
    document: Document = field(repr=False)
    description: str = ""
    version: str = ""
    extends: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=FrozenDict)
    variables: Mapping[str, Variable] = field(default_factory=FrozenDict)
    messages: tuple[tuple[Role, Text], ...] = ()
    prompt: Text | None = None
    tools: tuple[str, ...] = ()
    output: Mapping[str, Any] | None = None
    history: History | None = None
    plugins: tuple[PluginUse, ...] = ()
    tests: tuple[PersonaTest, ...] = ()

    @property
    def path(self) -> str:
        """The file it was read from, as the user would name it."""
        return self.document.path

    @classmethod
    def parse(
        cls,
        source: str | bytes,
        path: str = UNNAMED,
        *,
        parents: Parents | None = None,
        abstract: bool = False,
    ) -> Persona:
        """Read a persona from the content of its file.

        Args:
            source: The YAML text; bytes must be UTF-8.
            path: What to call the file in errors; its stem is the default of `name`, which without
                a path is ``persona``.
            parents: Returns the persona that `extends` names; a library has one.
            abstract: True for a file that is only extended, and needs no `system`.

        Raises:
            PersonaError: With every problem of the file, each with its line and column.
        """
        found, problems = examine(yaml.parse(source, path), parents=parents, abstract=abstract)
        if problems or found is None:
            raise PersonaError(problems)
        return found

    @classmethod
    def read(
        cls, path: str | Path, *, parents: Parents | None = None, abstract: bool = False
    ) -> Persona:
        """Read a persona file; the arguments are those of `parse`.

        Raises:
            PersonaError: The file cannot be read, or is wrong.
        """
        try:
            with Path(path).open("rb") as file:
                # In one piece it takes 0.1 ms, for Python makes room for all of it first.
                source = file.read(_PIECE)
                if len(source) == _PIECE:
                    source += file.read(yaml.MAX_BYTES)
        except OSError as error:
            raise PersonaError([Problem(f"cannot be read: {error.strerror}", str(path))]) from None
        return cls.parse(source, str(path), parents=parents, abstract=abstract)


Reference = str | Path | Persona
"""A persona, or its name or its file's path."""


def examine(
    source: Document, *, parents: Parents | None = None, abstract: bool = False
) -> tuple[Persona | None, list[Problem]]:
    """Return the persona of a document as far as it can be read, and everything wrong with it.

    The persona is None when the document is no mapping, or has too many problems to go on; the
    arguments are those of `Persona.parse`.
    """
    reader = _Reader(source, parents, abstract)
    try:
        found = reader.read()
    except PersonaError as error:
        return None, list(error.problems)
    reader.problems.sort(key=lambda p: (p.path != source.path, p.line, p.column))
    return found, reader.problems


def merged(first: Persona | None, then: Persona) -> Persona:
    """Return two parents as one; the later wins, and lists append."""
    if first is None:
        return then
    return Persona(
        name=then.name,
        document=then.document,
        system=then.system if then.system.at else first.system,
        description=then.description or first.description,
        tags=_united(first.tags, then.tags),
        metadata=FrozenDict({**first.metadata, **then.metadata}),
        model=then.model or first.model,
        parameters=FrozenDict({**first.parameters, **then.parameters}),
        variables=FrozenDict({**first.variables, **then.variables}),
        messages=then.messages or first.messages,
        prompt=then.prompt or first.prompt,
        tools=_united(first.tools, then.tools),
        output=then.output if then.output is not None else first.output,
        history=then.history or first.history,
        plugins=_united(first.plugins, then.plugins),
    )


def _united(first: tuple[Any, ...], then: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return both, without repeating what stands in the first."""
    seen = set(map(repr, first))
    return (*first, *(item for item in then if repr(item) not in seen))


class _Reader(Checker):
    """Reads a document key by key."""

    def __init__(self, source: Document, parents: Parents | None, abstract: bool) -> None:
        super().__init__(source)
        self.parents = parents
        self.abstract = abstract
        self.parent: Persona | None = None
        self.literal = False

    def read(self) -> Persona | None:
        data = self.document.data
        if not isinstance(data, dict):
            # Not what it holds: it may be any file.
            kinds = {str: "found a text", list: "found a list", type(None): "the file is empty"}
            found = kinds.get(type(data), "found a value")
            self.fail(f"a persona is a mapping with at least `system:`; {found}", code="PK011")
            return None
        self.unknown({key: 0 for key in data if not key.startswith("x-")}, KEYS)
        if data.get("template") is not None:
            self.literal = self.choice(data["template"], ("jinja", "none"), "template") == "none"
        extends = self.texts(data["extends"], "extends") if data.get("extends") is not None else ()
        if len(extends) > MAX_PARENTS:
            self.fail(f"extends: {len(extends)} personas; {MAX_PARENTS} is the limit", "extends")
        for index, reference in enumerate(extends[:MAX_PARENTS]):
            self.extend(reference, index if isinstance(data["extends"], list) else None)
        values = {"extends": extends, **self.head(data), **self.body(data)}
        if not values["system"].at and not self.abstract and not self.problems:
            self.fail("no `system:`; it holds the system message", code="PK003")
        return Persona(**values, document=self.document)

    def extend(self, reference: str, index: int | None) -> None:
        """Take over a parent."""
        at: tuple[str | int, ...] = ("extends",) if index is None else ("extends", index)
        if not REFERENCE.match(reference):
            self.fail(
                f"extends: {reference[:80]!r} is no name of a persona; write its name, or a path "
                f"inside the library such as partials/professional, without an ending",
                *at,
                code="PK002",
            )
        elif self.parents is None:
            found = "extends: a persona that is not in a library cannot extend another"
            self.fail(found, *at, code="PK002")
        else:
            try:
                self.parent = merged(self.parent, self.parents(reference))
            except PersonaError as error:
                self.fail(f"extends: {reference} is wrong", *at, code="PK002")
                self.problems += [p for p in error.problems if p not in self.problems]
            except UsageError as error:
                self.fail(f"extends: {error}", *at, code="PK002")

    def head(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read what describes the persona."""
        # A text that is no file's has no stem to be called by.
        stem = "persona" if self.document.path == UNNAMED else Path(self.document.path).stem
        base = self.parent
        values: dict[str, Any] = {"name": self.name(data.get("name", stem))}
        for key in ("description", "version", "license", "source"):
            if data.get(key) is not None:
                values[key] = self.text(data[key], key)
        if base is not None:
            values.setdefault("description", base.description)
        for key in ("tags", "authors"):
            if data.get(key) is not None:
                values[key] = self.texts(data[key], key)
        values["tags"] = _united(base.tags if base else (), values.get("tags", ()))
        metadata = self.mapping(given(data, "metadata", {}), "metadata")
        values["metadata"] = freeze({**(base.metadata if base else {}), **metadata})
        values["model"] = base.model if base else None
        if data.get("model") is not None:
            values["model"] = self.model(data["model"])
        return values

    def body(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read what makes the request."""
        base = self.parent
        empty = Text("", (), self.document)
        values: dict[str, Any] = {
            "parameters": self.parameters(given(data, "parameters", {})),
            "variables": self.variables(given(data, "variables", {})),
            "system": base.system if base else empty,
            "prompt": base.prompt if base else None,
            "messages": base.messages if base else (),
            "output": base.output if base else None,
            "history": base.history if base else None,
            "tools": _united(base.tools if base else (), self.tools(given(data, "tools", []))),
            "plugins": _united(
                base.plugins if base else (), read_plugins(self, given(data, "plugins", []))
            ),
        }
        for key in ("system", "prompt"):
            if data.get(key) is not None:
                values[key] = self.template(data[key], key)
        if data.get("messages") is not None:
            values["messages"] = self.messages(data["messages"])
        if data.get("output") is not None:
            values["output"] = freeze(self.mapping(data["output"], "output"))
        if data.get("history") is not None:
            values["history"] = read_history(self, data["history"])
        if data.get("tests") is not None:
            values["tests"] = tests.read_tests(self, data["tests"])
        return values

    def name(self, value: Any) -> str:
        text = self.text(value, "name")
        if isinstance(value, str) and (not NAME.match(text) or RESERVED.match(text)):
            self.fail(
                f"name: {text[:80]!r} is no name: write `name:` with 1 to 64 of a-z, 0-9, '_' and "
                f"'-', beginning with a letter or digit, and no device name of Windows",
                "name",
            )
        return text

    def model(self, value: Any) -> str:
        text = self.text(value, "model")
        if isinstance(value, str) and not MODEL.match(text):
            self.fail(
                f"model: {text[:80]!r} is no model: write provider/model, such as "
                f"openai/gpt-5-mini; it is not a template",
                "model",
            )
        return text

    def parameters(self, value: Any) -> Mapping[str, Any]:
        found = self.mapping(value, "parameters")
        for name, item in found.items():
            fault = parameters.fault(name, item)
            if fault:
                known = name in parameters.ALLOWED
                code = "PK014" if known else "PK013"
                self.fail(fault, "parameters", name, key=not known, code=code)
        inherited = self.parent.parameters if self.parent else {}
        return FrozenDict(freeze({**inherited, **found}))

    def variables(self, value: Any) -> Mapping[str, Variable]:
        found = dict(self.parent.variables) if self.parent else {}
        declared = self.mapping(value, "variables")
        if len(declared) > MAX_VARIABLES:
            self.fail(f"{len(declared)} variables; {MAX_VARIABLES} is the limit", "variables")
            return FrozenDict(found)
        for name, item in declared.items():
            found[name] = variables.declare(self, name, item, found.get(name))
        return FrozenDict(found)

    def template(self, value: Any, *at: str | int) -> Text:
        return Text(self.text(value, *at), at, self.document, self.literal, self.parent)

    def messages(self, value: Any) -> tuple[tuple[Role, Text], ...]:
        found = [self.message(item, i) for i, item in enumerate(self.list(value, "messages"))]
        return tuple(pair for pair in found if pair is not None)

    def message(self, item: Any, index: int) -> tuple[Role, Text] | None:
        at = ("messages", index)
        form = "a message is its role and its content, as in `- user: What is in season?`"
        if not isinstance(item, dict) or len(item) != 1:
            found = f"the keys {', '.join(item)}" if isinstance(item, dict) else describe(item)
            self.fail(f"{form}; found {found}", *at, code="PK011")
            return None
        role, content = next(iter(item.items()))
        if role not in ROLES:
            hint = did_you_mean(role, ROLES)
            found = f"{form}; found {role!r}, not one of {', '.join(ROLES)}{hint}"
            self.fail(found, *at, role, key=True, code="PK010")
            return None
        return cast("Role", role), self.template(content, *at, role)

    def tools(self, value: Any) -> tuple[str, ...]:
        names = self.texts(value, "tools")
        for index, name in enumerate(names):
            given_text = isinstance(value, str) or isinstance(value[index], str)
            if given_text and not TOOL.match(name):
                self.fail(f"tools: {name[:80]!r} is no name of a tool", "tools", index)
        return names
