"""Parsing a persona file into a `Persona`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from personakit.base import NAME, REFERENCE, RESERVED, TOOL, brief_repr, describe, given, read_file
from personakit.errors import PersonaError, Problem, UsageError
from personakit.frozen import FrozenDict, freeze
from personakit.messages import Role
from personakit.persona import parameters, tests, variables, yaml
from personakit.persona.history import History, read_history
from personakit.persona.plugins import PluginUse, read_plugins, united
from personakit.persona.tests import PersonaTest
from personakit.persona.validation import Checker
from personakit.persona.variable import Variable
from personakit.persona.yaml import Document
from personakit.providers import APIS, AUTO

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/ ~-]{0,299}\Z")
ROLES = ("system", "developer", "user", "assistant")
KEYS = (
    "name description version extends tags authors license source metadata model api parameters "
    "variables system messages prompt tools output history plugins tests template"
).split()
SYSTEM_KEYS = ("text", "cache")
MAX_PARENTS = 16
MAX_VARIABLES = 1000

Parents = Callable[[str], "Persona"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a persona: a template, unless its file sets `template: none`.

    Attributes:
        source: The text as written in the file.
        at: The path in the document, such as ``("messages", 0, "user")``.
        document: The file that contains it: the persona's own or a parent's.
        literal: True if it is not a template.
        parent: The persona that `{{ parent.system }}` refers to.
        cache: Whether the provider is asked to keep the prompt up to the end of this text.
    """

    source: str
    at: yaml.Path
    document: Document = field(repr=False, compare=False)
    literal: bool = False
    parent: Persona | None = field(default=None, repr=False)
    cache: bool = False
    __repr__ = brief_repr


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Persona:
    """A persona as its file describes it, with what it inherits from its parents.

    Create one with `personakit.load`, `Persona.parse` or `Persona.read`. The attributes are the
    keys of the file, not rendered, and `document`: its data, with the place of each value. Personas
    are equal if their files have the same path and, comments apart, the same content.
    """

    name: str
    document: Document = field(repr=False)
    system: Text | None = None
    description: str = ""
    version: str = ""
    extends: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    model: str | None = None
    api: str = AUTO
    parameters: Mapping[str, Any] = field(default_factory=FrozenDict)
    variables: Mapping[str, Variable] = field(default_factory=FrozenDict)
    messages: tuple[tuple[Role, Text], ...] = ()
    prompt: Text | None = None
    tools: tuple[str, ...] = ()
    output: Mapping[str, Any] | None = None
    history: History | None = None
    plugins: tuple[PluginUse, ...] = ()
    tests: tuple[PersonaTest, ...] = ()
    __repr__ = brief_repr

    def __hash__(self) -> int:
        return hash((self.name, self.path, self.system and self.system.source))

    @property
    def path(self) -> str:
        """The path of its file, as the user wrote it; its name if a plugin loaded it."""
        return self.document.path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from personakit.display import persona_bundle  # noqa: PLC0415

        return persona_bundle(self)

    @classmethod
    def parse(
        cls,
        source: str | bytes,
        path: str = yaml.UNNAMED,
        *,
        parents: Parents | None = None,
        abstract: bool = False,
    ) -> Persona:
        """Parse a persona from the content of its file.

        Args:
            source: The YAML text; bytes must be UTF-8.
            path: The name of the file in errors. Its stem is the default of `name`; without a
                path, the default is ``persona``.
            parents: Returns the persona for a name in `extends`; see `Library.parents`.
            abstract: True for a file that is only extended and needs no text.

        Raises:
            PersonaError: The file is invalid; the error has every problem with line and column.
        """
        return _examined(yaml.parse(source, path), parents, abstract)

    @classmethod
    def read(
        cls, path: str | Path, *, parents: Parents | None = None, abstract: bool = False
    ) -> Persona:
        """Read a persona file; the arguments are those of `parse`.

        Raises:
            PersonaError: The file cannot be read, or it is invalid.
        """
        try:
            source = read_file(path, yaml.MAX_BYTES)
        except OSError as error:
            raise PersonaError([Problem(f"cannot be read: {error.strerror}", str(path))]) from None
        return _examined(yaml.parse(source, str(path), file=path), parents, abstract)


