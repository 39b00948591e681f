"""The reference of the Python API, docs/python.md, made of signatures and docstrings.

A public name that no group lists belongs to the group with most names of its module, so a new name
is on the page without a change here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from helpers.docstrings import Docs, constant_docs, is_command, parse
from helpers.signatures import argument_types, attribute_types, shown_signature

import personakit
import personakit.batch
import personakit.formats
import personakit.testing


class Group(NamedTuple):
    """A section of the page: its title, its introduction and its names, in order."""

    title: str
    intro: str
    names: str


GROUPS = (
    Group(
        "Run a persona",
        "The functions use one shared [`Runner`](#runner), which reads the user's config. Create a "
        "runner for other settings, or to close its connections. Guides: "
        "[in a web service](web.md), [in tests](in-tests.md), [in a notebook](notebook.md).",
        "run arun stream astream render prepare warm Runner Options Config Trace Step __version__",
    ),
    Group(
        "Streams",
        "See [leave a stream early](failures.md#leave-a-stream-early).",
        "Stream AsyncStream Piece",
    ),
    Group(
        "Personas",
        "The file, key by key: [personas](personas.md).",
        "load look Persona Variable Look Finding",
    ),
    Group(
        "Notebooks",
        "See [in a notebook](notebook.md).",
        "form load_ipython_extension unload_ipython_extension",
    ),
    Group(
        "Messages and responses",
        "All of these are immutable; `replace` returns a changed copy.",
        "Response Request Message ToolCall ToolResult Tool Attachment Usage Timings Embeddings "
        "price",
    ),
    Group(
        "Conversations and the run log",
        "See [conversations](chat.md) and [the run log](log.md).",
        "Conversation RunLog Row",
    ),
    Group(
        "Keys and budgets",
        "What a service shares between its processes: who may call, and how much each may spend.",
        "Ledger Key Account Amount Total Reservation metered current_key",
    ),
    Group(
        "Errors",
        "See [errors and retries](failures.md). A class of the table has the attributes of the "
        "class that it is derived from.",
        "",
    ),
    Group(
        "Plugins",
        "The five hooks have a page each: [`setup`](plugins/setup.md), [`run`](plugins/run.md), "
        "[`chat`](plugins/chat.md), [`tool`](plugins/tool.md), [`observe`](plugins/observe.md).",
        "hookimpl Registry Send SendTool Filter Event UserOption Secret Pattern io sleep gather "
        "time_left read_file check_file create_file data_folder schema_validator install_command",
    ),
    Group(
        "Providers",
        "See [your own provider](plugins/provider.md).",
        "Provider Endpoint Wire Answer SchemaSubset",
    ),
    Group(
        "Batches",
        "Import these from `personakit.batch`. See [batches](batch.md).",
        "",
    ),
    Group(
        "Formats",
        "Import these from `personakit.formats`. See [import and export](import.md) and "
        "[plugins](plugins/setup.md).",
        "",
    ),
    Group(
        "Testing",
        "Import these from `personakit.testing`. See [in tests](in-tests.md) and "
        "[testing a plugin](plugins/testing.md).",
        "",
    ),
)
# personakit alone creates their objects; the arguments of the classes may change.
CREATED = frozenset(
    "AsyncStream Conversation Finding Look Persona Registry Row Send SendTool Filter Step "
    "Stream testing.Received".split()
)
_ROOMS = ("personakit", "batch", "formats", "testing")
"""The modules whose names have a prefix in their headings."""
HEAD = """\
# The Python API

Every public name, with its arguments, attributes and errors. The page is made of the docstrings in
the code, which `help(personakit.run)` shows, too. Names that it does not contain may change in any
version.

