"""Check that a JSON Schema is one, and that validating a value by it can be bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import brief, describe
from personakit.schemas.keywords import IN_PLACE, REFERENCES, children, fault
from personakit.schemas.patterns import Backtracking, Pattern, pattern_of

MAX_NODES = 20_000
"""The most values in a schema: mappings, lists, and what they contain."""
MAX_TEXT = 1 << 20
"""The most characters of all keys and texts."""
MAX_DEPTH = 64
"""The deepest nesting of mappings and lists, and of references to references."""
MAX_BRANCHES = 5_000
"""The most subschemas that apply to one value, with `$ref` followed."""
MAX_PATTERNS = 20_000
"""The largest total size of all patterns, by `Pattern.size`."""

Path = tuple[str | int, ...]
Compile = Callable[[str], Pattern | Backtracking]

DRAFT_7 = "http://json-schema.org/draft-07/schema"
DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    DRAFT_7,
)


class InvalidSchema(ValueError):
    """A JSON Schema cannot be used; the message contains the JSON path and the reason.

    Attributes:
        reason: What is wrong and what would be right.
        path: The place in the schema.
    """

    def __init__(self, reason: str, path: Path = ()) -> None:
        steps = (f"[{at}]" if isinstance(at, int) else f".{at}" for at in path)
        self.reason, self.path = brief(reason, 400), path
        super().__init__(f"{brief('$' + ''.join(steps))}: {self.reason}")


@dataclass(slots=True)
class CheckedSchema:
    """A schema that can be used.

    Attributes:
        draft: One of `DRAFTS`.
        plain: A copy as plain dicts and lists; no dict occurs twice.
        patterns: Its patterns, by their text.
        size: Their total size.
        paths: The place of each subschema, by its `id`.
        branches: The number of subschemas that apply to a value, by the `id` of each subschema.
        targets: The targets of the references in a subschema, by its `id`.
    """

    draft: str
    plain: dict[str, Any]
    patterns: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    paths: dict[int, Path] = field(default_factory=dict)
    branches: dict[int, int] = field(default_factory=dict)
    targets: dict[int, list[Any]] = field(default_factory=dict)

    def every(self) -> Iterator[tuple[Path, Any]]:
        """Yield the schema and all its subschemas, each with its path."""
        waiting: list[tuple[Path, Any]] = [((), self.plain)]
        while waiting:
            path, part = waiting.pop()
            yield path, part
            if isinstance(part, dict):
                waiting += [((*path, *at), one) for at, one in children(part)]


def checked(schema: Any, compiled: Compile = pattern_of) -> CheckedSchema:
    """Check a JSON Schema of draft 2020-12 (the default), 2019-09 or 7.

    Args:
        schema: A mapping.
        compiled: Returns a compiled pattern, or raises ValueError: `pattern_of`, `Pattern.of`, or
            `foreign_pattern` for a schema in a persona file.

    Raises:
        InvalidSchema: It is not valid, exceeds a limit, or refers to something outside of itself.
    """
    _measure(schema)
    plain = _plain(schema)
    result = CheckedSchema(_draft(plain), plain)
    for path, part in result.every():
        _check_part(result, part, path, compiled)
    _check_combinations(result)
    _check_references(result)
    for _, part in result.every():
        if isinstance(part, dict):
            _count_branches(result, part, ())
    return result


def _measure(schema: Any) -> None:
    """Check the size and the depth of a schema, and that it is plain JSON."""
    if not isinstance(schema, Mapping):
        raise InvalidSchema(f"expected a mapping, found {type(schema).__name__}")
    nodes = text = 0
    waiting: list[tuple[Any, Path]] = [(schema, ())]
    while waiting:
        value, path = waiting.pop()
        nodes += 1
        inner: list[tuple[Any, Any]] = []
        if isinstance(value, Mapping):
            inner = list(value.items())
            if any(not isinstance(key, str) for key in value):
                raise InvalidSchema("a key is not a string", path)
            text += sum(map(len, value))
        elif isinstance(value, list | tuple):
            inner = list(enumerate(value))
        elif isinstance(value, str):
            text += len(value)
        elif not _is_json(value):
            name = "a number" if isinstance(value, int | float) else type(value).__name__
            raise InvalidSchema(f"{name} cannot be written as JSON, or is too large", path)
        if len(path) >= MAX_DEPTH and inner:
            raise InvalidSchema(f"it is nested deeper than {MAX_DEPTH} levels", path[:6])
        if nodes + len(waiting) + len(inner) > MAX_NODES or text > MAX_TEXT:
            raise InvalidSchema(
                f"it has more than {MAX_NODES:,} values or {MAX_TEXT:,} characters; make it smaller"
            )
        waiting += [(item, (*path, at)) for at, item in inner]


def _is_json(value: Any) -> bool:
    """Return whether an atom can be written as JSON and compared with a float."""
    if value is None or isinstance(value, bool):
        return True
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _draft(plain: dict[str, Any]) -> str:
    named = plain.get("$schema", DRAFTS[0])
    draft = named.removesuffix("#") if isinstance(named, str) else ""
    if draft not in DRAFTS:
        known = ", ".join(DRAFTS)
        raise InvalidSchema(f"unknown draft {named!r:.80}: use one of {known}", ("$schema",))
    return draft


def _check_part(result: CheckedSchema, part: Any, path: Path, compiled: Compile) -> None:
    """Check the values of the keywords of one subschema, and keep its patterns."""
    if isinstance(part, bool) and path:
        return
    if not isinstance(part, dict):
        raise InvalidSchema(f"expected a schema (a mapping), found {describe(part)}", path)
    result.paths[id(part)] = path
    if "$id" in part and not _is_reference(part["$id"]):
        raise InvalidSchema("expected a URI reference", (*path, "$id"))
    if path and "$schema" in part:
        raise InvalidSchema("only the root of a schema can name its draft", (*path, "$schema"))
    for key, value in part.items():
        if reason := fault(key, value):
            raise InvalidSchema(reason, (*path, key))
    if isinstance(part.get("items"), list) and result.draft == DRAFTS[0]:
        reason = "expected a schema, found a list; its name is `prefixItems` in this draft"
        raise InvalidSchema(reason, (*path, "items"))
    texts = [(part["pattern"], (*path, "pattern"))] if "pattern" in part else []
    named = part.get("patternProperties", {})
    for text, at in [*texts, *((one, (*path, "patternProperties", one)) for one in named)]:
        _add_pattern(result, text, at, compiled)


def _is_reference(value: Any) -> bool:
    from urllib.parse import urljoin  # noqa: PLC0415

    try:
        return isinstance(value, str) and bool(urljoin("https://example.com", value))
    except ValueError:
        return False


def _add_pattern(result: CheckedSchema, text: str, at: Path, compiled: Compile) -> None:
    if text in result.patterns:
        return
    try:
        pattern = compiled(text)
    except ValueError as error:
        raise InvalidSchema(f"invalid regular expression: {error}", at) from None
    result.patterns[text] = pattern
    result.size += pattern.size
    if result.size > MAX_PATTERNS:
        raise InvalidSchema(
            f"the patterns together are larger than {MAX_PATTERNS:,} parts; use fewer repetitions",
            at,
        )


def _check_combinations(result: CheckedSchema) -> None:
    used = {key for _, part in result.every() if isinstance(part, dict) for key in part}
    # jsonschema matches the patterns of such a schema with `re`.
    if {"patternProperties", "unevaluatedProperties"} <= used:
        raise InvalidSchema("it uses both patternProperties and unevaluatedProperties; use one")


def _check_references(result: CheckedSchema) -> None:
    """Look up each reference: its target must be a subschema of the same schema."""
    parts = [(path, part) for path, part in result.every() if isinstance(part, dict)]
    referring = [(path, part) for path, part in parts if part.keys() & set(REFERENCES)]
    named = any(path and "$id" in part for path, part in parts)
    registry = None
    for path, part in referring:
        for key in REFERENCES:
            if key not in part:
                continue
            pointer = part[key] == "#" or str(part[key]).startswith("#/")
            if pointer and not named:
                target = _pointed(result.plain, part[key])
            else:
                registry = registry or _registry(result)
                target = _resolved(result, registry, path, part[key])
            if id(target) not in result.paths:
                raise InvalidSchema(
                    f"{part[key]!r:.100} refers to no subschema of this schema (nothing is "
                    f"fetched); write it under `$defs` and refer to '#/$defs/NAME'",
                    (*path, key),
                )
            result.targets.setdefault(id(part), []).append(target)


def _pointed(value: Any, reference: str) -> Any:
    """Return what a JSON pointer (RFC 6901) in a URI fragment refers to, or None."""
    from urllib.parse import unquote  # noqa: PLC0415

    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def _registry(result: CheckedSchema) -> Any:
    """Return a registry of the anchors and identifiers in a schema, which fetches nothing."""
    import referencing.jsonschema  # noqa: PLC0415

    resource = referencing.jsonschema.specification_with(result.draft).create_resource(result.plain)
    return referencing.Registry().with_resource(resource.id() or "", resource).crawl()


def _resolved(result: CheckedSchema, registry: Any, path: Path, reference: str) -> Any:
    """Return what a reference to an anchor or an `$id` refers to, or None."""
    import referencing.jsonschema  # noqa: PLC0415

    specification = referencing.jsonschema.specification_with(result.draft)
    try:
        resource = specification.create_resource(result.plain)
        resolver = registry.resolver(resource.id() or "")
        inner: Any = result.plain
        for step in path:
            inner = inner[step]
            if isinstance(inner, dict) and id(inner) in result.paths:
                resolver = resolver.in_subresource(specification.create_resource(inner))
        return resolver.lookup(reference).contents
    except (referencing.exceptions.Unresolvable, ValueError, LookupError, TypeError):
        return None


def _count_branches(result: CheckedSchema, part: Any, above: tuple[int, ...]) -> int:
    """Count the subschemas that apply to one value, and find references that go in a circle."""
    at = id(part)
    if at in result.branches:
        return result.branches[at]
    path = result.paths[at]
    if at in above:
        raise InvalidSchema("it refers to itself endlessly, for the same value", path)
    if len(above) > MAX_DEPTH:
        raise InvalidSchema(f"more than {MAX_DEPTH} references lead to one another", path)
    inner = [one for where, one in children(part) if where[0] in IN_PLACE]
    inner += result.targets.get(at, [])
    total = 1 + sum(
        _count_branches(result, one, (*above, at)) for one in inner if isinstance(one, dict)
    )
    if total > MAX_BRANCHES:
        raise InvalidSchema(
            f"more than {MAX_BRANCHES:,} branches of allOf, anyOf, oneOf and $ref apply to one "
            f"value; use fewer",
            path,
        )
    result.branches[at] = total
    return total
