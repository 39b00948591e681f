"""The JSON Schema of persona files, for editors, built from the tables of the parser.

A key, parameter or check without a text in `descriptions` raises KeyError, so none is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from personakit.authoring import descriptions
from personakit.base import ANY, NAME, REFERENCE, RESERVED, TOOL, TYPES
from personakit.persona import KEYS, MODEL, ROLES, parameters, tests, variables
from personakit.plugins import Plugin, Plugins, options
from personakit.providers import APIS, AUTO

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:personakit:persona:1"

Schema = dict[str, Any]


def persona_schema(plugins: Plugins, *, abstract: bool = False) -> tuple[Schema, list[str]]:
    """Return the schema, and a note for each plugin that is left out of it.

    Args:
        plugins: The plugins whose options the schema contains.
        abstract: True for files that are only extended and need no text.
    """
    uses, shared, notes = _plugins(plugins)
    body = {**_head(), **_body(), "plugins": uses}
    properties = {key: {"description": descriptions.KEYS[key], **body[key]} for key in KEYS}
    schema: Schema = {
        "$schema": DIALECT,
        "$id": ID,
        "title": "personakit persona",
        "description": "A persona: a system message, its variables, parameters and plugins.",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {"description": "For your own use; personakit ignores it."}},
        "additionalProperties": False,
        "$defs": {
            "variable": _variable(),
            "items": _items(),
            "property": _property(),
            "message": _message(),
            "render": _checks(tests.RENDER),
            "expect": _checks(tests.EXPECT),
            **shared,
        },
    }
    if not abstract:
        texts = [
            {"required": [key], "properties": {key: {"type": kinds}}}
            for key, kinds in (("system", ["string", "object"]), ("prompt", ["string"]))
        ]
        has_messages = {
            "required": ["messages"],
            "properties": {"messages": {"type": "array", "minItems": 1}},
        }
        has_parent = {
            "required": ["extends"],
            "properties": {"extends": {"minLength": 1, "minItems": 1, "type": ["string", "array"]}},
        }
        schema["anyOf"] = [*texts, has_messages, has_parent]
    # `append` adds to the messages of a parent.
    schema["if"] = {"required": ["messages"], "properties": {"messages": {"type": "object"}}}
    schema["then"] = {"required": ["extends"]}
    return schema, notes


def _head() -> dict[str, Schema]:
    """Return the schemas of the keys that describe a persona."""
    name = {
        "type": "string",
        "pattern": _ecma(NAME),
        "not": {"pattern": _ecma(RESERVED)},
    }
    texts: Schema = {"type": ["string", "array", "null"], "items": {"type": "string"}}
    reference = _ecma(REFERENCE)
    extends: Schema = {
        "type": ["string", "array", "null"],
        "pattern": reference,
        "items": {"type": "string", "pattern": reference},
    }
    model = {"type": ["string", "null"], "pattern": _ecma(MODEL)}
    keys = ("description", "version", "license", "source")
    return {
        "name": name,
        **{key: _nullable("string") for key in keys},
        "extends": extends,
        "tags": texts,
        "authors": texts,
        "metadata": _nullable("object"),
        "model": model,
        "api": {"enum": [*APIS, None], "default": AUTO},
        "template": {"enum": ["jinja", "none", None], "default": "jinja"},
    }


def _body() -> dict[str, Schema]:
    """Return the schemas of the keys that make a request."""
    tool = _ecma(TOOL)
    text: Schema = {"type": "string", "pattern": r"\S"}
    messages: Schema = {"items": {"$ref": "#/$defs/message"}}
    keep = {"description": descriptions.KEEP, "type": "integer", "minimum": 0}
    settings = {
        name: {"description": descriptions.PARAMETERS[name], **rule.schema}
        for name, rule in parameters.ALLOWED.items()
    }
    name = rf"^(?!__)(?!(?:input|parent)$){_ecma(variables.NAME)[1:]}"
    return {
        "parameters": _closed(settings, nullable=True),
        "variables": {
            "type": ["object", "null"],
            "propertyNames": {"pattern": name},
            "additionalProperties": {"$ref": "#/$defs/variable"},
        },
        "system": {
            **_closed({"text": {**text, "description": descriptions.KEYS["system"]}, **_cache()}),
            **text,
            "type": ["string", "object", "null"],
            "required": ["text"],
        },
        "messages": {
            **_closed(
                {"append": {"description": descriptions.APPEND, "type": "array", **messages}}
            ),
            **messages,
            "type": ["array", "object", "null"],
            "required": ["append"],
        },
        "prompt": _nullable("string"),
        "tools": {
            "type": ["array", "string", "null"],
            "pattern": tool,
            "items": {"type": "string", "pattern": tool},
        },
        "output": _nullable("object"),
        "history": {**_closed({"keep": keep}, nullable=True), "required": ["keep"]},
        "tests": {"type": ["array", "null"], "items": _test()},
    }


def _message() -> Schema:
    """Return the schema of one message: a role with its content."""
    roles = {role: {"description": descriptions.ROLES[role], "type": "string"} for role in ROLES}
    one = [{"required": [role]} for role in ROLES]
    return {**_closed({**roles, **_cache()}), "oneOf": one}


def _cache() -> dict[str, Schema]:
    """Return the schema of the mark of a message up to which the prompt is cached."""
    return {"cache": {"description": descriptions.CACHE, "type": ["boolean", "null"]}}


def _items() -> Schema:
    """Return the schema of `items:`, which has no value of its own."""
    none = {"anyOf": [{"type": "object", "required": [key]} for key in variables.NOT_OF_ITEMS]}
    return {"allOf": [{"$ref": "#/$defs/variable"}], "type": ["object", "null"], "not": none}


def _property() -> Schema:
    """Return the schema of a field of an object, whose default is not the name of a type."""
    return {"allOf": [{"$ref": "#/$defs/variable"}], "not": {"enum": list(TYPES)}}


def _variable() -> Schema:
    """Return the schema of a variable: a default, or the long form."""
    types: dict[str, Schema] = {
        "type": {"enum": [*TYPES, ANY]},
        "required": {"type": "boolean"},
        "enum": {"type": "array"},
        "minimum": _nullable("number"),
        "maximum": _nullable("number"),
        "pattern": _nullable("string"),
        "items": {"$ref": "#/$defs/items"},
        "properties": {
            "type": ["object", "null"],
            "additionalProperties": {"$ref": "#/$defs/property"},
        },
        "additional": _nullable("boolean"),
        "description": _nullable("string"),
        "default": {},
        "example": {},
    }
    keys = {
        key: {"description": descriptions.VARIABLE[key], **types[key]} for key in variables.KEYS
    }
    value = {name: {"type": [name, "null"]} for name in TYPES}
    # One schema for both forms: with anyOf, editors would not show which key is wrong.
    return {
        **_closed(keys),
        "description": "A default, whose type is inferred, or a mapping of the keys of a variable.",
        "type": ["string", "number", "boolean", "array", "object", "null"],
        "allOf": [*(_typed(name, value[name]) for name in TYPES), *_containers()],
        "not": {
            "type": "object",
            "required": ["required", "default"],
            "properties": {"required": {"const": True}, "default": {"not": {"type": "null"}}},
        },
    }


def _typed(name: str, value: Schema) -> Schema:
    """Return the rule that the values of a variable have its type."""
    return {
        "if": {"required": ["type"], "properties": {"type": {"const": name}}},
        "then": {
            "properties": {
                "default": value,
                "example": value,
                "enum": {"items": {"type": name}},
            }
        },
    }


def _containers() -> Iterator[Schema]:
    """Yield the rules for the keys that only arrays or only objects have."""
    for name, keys in (("array", ["items"]), ("object", ["properties", "additional"])):
        others = {
            "required": ["type"],
            "properties": {"type": {"enum": [kind for kind in TYPES if kind != name]}},
        }
        absent = {key: {"type": "null"} for key in keys}
        yield {"if": others, "then": {"properties": absent}}
    yield {
        "if": {"required": ["additional"], "properties": {"additional": {"type": "boolean"}}},
        "then": {"required": ["properties"], "properties": {"properties": {"minProperties": 1}}},
    }


def _test() -> Schema:
    types: dict[str, Schema] = {
        **{key: _nullable("string") for key in ("name", "prompt", "model")},
        "variables": _nullable("object"),
        "render": {"$ref": "#/$defs/render"},
        "expect": {"$ref": "#/$defs/expect"},
    }
    keys = {key: {"description": descriptions.TEST[key], **types[key]} for key in tests.KEYS}
    wanted = {"type": "object", "minProperties": 1}
    either = [{"required": [key], "properties": {key: wanted}} for key in ("render", "expect")]
    return {**_closed(keys), "anyOf": either}


def _checks(names: Iterable[str]) -> Schema:
    """Return the schema of `render:` and `expect:`."""
    text: Schema = {"type": "string"}
    judge = _closed({key: {"description": descriptions.JUDGE[key], **text} for key in tests.JUDGE})
    types: dict[str, Schema] = {
        **{key: {"type": ["string", "array"], "items": text, "minItems": 1} for key in tests.TEXTS},
        **{key: {"type": "integer", "minimum": 0} for key in tests.NUMBERS},
        "matches": text,
        "equals": text,
        "json_schema": {"type": "object"},
        "judge": {**judge, "type": ["string", "object"], "required": ["rubric"]},
    }
    keys = {name: {"description": descriptions.CHECKS[name], **types[name]} for name in names}
    return _closed(keys, nullable=True)


def _plugins(plugins: Plugins) -> tuple[Schema, Schema, list[str]]:
    """Return the schema of `plugins:`, its definitions, and notes on plugins left out."""
    forms: dict[str, Schema] = {}
    shared: Schema = {}
    notes = []
    for plugin in _usable(plugins):
        if plugin.error:
            notes.append(f"{plugin.origin} is left out because it is broken: {plugin.error}")
            continue
        forms[plugin.name], definitions = _options(plugin)
        shared |= definitions
    name = _ecma(NAME)
    anything = {"description": "The options of a plugin.", **_nullable("object")}
    short = {
        "type": "object",
        "not": {"required": ["use"]},
        "minProperties": 1,
        "maxProperties": 1,
        "properties": forms,
        "propertyNames": {"pattern": name},
        "additionalProperties": anything,
    }
    keys = {
        "use": {"description": "The plugin's name.", "anyOf": _named(forms)},
        "options": {**anything, "description": "The plugin's options."},
        "on_error": {
            "description": descriptions.ON_ERROR,
            "enum": ["fail", "skip"],
            "default": "fail",
        },
    }
    long = {**_closed(keys), "required": ["use"]}
    if forms:
        long["allOf"] = [
            {
                "if": {"required": ["use"], "properties": {"use": {"const": name}}},
                "then": {"properties": {"options": form}},
            }
            for name, form in forms.items()
        ]
    items = {"anyOf": [*_named(forms), short, long]}
    return {"type": ["array", "null"], "items": items}, shared, notes


def _usable(plugins: Plugins) -> Iterator[Plugin]:
    """Yield the plugins that personas can list, including those that other plugins provide."""
    for plugin in plugins.all():
        if plugin.error or {*plugin.hooks} - {"setup"}:
            yield plugin
    for name, target in plugins.every("plugin").items():
        if name not in plugins.installed():
            yield Plugin(name, target=target)


def _named(forms: Mapping[str, Schema]) -> list[Schema]:
    """Return the schemas of plugin names: the installed ones, and any valid name."""
    installed = [
        {"const": name, "description": form["description"]} for name, form in forms.items()
    ]
    return [*installed, {"type": "string", "pattern": _ecma(NAME)}]


def _options(plugin: Plugin) -> tuple[Schema, Schema]:
    """Return the schema of a plugin's options, and its definitions."""
    if not isinstance(plugin.target, type):
        about = f"The plugin {plugin.name}, which has no options."
        return {"description": about, **_closed({}, nullable=True)}, {}
    properties, shared = options.schema(plugin.target, plugin.name)
    needed = [name for name, p in options.parameters(plugin.target).items() if p.default is p.empty]
    doc = (plugin.target.__doc__ or "").strip().partition("\n")[0]
    about = doc or f"The plugin {plugin.name}."
    form = {"description": about, **_closed(properties, nullable=not needed)}
    return {**form, "required": needed} if needed else form, shared


def _closed(properties: Mapping[str, Schema], *, nullable: bool = False) -> Schema:
    kind = ["object", "null"] if nullable else "object"
    return {"type": kind, "properties": dict(properties), "additionalProperties": False}


def _nullable(kind: str) -> Schema:
    return {"type": [kind, "null"]}


def _ecma(pattern: re.Pattern[str]) -> str:
    """Return a pattern for `re.match` in the syntax of JSON Schema."""
    return "^" + pattern.pattern.replace(r"\Z", "$")
