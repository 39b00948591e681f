"""Persona: one YAML file, read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from personakit import document, parameters, variables
from personakit.document import Document
from personakit.errors import PersonaError, Problem, did_you_mean
from personakit.frozen import FrozenDict, freeze
from personakit.messages import Role
from personakit.variables import Variable, article, describe

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/ ~-]{0,299}\Z")
# Windows opens a device instead of a file of these names, whatever the ending.
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")
ROLES = ("system", "developer", "user", "assistant")

KEYS = (
    "name description version tags authors license source metadata model parameters "
    "variables system messages prompt plugins template"
).split()
LATER = ("extends", "tools", "output", "tests")
VARIABLE_KEYS = ("type default required enum minimum maximum pattern description example").split()


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a persona: a template, unless the persona says `template: none`.

    Attributes:
        source: The text as it stands in the file.
        at: Where it stands in the document, such as ``("messages", 0, "user")``.
    """

    source: str
    at: document.Path


@dataclass(frozen=True, slots=True)
class PluginUse:
    """One entry of a persona's `plugins:` list.

    Attributes:
        name: The name that the plugin is installed under.
        options: Its options.
        on_error: ``fail``, or ``skip`` to go on without it when it fails before anything was sent.
        at: Where the entry stands in the document.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=FrozenDict)
    on_error: Literal["fail", "skip"] = "fail"
    at: document.Path = ()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Persona:
    """A persona, as its file describes it.

    Make one with `Persona.parse` or `Persona.read`. The attributes are the keys of the file; the
    texts are not rendered yet.
    """

    name: str
    system: Text
    description: str = ""
    version: str = ""
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
    plugins: tuple[PluginUse, ...] = ()
    template: Literal["jinja", "none"] = "jinja"
    document: Document = field(default_factory=lambda: Document({}, {}, ""), repr=False)

    @property
    def path(self) -> str:
        """The file it was read from, as the user would name it."""
        return self.document.path

    @classmethod
    def parse(cls, source: str | bytes, path: str = "<string>") -> Persona:
        """Read a persona from the content of its file.

        Args:
            source: The YAML text; bytes must be UTF-8.
            path: What to call the file in errors; its stem is the default of `name`.

        Raises:
            PersonaError: With every problem of the file, each with its line and column.
        """
        return _Reader(document.parse(source, path)).read()

    @classmethod
    def read(cls, path: str | Path) -> Persona:
        """Read a persona file.

        Raises:
            PersonaError: The file cannot be read, or is wrong.
        """
        try:
            source = Path(path).read_bytes()
        except OSError as error:
            raise PersonaError([Problem(f"cannot be read: {error.strerror}", str(path))]) from None
        return cls.parse(source, str(path))


class _Reader:
    """Checks a document key by key, collecting every problem."""

    def __init__(self, source: Document) -> None:
        self.document = source
        self.problems: list[Problem] = []

    def fail(self, message: str, *at: str | int, key: bool = False) -> None:
        self.problems.append(self.document.problem(message, at, key=key))

    def read(self) -> Persona:
        data = self.document.data
        if not isinstance(data, dict):
            found = "the file is empty" if data is None else f"found {describe(data)}"
            self.fail(f"a persona is a mapping with at least `system:`; {found}")
            raise PersonaError(self.problems)
        self.unknown(data, KEYS)
        readers: dict[str, Callable[[Any], Any]] = {
            "parameters": self.parameters,
            "variables": self.variables,
            "messages": self.messages,
            "plugins": self.plugins,
        }
        values: dict[str, Any] = {
            key: readers[key](data[key]) for key in readers if data.get(key) is not None
        }
        values |= self.head(data)
        values |= self.texts(data)
        if self.problems:
            self.problems.sort(key=lambda problem: (problem.line, problem.column))
            raise PersonaError(self.problems)
        return Persona(**values, document=self.document)

    def unknown(self, data: Mapping[str, Any], known: list[str], *at: str | int) -> None:
        for key in data:
            if key in known or (not at and key.startswith("x-")):
                continue
            if not at and key in LATER:
                self.fail(f"key {key!r} is not supported by this version", key, key=True)
                continue
            hint = did_you_mean(key, known) or f" (known: {', '.join(known)})"
            self.fail(f"unknown key {key!r}{hint}", *at, key, key=True)

    def text(self, value: Any, *at: str | int) -> str:
        if isinstance(value, str):
            return value
        name = next((str(part) for part in reversed(at) if isinstance(part, str)), "it")
        hint = "; quote it" if isinstance(value, int | float) else ""
        self.fail(f"{name}: expected a string, found {describe(value)}{hint}", *at)
        return ""

    def head(self, data: Mapping[str, Any]) -> dict[str, Any]:
        stem = Path(self.document.path).stem
        values: dict[str, Any] = {"name": data.get("name", stem)}
        if "name" in data or NAME.match(stem) is None:
            values["name"] = self.name(data.get("name", stem))
        for key in ("description", "version", "license", "source"):
            if data.get(key) is not None:
                values[key] = self.text(data[key], key)
        for key in ("tags", "authors"):
            if data.get(key) is not None:
                values[key] = self.list_of_text(data[key], key)
        if data.get("model") is not None:
            values["model"] = self.model(data["model"])
        if data.get("metadata") is not None:
            values["metadata"] = freeze(self.mapping(data["metadata"], "metadata"))
        if "template" in data:
            values["template"] = data["template"]
            if data["template"] not in ("jinja", "none"):
                found = describe(data["template"])
                self.fail(f"template: expected jinja or none, found {found}", "template")
        return values

    def name(self, value: Any) -> str:
        text = self.text(value, "name")
        if text and (not NAME.match(text) or RESERVED.match(text)):
            self.fail(
                f"name: {text[:80]!r} is no name: use 1 to 64 of a-z, 0-9, '_' and '-', "
                f"beginning with a letter or digit, and no device name of Windows",
                "name",
            )
        return text

    def model(self, value: Any) -> str:
        text = self.text(value, "model")
        if text and not MODEL.match(text):
            self.fail(
                f"model: {text[:80]!r} is no model: write provider/model, such as "
                f"openai/gpt-5-mini; it is not a template",
                "model",
            )
        return text

    def mapping(self, value: Any, *at: str | int) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.fail(f"{at[-1]}: expected a mapping, found {describe(value)}", *at)
        return {}

    def list(self, value: Any, *at: str | int) -> list[Any]:
        if isinstance(value, list):
            return value
        self.fail(f"{at[-1]}: expected a list, found {describe(value)}", *at)
        return []

    def list_of_text(self, value: Any, key: str) -> tuple[str, ...]:
        if isinstance(value, str):
            return (value,)
        return tuple(self.text(item, key, i) for i, item in enumerate(self.list(value, key)))

    def parameters(self, value: Any) -> Mapping[str, Any]:
        given = self.mapping(value, "parameters")
        for name, item in given.items():
            found = parameters.fault(name, item)
            if found:
                self.fail(found, "parameters", name, key=name not in parameters.ALLOWED)
        return FrozenDict(freeze(given))

    def variables(self, value: Any) -> Mapping[str, Variable]:
        declared = self.mapping(value, "variables")
        found = {name: self.variable(name, item) for name, item in declared.items()}
        return FrozenDict(found)

    def variable(self, name: str, value: Any) -> Variable:
        at = ("variables", name)
        if not variables.NAME.match(name) or name.startswith("__"):
            self.fail(
                f"variable {name[:80]!r} is no name: use letters, digits and '_', "
                f"beginning with a letter or '_'",
                *at,
                key=True,
            )
        if name in ("input", "parent"):
            self.fail(f"variable {name!r} is set by personakit; choose another name", *at, key=True)
        if not isinstance(value, dict):
            value = {"default": value}
        self.unknown(value, VARIABLE_KEYS, *at)
        if "type" in value and value["type"] not in variables.TYPES:
            kinds = ", ".join(variables.TYPES)
            hint = did_you_mean(str(value["type"]), variables.TYPES)
            found = describe(value["type"])
            self.fail(f"type: expected one of {kinds}, found {found}{hint}", *at, "type")
            return Variable(name)
        return self.checked(self.built(name, value, at), value, at)

    def built(self, name: str, value: Mapping[str, Any], at: tuple[str, ...]) -> Variable:
        enum = tuple(self.list(value["enum"], *at, "enum")) if "enum" in value else ()
        default = value.get("default")
        kind = value.get("type") or variables.infer_type(default if enum == () else enum[0])
        required = value.get("required", "default" not in value)
        if not isinstance(required, bool):
            self.fail(f"expected true or false, found {describe(required)}", *at, "required")
        if required is True and default is not None:
            self.fail("a required variable has no default; use `example`", *at, "default")
        for bound in ("minimum", "maximum"):
            if bound in value and not variables.is_type(value[bound], "number"):
                self.fail(f"expected a number, found {describe(value[bound])}", *at, bound)
                value = {**value, bound: None}
        return Variable(
            name=name,
            type=kind or "string",
            default=freeze(default),
            required=required is True,
            enum=freeze(enum),
            minimum=value.get("minimum"),
            maximum=value.get("maximum"),
            pattern=self.pattern(value, at),
            description=self.text(value.get("description") or "", *at, "description"),
            example=freeze(value.get("example")),
        )

    def pattern(self, value: Mapping[str, Any], at: tuple[str, ...]) -> str | None:
        if value.get("pattern") is None:
            return None
        pattern = self.text(value["pattern"], *at, "pattern")
        try:
            variables.matcher(pattern)
        except ValueError as error:
            self.fail(f"not a pattern: {error}", *at, "pattern")
            return None
        return pattern

    def checked(
        self, variable: Variable, value: Mapping[str, Any], at: tuple[str, ...]
    ) -> Variable:
        for i, choice in enumerate(variable.enum):
            if not variables.is_type(choice, variable.type):
                wanted = article(variable.type)
                self.fail(f"expected {wanted}, found {describe(choice)}", *at, "enum", i)
        for key in ("default", "example"):
            if value.get(key) is not None:
                fault = variable.fault(value[key])
                if fault:
                    self.fail(f"{key}: {fault}", *at, key)
        return variable

    def texts(self, data: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if data.get("system") is None:
            self.fail("no `system:`; it holds the system message")
        else:
            values["system"] = Text(self.text(data["system"], "system"), ("system",))
        if data.get("prompt") is not None:
            values["prompt"] = Text(self.text(data["prompt"], "prompt"), ("prompt",))
        return values

    def messages(self, value: Any) -> tuple[tuple[Role, Text], ...]:
        found = [self.message(item, i) for i, item in enumerate(self.list(value, "messages"))]
        return tuple(pair for pair in found if pair is not None)

    def message(self, item: Any, index: int) -> tuple[Role, Text] | None:
        at = ("messages", index)
        form = "a message is its role and its content, as in `- user: What is in season?`"
        if not isinstance(item, dict) or len(item) != 1:
            found = f"the keys {', '.join(item)}" if isinstance(item, dict) else describe(item)
            self.fail(f"{form}; found {found}", *at)
            return None
        role, content = next(iter(item.items()))
        if role not in ROLES:
            hint = did_you_mean(role, ROLES)
            self.fail(f"{form}; found {role!r}, not one of {', '.join(ROLES)}{hint}", *at, role)
            return None
        return cast("Role", role), Text(self.text(content, *at, role), (*at, role))

    def plugins(self, value: Any) -> tuple[PluginUse, ...]:
        uses = [self.plugin(item, i) for i, item in enumerate(self.list(value, "plugins"))]
        return tuple(use for use in uses if use is not None)

    def plugin(self, item: Any, index: int) -> PluginUse | None:
        at = ("plugins", index)
        if isinstance(item, str):
            name, options, on_error = item, {}, "fail"
        elif isinstance(item, dict) and "use" in item:
            self.unknown(item, ["use", "options", "on_error"], *at)
            name = self.text(item["use"], *at, "use")
            options = dict(self.mapping(item.get("options") or {}, *at, "options"))
            on_error = item.get("on_error", "fail")
        elif isinstance(item, dict) and len(item) == 1:
            name, given = next(iter(item.items()))
            options, on_error = dict(self.mapping(given or {}, *at, name)), "fail"
        else:
            form = "`- name`, `- name: {option: value}` or `- use: name` with `options:`"
            self.fail(f"a plugin is {form}; found {describe(item)}", *at)
            return None
        if name and not NAME.match(name):
            self.fail(f"plugin {name[:80]!r} is no name of an installed plugin", *at)
        if on_error not in ("fail", "skip"):
            self.fail(f"expected fail or skip, found {describe(on_error)}", *at, "on_error")
            return None
        return PluginUse(name, freeze(options), cast('Literal["fail", "skip"]', on_error), at)