def _examined(document: yaml.Document, parents: Parents | None, abstract: bool) -> Persona:
    persona, problems = examine(document, parents=parents, abstract=abstract)
    if problems or persona is None:
        raise PersonaError(problems)
    return persona


Reference = str | Path | Persona
"""A persona, its name, or the path of its file."""


def examine(
    source: Document, *, parents: Parents | None = None, abstract: bool = False
) -> tuple[Persona | None, list[Problem]]:
    """Return the persona of a document as far as it can be parsed, and all its problems.

    The persona is None if the document is not a mapping or has too many problems. The arguments
    are those of `Persona.parse`.
    """
    reader = _Reader(source, parents, abstract)
    try:
        persona = reader.read()
    except PersonaError as error:
        return None, list(error.problems)
    reader.problems.sort(key=lambda p: (p.path != source.path, p.line, p.column))
    return persona, reader.problems


def merged(first: Persona | None, then: Persona) -> Persona:
    """Merge two parents: the later one wins, and lists are appended."""
    if first is None:
        return then
    return Persona(
        name=then.name,
        document=then.document,
        system=then.system or first.system,
        description=then.description or first.description,
        tags=united(first.tags, then.tags),
        metadata=FrozenDict({**first.metadata, **then.metadata}),
        model=then.model or first.model,
        api=first.api if then.api == AUTO else then.api,
        parameters=FrozenDict({**first.parameters, **then.parameters}),
        variables=FrozenDict({**first.variables, **then.variables}),
        messages=then.messages or first.messages,
        prompt=then.prompt or first.prompt,
        tools=united(first.tools, then.tools),
        output=then.output if then.output is not None else first.output,
        history=then.history or first.history,
        plugins=united(first.plugins, then.plugins),
    )


