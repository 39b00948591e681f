"""The `plugins:` list of a persona or of the config: plugins and their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from personakit.base import NAME, brief_repr, describe, given
from personakit.frozen import FrozenDict, freeze
from personakit.persona.validation import Checker
from personakit.persona.yaml import Document


@dataclass(frozen=True, slots=True)
class PluginUse:
    """One entry of a persona's `plugins:` list.

    Attributes:
        name: The name under which the plugin is installed.
        options: Its options.
        on_error: ``fail``, or ``skip`` to continue without it if it fails before anything is sent.
        at: The path of the entry in the document.
        document: The file that contains it; None if it is not in a file.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=FrozenDict)
    on_error: Literal["fail", "skip"] = "fail"
    at: tuple[str | int, ...] = field(default=(), repr=False, compare=False)
    document: Document | None = field(default=None, repr=False, compare=False)

    __repr__ = brief_repr

    def place(self, option: str) -> tuple[str | int, ...]:
        """Return the path of an option in the document, or of the entry if it has none."""
        marks = self.document.marks if self.document is not None else {}
        places = [(*self.at, key, option) for key in (self.name, "options")]
        return next((place for place in places if place in marks), self.at)


def read_plugins(checker: Checker, value: Any) -> tuple[PluginUse, ...]:
    """Read a `plugins:` list of a persona or of the config; report problems to `checker`."""
    uses = [_read(checker, item, i) for i, item in enumerate(checker.list(value, "plugins"))]
    return tuple(use for use in uses if use is not None)


def _read(checker: Checker, item: Any, index: int) -> PluginUse | None:
    at = ("plugins", index)
    options: Any = {}
    on_error = "fail"
    if isinstance(item, str):
        name = item
    elif isinstance(item, dict) and "use" in item:
        checker.unknown(item, ["use", "options", "on_error"], *at)
        name = checker.text(item["use"], *at, "use")
        options = checker.mapping(given(item, "options", {}), *at, "options")
        on_error = checker.choice(item.get("on_error", "fail"), ("fail", "skip"), *at, "on_error")
    elif isinstance(item, dict) and len(item) == 1:
        name = next(iter(item))
        options = checker.mapping(given(item, name, {}), *at, name)
    else:
        form = "`- name`, `- name: {option: value}` or `- use: name` with `options:`"
        checker.fail(f"expected {form}, found {describe(item)}", *at, code="PK011")
        return None
    named = item.get("use", name) if isinstance(item, dict) else item
    if isinstance(named, str) and not NAME.match(name):
        checker.fail(
            f"invalid plugin name {name[:80]!r}: use 1 to 64 of a-z, 0-9, '_' and '-', beginning "
            f"with a letter or digit",
            *at,
        )
    skip = cast('Literal["fail", "skip"]', on_error)
    return PluginUse(name, freeze(options), skip, at, checker.document)


class PlacedOptions(dict[str, Any]):
    """A mapping in the config file, such as the options of a plugin under `plugin_options:`.

    Attributes:
        document: The file.
    """

    document: Document

    @classmethod
    def at(cls, checker: Checker, value: Any, *at: str) -> PlacedOptions:
        """Return the mapping at a path; add a problem to `checker` for any other value."""
        placed = cls(checker.mapping(value, *at))
        placed.document = checker.document
        return placed

    @classmethod
    def read(cls, checker: Checker, value: Any) -> dict[str, PlacedOptions]:
        """Read `plugin_options:` of the config; report problems to `checker`."""
        key = "plugin_options"
        options = checker.mapping(value, key)
        return {name: cls.at(checker, given, key, name) for name, given in options.items()}


def united(first: tuple[Any, ...], then: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return both tuples joined, without the items of `then` that `first` contains."""
    seen = set(map(_identity, first))
    return (*first, *(item for item in then if _identity(item) not in seen))


def _identity(item: str | PluginUse) -> object:
    """Return a key for a set; options are mappings, which have no hash."""
    return item if isinstance(item, str) else (item.name, repr(item.options), item.on_error)