"""


class Entry(NamedTuple):
    """A public name: its heading and its value."""

    title: str
    value: Any
    docs: Docs


def entries() -> dict[str, list[Entry]]:
    """Return the public names by the titles of their groups."""
    named = {name: group.title for group in GROUPS for name in group.names.split()}
    found: dict[str, list[Entry]] = {group.title: [] for group in GROUPS}
    values = {name: getattr(personakit, name) for name in dir(personakit)}
    near = {
        home: Counter(named[n] for n, v in values.items() if n in named and _home(v) == home)
        for home in map(_home, values.values())
    }
    order = {name: place for place, name in enumerate(named)}
    for name in sorted(values, key=lambda name: order.get(name, len(order))):
        if _is_error(values[name]) or _home(values[name]) == "errors":
            title = "Errors"
        else:
            nearest = near[_home(values[name])].most_common(1)
            title = named.get(name) or (nearest[0][0] if nearest else GROUPS[0].title)
        found[title].append(_entry(personakit, name, "personakit."))
    rooms = {"Batches": personakit.batch, "Formats": personakit.formats}
    for title, module in (*rooms.items(), ("Testing", personakit.testing)):
        prefix = f"{module.__name__.rpartition('.')[2]}."
        found[title] += [_entry(module, name, prefix) for name in dir(module)]
    return found


def _home(value: Any) -> str:
    parts = str(getattr(value, "__module__", "")).split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "personakit" else ""


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _entry(module: ModuleType, name: str, prefix: str) -> Entry:
    value = getattr(module, name)
    documented = inspect.isroutine(value) or isinstance(value, type)
    docs = parse(inspect.getdoc(value) or "") if documented else constant_docs(name, value)
    is_class = isinstance(value, type) and prefix == "personakit."
    return Entry(name if is_class else prefix + name, value, docs)


class Member(NamedTuple):
    """A public method or property of a class."""

    name: str
    value: Any
    docs: Docs
    is_property: bool


def members(kind: type) -> Iterator[Member]:
    """Yield the methods and properties of a class and of its private base classes."""
    done: set[str] = set()
    classes = [c for c in reversed(kind.__mro__) if c.__module__.startswith("personakit")]
    own = [c for c in classes if c is kind or c.__name__ not in personakit.__all__]
    for name in (name for each in own for name in vars(each)):
        value = inspect.getattr_static(kind, name)
        function = getattr(value, "__func__", value)
        is_property = isinstance(value, property)
        if name in done or (name.startswith("_") and not _is_call(kind, name)):
            continue
        if is_property or inspect.isfunction(function):
            done.add(name)
            yield Member(name, value, parse(inspect.getdoc(function) or ""), is_property)


def _is_call(kind: type, name: str) -> bool:
    return name == "__call__" and bool(getattr(kind, "_is_protocol", False))


class Page:
    """Writes the page."""

    def __init__(self) -> None:
        self.entries = entries()
        everything = [entry for group in self.entries.values() for entry in group]
        self.targets: dict[str, str] = {}
        self._anchors: Counter[str] = Counter()
        for entry in everything:
            shared = _is_error(entry.value) and not self._details(entry)
            self.targets[entry.title] = "errors" if shared else self._anchor(entry.title)
            for member in members(entry.value) if isinstance(entry.value, type) else ():
                name = f"{entry.title}.{member.name}"
                if _is_shared(name):
                    self.targets[name] = anchor(f"personakit.{member.name}")
                elif not member.is_property and _is_headed(member):
                    self.targets[name] = self._anchor(name)
                else:
                    self.targets[name] = self.targets[entry.title]

    def _anchor(self, title: str) -> str:
        """Return the anchor of the next heading; ``Tool.call`` and ``ToolCall`` have the same."""
        name = anchor(title)
        self._anchors[name] += 1
        return name if self._anchors[name] == 1 else f"{name}-{self._anchors[name] - 1}"

    def text(self) -> str:
        """Return the whole page."""
        head, groups = HEAD, [group for group in GROUPS if self.entries[group.title]]
        for group in groups:
            names = [
                self._link(each.title, _short(each.title)) for each in self.entries[group.title]
            ]
            head += f"- [{group.title}](#{anchor(group.title)}): {', '.join(names)}\n"
        body = "\n".join("\n".join(self._group(group)) for group in groups)
        return re.sub(r"\n{3,}", "\n\n", f"{head}\n{body}").rstrip() + "\n"

    def _group(self, group: Group) -> Iterator[str]:
        yield f"## {group.title}\n\n{group.intro}\n"
        listed = self.entries[group.title]
        errors = [entry for entry in listed if _is_error(entry.value)]
        if errors:
            yield "| error | is a | meaning |\n| --- | --- | --- |"
            yield from map(self._row, sorted(errors, key=_place))
            yield ""
        for entry in listed:
            if not _is_error(entry.value) or self._details(entry):
                yield from self._entry(entry)

    def _row(self, error: Entry) -> str:
        base = error.value.__base__.__name__
        base = self._link(base) if base in self.targets else f"`{base}`"
        text = self._prose(error.docs.text.partition("\n\n")[0], error.title)
        return f"| {self._link(error.title)} | {base} | {text} |"

    def _details(self, entry: Entry) -> bool:
        return bool(entry.docs.attributes or entry.docs.arguments)

    def _link(self, name: str, shown: str = "") -> str:
        target = self.targets[name]
        return f"`{shown or name}`" if target == "errors" else f"[`{shown or name}`](#{target})"

    def _entry(self, entry: Entry) -> Iterator[str]:
        yield f"### `{entry.title}`\n"
        kind, value = isinstance(entry.value, type), entry.value
        is_typed_dict = kind and hasattr(value, "__total__")
        if callable(value) and not is_typed_dict and not (kind and entry.title in CREATED):
            if kind or inspect.isroutine(value):
                yield f"```py\n{shown_signature(value, _short(entry.title))}\n```\n"
        elif isinstance(value, str | tuple):
            # As the formatter writes it, which also checks Markdown.
            quoted = repr(value).replace("'", '"')
            yield f"```py\n{_short(entry.title)} = {quoted}\n```\n"
        yield from self._docs(entry.docs, value, entry.title)
        if kind:
            yield from self._members(entry)

    def _members(self, entry: Entry) -> Iterator[str]:
        methods = [member for member in members(entry.value) if not member.is_property]
        shared = [m.name for m in methods if _is_shared(f"{entry.title}.{m.name}")]
        methods = [member for member in methods if member.name not in shared]
        if shared:
            named = [self._link(f"personakit.{name}", name) for name in shared]
            yield f"The functions {', '.join(named)} are also methods of a runner.\n"
        short = [member for member in methods if not _is_headed(member)]
        if short:
            yield "Methods:\n"
            for method in short:
                shown = shown_signature(method.value, method.name, one_line=True)
                yield f"- `{shown}`: {self._prose(method.docs.text, entry.title)}"
            yield ""
        for method in methods:
            if _is_headed(method):
                yield f"#### `{entry.title}.{method.name}`\n"
                yield f"```py\n{shown_signature(method.value, method.name)}\n```\n"
                yield from self._docs(method.docs, method.value, entry.title)

    def _properties(self, docs: Docs, value: Any, title: str) -> Iterator[str]:
        """Yield what a class has besides the attributes of its docstring."""
        described = {name for name, _ in docs.attributes}
        types = attribute_types(value)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                if field.name not in described and not field.name.startswith("_"):
                    yield f"- `{field.name}` (`{types[field.name]}`)"
        for member in members(value) if isinstance(value, type) else ():
            if member.is_property and member.name not in described:
                text = " ".join(self._prose(member.docs.text, title).split())
                raised = "".join(
                    f" Raises {self._error(name)}: {self._prose(why, title)}"
                    for name, why in member.docs.raises
                )
                yield f"- `{member.name}` (`{types[member.name]}`): {text}{raised}"

    def _docs(self, docs: Docs, value: Any, title: str) -> Iterator[str]:
        yield self._prose(docs.text, title) + "\n"
        is_call = isinstance(value, type) and title not in CREATED and not docs.arguments
        label = "Arguments and attributes" if is_call else "Attributes"
        types = (argument_types(value) if is_call else {}) | attribute_types(value)
        arguments = [*self._items(docs.arguments, argument_types(value), title)]
        attributes = [*self._items(docs.attributes, types, title)]
        attributes += self._properties(docs, value, title)
        label = "Keys" if hasattr(value, "__total__") else label
        for name, lines in (("Arguments", arguments), (label, attributes)):
            if lines:
                yield "\n".join([f"{name}:\n", *lines, ""])
        if docs.returns:
            yield f"Returns: {self._prose(docs.returns, title)}\n"
        if docs.raises:
            yield "Raises:\n"
            for item, text in docs.raises:
                yield f"- {self._error(item)}: {self._prose(text, title)}"
            yield ""

    def _items(
        self, items: list[tuple[str, str]], types: dict[str, str], title: str
    ) -> Iterator[str]:
        for item, text in items:
            kind = f" (`{types[item]}`)" if item in types else ""
            yield f"- `{item}`{kind}: {self._prose(text, title)}"

    def _error(self, name: str) -> str:
        """Return an exception, or the public class that a private one is derived from."""
        for key, module in () if name in self.targets else [*sys.modules.items()]:
            found: Any = vars(module).get(name) if key.startswith("personakit.") else None
            if _is_error(found):
                bases = [kind.__name__ for kind in found.__mro__]
                name = next((base for base in bases if base in self.targets), name)
                break
        return self._link(name) if name in self.targets else f"`{name}`"

    def _prose(self, text: str, title: str) -> str:
        """Return a text with links to the names in it, the first time each is named."""
        linked: set[str] = {title}

        def link(match: re.Match[str]) -> str:
            span = match[1]
            name = span.removeprefix("personakit.")
            room = title.partition(".")[0]
            near = f"{title}." if room not in _ROOMS else f"{room}."
            name = next((n for n in (name, f"{near}{name}") if n in self.targets), "")
            target = self.targets.get(name, "errors")
            if is_command(span) or target in {"errors", self.targets[title], *linked}:
                return f"`{span}`"
            linked.add(target)
            return f"[`{span}`](#{target})"

        return re.sub(r"`([^`\n]+)`", link, text)


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _is_headed(member: Member) -> bool:
    """Return whether a method has a heading, not a line in a list."""
    return member.docs.is_long or len(shown_signature(member.value, member.name).split("\n")) > 1


def _is_shared(name: str) -> bool:
    """Return whether a method of `Runner` is also a function of the module."""
    kind, _, method = name.rpartition(".")
    return kind == "Runner" and method in personakit.__all__


def _short(title: str) -> str:
    return title.rpartition(".")[2]


def _place(entry: Entry) -> tuple[str, ...]:
    """Return the classes from the base to an error, so that errors stand below their bases."""
    return tuple(kind.__name__ for kind in reversed(entry.value.__mro__))


def page() -> str:
    """Return the text of docs/python.md."""
    for name in dir(personakit):
        getattr(personakit, name)
    assert "personakit.errors" in sys.modules
    return Page().text()