class _Reader(Checker):
    """A reader of persona documents."""

    def __init__(self, source: Document, parents: Parents | None, abstract: bool) -> None:
        super().__init__(source)
        self.parents, self.abstract = parents, abstract
        self.parent: Persona | None = None
        self.literal = False

    @property
    def mistakes(self) -> Any:
        from personakit.persona.mistakes import keys  # noqa: PLC0415 - few files have them

        return keys

    def read(self) -> Persona | None:
        data = self.document.data
        if not isinstance(data, dict):
            self.fail(self.mistakes.not_a_mapping(data), code="PK011")
            return None
        own = {key: value for key, value in data.items() if not key.startswith("x-")}
        self.unknown(own, KEYS, hint_for=lambda key, value: self.mistakes.root(key, value, data))
        if data.get("template") is not None:
            self.literal = self.choice(data["template"], ("jinja", "none"), "template") == "none"
        extends = self.texts(data["extends"], "extends") if data.get("extends") is not None else ()
        if len(extends) > MAX_PARENTS:
            message = f"extends: found {len(extends)} personas; the limit is {MAX_PARENTS}"
            self.fail(message, "extends")
        for index, reference in enumerate(extends[:MAX_PARENTS]):
            self.extend(reference, index if isinstance(data["extends"], list) else None)
        values = {"extends": extends, **self.head(data), **self.body(data)}
        texts = values["system"] or values["messages"] or values["prompt"]
        if not texts and not self.abstract and not self.problems:
            message, at = self.mistakes.no_text(self.document)
            self.fail(message, *at, key=True, code="PK003")
        return Persona(**values, document=self.document)

    def extend(self, reference: str, index: int | None) -> None:
        """Merge a parent that `extends` names."""
        at: tuple[str | int, ...] = ("extends",) if index is None else ("extends", index)
        if not REFERENCE.match(reference):
            self.fail(
                f"extends: invalid persona name {reference[:80]!r}: write a name, or a path inside "
                f"the library such as partials/professional, without a file extension; a persona "
                f"that a plugin loads is written scheme:rest",
                *at,
                code="PK002",
            )
        elif self.parents is None:
            message = "extends: a persona that is not in a library cannot extend another"
            self.fail(message, *at, code="PK002")
        else:
            try:
                self.parent = merged(self.parent, self.parents(reference))
            except PersonaError as error:
                self.fail(f"extends: {reference} has errors", *at, code="PK002")
                self.problems += [p for p in error.problems if p not in self.problems]
            except UsageError as error:
                self.fail(f"extends: {error}", *at, code="PK002")

    def head(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read the keys that describe the persona."""
        base, source = self.parent, self.document
        name = self.name(data.get("name", source.name))
        values: dict[str, Any] = {"name": source.path if source.loaded else name}
        for key in ("description", "version", "license", "source"):
            if data.get(key) is not None:
                values[key] = self.text(data[key], key)
        if base is not None:
            values.setdefault("description", base.description)
        for key in ("tags", "authors"):
            if data.get(key) is not None:
                values[key] = self.texts(data[key], key)
        values["tags"] = united(base.tags if base else (), values.get("tags", ()))
        metadata = self.mapping(given(data, "metadata", {}), "metadata")
        values["metadata"] = freeze({**(base.metadata if base else {}), **metadata})
        values["model"] = base.model if base else None
        if data.get("model") is not None:
            values["model"] = self.model(data["model"])
        values["api"] = base.api if base else AUTO
        if data.get("api") is not None:
            values["api"] = self.choice(data["api"], APIS, "api")
        return values

    def body(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Read the keys that determine the request."""
        base = self.parent
        values: dict[str, Any] = {
            "parameters": self.parameters(given(data, "parameters", {})),
            "variables": self.variables(given(data, "variables", {})),
            "system": base.system if base else None,
            "prompt": base.prompt if base else None,
            "messages": base.messages if base else (),
            "output": base.output if base else None,
            "history": base.history if base else None,
            "tools": united(base.tools if base else (), self.tools(given(data, "tools", []))),
            "plugins": united(
                base.plugins if base else (), read_plugins(self, given(data, "plugins", []))
            ),
        }
        if data.get("system") is not None:
            values["system"] = self.system(data["system"])
        if data.get("prompt") is not None:
            values["prompt"] = self.template(data["prompt"], "prompt")
        if data.get("messages") is not None:
            values["messages"] = self.messages(data["messages"])
        if data.get("output") is not None:
            values["output"] = freeze(self.schema(data["output"], "output"))
        if data.get("history") is not None:
            values["history"] = read_history(self, data["history"])
        if data.get("tests") is not None:
            values["tests"] = tests.read_tests(self, data["tests"])
        return values

    def name(self, value: Any) -> str:
        text = self.text(value, "name")
        if isinstance(value, str) and (not NAME.match(text) or RESERVED.match(text)):
            self.fail(
                f"name: invalid name {text[:80]!r}: set `name:` to 1 to 64 of a-z, 0-9, '_' and "
                f"'-', beginning with a letter or digit; device names of Windows are reserved",
                "name",
            )
        return text

    def model(self, value: Any) -> str:
        text = self.text(value, "model")
        if isinstance(value, str) and not MODEL.match(text):
            self.fail(
                f"model: invalid model {text[:80]!r}: write provider/model, such as "
                f"openai/gpt-5-mini; templates are not supported here",
                "model",
            )
        return text

    def parameters(self, value: Any) -> Mapping[str, Any]:
        own = self.mapping(value, "parameters")
        for name, item in own.items():
            fault = parameters.fault(name, item)
            if fault and name not in parameters.ALLOWED and name not in parameters.REFUSED:
                hint = self.mistakes.parameter(name, KEYS)
                fault = f"unknown parameter {name!r}{hint}" if hint else fault
            if fault:
                allowed = name in parameters.ALLOWED
                code = "PK014" if allowed else "PK013"
                self.fail(fault, "parameters", name, key=not allowed, code=code)
        inherited = self.parent.parameters if self.parent else {}
        return FrozenDict(freeze({**inherited, **own}))

    def variables(self, value: Any) -> Mapping[str, Variable]:
        merged = dict(self.parent.variables) if self.parent else {}
        declared = self.mapping(value, "variables")
        if len(declared) > MAX_VARIABLES:
            self.fail(f"found {len(declared)} variables; the limit is {MAX_VARIABLES}", "variables")
            return FrozenDict(merged)
        for name, item in declared.items():
            merged[name] = variables.declare(self, name, item, merged.get(name))
        return FrozenDict(merged)

    def template(self, value: Any, *at: str | int, cache: bool = False) -> Text:
        return Text(self.text(value, *at), at, self.document, self.literal, self.parent, cache)

    def system(self, value: Any) -> Text:
        """Read the system message: a text, or a mapping that also says whether to cache it."""
        at: tuple[str, ...] = ("system",)
        cache = False
        if isinstance(value, dict):
            self.unknown(value, SYSTEM_KEYS, "system")
            cache = self.cache(value, "system")
            value, at = value.get("text", ""), ("system", "text")
        if isinstance(value, str) and not value.strip():
            place = " under `text:`" if at[1:] else ""
            message = f"the text is empty; write the system message{place}, or remove the key"
            self.fail(f"system: {message}", "system")
        return self.template(value, *at, cache=cache)

    def cache(self, value: Mapping[str, Any], *at: str | int) -> bool:
        """Read the `cache:` of a message; false if it has none."""
        return value.get("cache") is not None and self.boolean(value["cache"], *at, "cache")

    def messages(self, value: Any) -> tuple[tuple[Role, Text], ...]:
        """Read a list of messages, or a mapping that appends a list to those of the parent."""
        if not isinstance(value, dict):
            return self.pairs(value, "messages")
        inherited = self.parent.messages if self.parent else ()
        if "append" not in value and value.keys() & set(ROLES):
            found = f"messages: expected a list, found {describe(value)}"
            self.fail(f"{found}; write `- ` before each role", "messages", code="PK011")
            return inherited
        self.unknown(value, ("append",), "messages")
        if value.get("append") is None:
            message = "messages: expected a list, or `append:` with a list, found neither"
            self.fail(message, "messages", code="PK011")
            return inherited
        if self.document.data.get("extends") is None:
            self.fail(
                "append: it adds to the messages of a parent, and this persona extends none; "
                "write the list directly below `messages:`",
                *("messages", "append"),
                key=True,
            )
        return (*inherited, *self.pairs(value["append"], "messages", "append"))

    def pairs(self, value: Any, *at: str) -> tuple[tuple[Role, Text], ...]:
        """Read a list of roles, each with its content."""
        pairs = (self.message(item, *at, i) for i, item in enumerate(self.list(value, *at)))
        return tuple(pair for pair in pairs if pair is not None)

    def message(self, item: Any, *at: str | int) -> tuple[Role, Text] | None:
        if not isinstance(item, dict) or len(item.keys() - {"cache"}) != 1:
            found = f"the keys {', '.join(item)}" if isinstance(item, dict) else describe(item)
            form = f"expected a role and its content, as in {self.mistakes.message_form(item)}"
            self.fail(f"{form}, found {found}", *at, code="PK011")
            return None
        role, content = next((key, it) for key, it in item.items() if key != "cache")
        if role not in ROLES:
            self.fail(self.mistakes.role(role, ROLES), *at, role, key=True, code="PK010")
            return None
        return cast("Role", role), self.template(content, *at, role, cache=self.cache(item, *at))

    def tools(self, value: Any) -> tuple[str, ...]:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(item, str):
                self.fail(self.mistakes.tool(item), "tools", index, code="PK011")
                return ()
        names = self.texts(value, "tools")
        for index, name in enumerate(names):
            if not TOOL.match(name):
                self.fail(
                    f"tools: invalid tool name {name[:80]!r}: use 1 to 64 letters of ASCII, "
                    f"digits, '_' and '-'",
                    "tools",
                    index,
                )
        return names
