"""The order of plugins: what must stand outside or inside of what, and lists that break it.

A plugin states its rules as class attributes: `outside_of` and `inside_of`, the names of other
plugins. A plugin with `every_call` has no place in the order, so no rule is about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from personakit.base import NAME, shown
from personakit.errors import ConfigError, PersonaError, PluginError
from personakit.frozen import thaw
from personakit.persona import Document, Persona, PluginUse

CODE = "PK035"
RULES = ("outside_of", "inside_of")
EXAMPLE = '`outside_of = ("cache",)`'

_PYTHON = "`plugins=` in Python"
_AROUND = (
    "plugins of Python are outside of those of the config, these outside of those of a persona, "
    "and those of a parent outside of its children's"
)


class Entry(NamedTuple):
    """A plugin in a list.

    Attributes:
        name: Its name.
        target: Its class, module or object.
        use: The entry of a persona or of the config; None if it was passed in code.
        of_user: Whether it is outside of the persona's own list.
    """

    name: str
    target: Any
    use: PluginUse | None = None
    of_user: bool = False

    @property
    def document(self) -> Document | None:
        """The file that lists it."""
        return self.use.document if self.use else None


class Disorder(NamedTuple):
    """An order that a rule forbids.

    Attributes:
        message: What is wrong, and how to mend it.
        misplaced: The entries that stand too far inside.
    """

    message: str
    misplaced: list[Entry]


def rules(target: Any) -> dict[str, tuple[str, ...]]:
    """Return the names that a plugin must stand outside of, and inside of."""
    return {rule: tuple(getattr(target, rule, ())) for rule in RULES}


def check_rules(name: str, target: Any) -> None:
    """Check the attributes of a plugin that state its rules.

    Raises:
        PluginError: One is not a tuple of the names of other plugins, or both have a name.
    """
    for rule in RULES:
        value = getattr(target, rule, ())
        is_list = isinstance(value, tuple | list | set | frozenset)
        if not is_list or not all(isinstance(one, str) and NAME.match(one) for one in value):
            message = f"{rule} must be a tuple of names of plugins, found {shown(value)[:60]}"
            raise PluginError(f"{message}; write for example {EXAMPLE}", plugin=name)
        if name in value:
            raise PluginError(f"{rule} contains its own name; remove it", plugin=name)
    both = sorted(set(getattr(target, RULES[0], ())) & set(getattr(target, RULES[1], ())))
    if both:
        raise PluginError(
            f"{both[0]!r} is in outside_of and in inside_of; remove it from one", plugin=name
        )


def disorder(entries: Sequence[Entry]) -> Disorder | None:
    """Return what is wrong with the order of a list of plugins, outermost first; None if nothing.

    Args:
        entries: The plugins passed in code, those of the config, and those of a persona.
    """
    pairs = set(_pairs(entries))
    broken = sorted((outer, inner) for outer, inner in pairs if outer > inner)
    if not broken:
        return None
    must = dict.fromkeys(_rule(entries, *pair) for pair in broken)
    start = f"plugins: {', and '.join(must)} (the first one of a list is the outermost)"
    misplaced = [entries[outer] for outer in dict.fromkeys(outer for outer, _ in broken)]
    if _sorted(range(len(entries)), pairs) is None:
        circle = " and ".join(dict.fromkeys(_rule(entries, *p) for p in _circle(pairs)))
        message = f"plugins: {circle}, so no order is right; remove one of them"
        return Disorder(message, misplaced)
    ways = [*_sortings(entries, pairs, broken), *_moves(entries, broken)]
    return Disorder(f"{start}; {'; '.join(ways)}", misplaced)


def check(entries: Sequence[Entry], persona: Persona) -> None:
    """Check the order of the plugins of a run.

    Raises:
        PersonaError: A rule forbids it, with the place of an entry of the persona.
        ConfigError: Only plugins outside of the persona's list break the rule.
    """
    wrong = disorder(entries)
    if wrong is None:
        return
    entry = next((one for one in wrong.misplaced if not one.of_user), wrong.misplaced[0])
    source = entry.document or (None if entry.of_user else persona.document)
    if source is None or entry.use is None:
        raise ConfigError(wrong.message)
    problem = source.problem(wrong.message, entry.use.at, code=CODE)
    raise ConfigError(str(problem)) if entry.of_user else PersonaError([problem])


def _pairs(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Yield the indexes of each entry and of one that must be inside of it."""
    placed = [
        (index, entry)
        for index, entry in enumerate(entries)
        if not getattr(entry.target, "every_call", False)
    ]
    for index, entry in placed:
        own = rules(entry.target)
        for other, one in placed:
            if one.name in own["outside_of"]:
                yield index, other
            if one.name in own["inside_of"]:
                yield other, index


def _rule(entries: Sequence[Entry], outer: int, inner: int) -> str:
    return f"{entries[outer].name!r} must be outside of {entries[inner].name!r}"


def _sorted(indexes: Iterable[int], pairs: set[tuple[int, int]]) -> list[int] | None:
    """Return indexes in the right order, changed as little as possible; None for a circle."""
    order: list[int] = []
    waiting = list(indexes)
    while waiting:
        free = (n for n in waiting if not any((other, n) in pairs for other in waiting))
        first = next(free, None)
        if first is None:
            return None
        order.append(first)
        waiting.remove(first)
    return order


def _circle(pairs: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return pairs that form a circle; there is one."""
    within = set(pairs)
    while True:  # what is at no start or no end of a pair is in no circle
        starts, ends = {a for a, _ in within}, {b for _, b in within}
        kept = {pair for pair in within if pair[0] in ends and pair[1] in starts}
        if kept == within:
            break
        within = kept
    path = [min(within)]
    while True:
        following = min(pair for pair in within if pair[0] == path[-1][1])
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _sortings(
    entries: Sequence[Entry], pairs: set[tuple[int, int]], broken: Iterable[tuple[int, int]]
) -> Iterator[str]:
    """Yield the right order of each list that breaks a rule by itself."""
    sources = [_source(entry) for entry in entries]
    for source in dict.fromkeys(sources[a] for a, b in broken if sources[a] == sources[b]):
        order = _sorted((n for n, one in enumerate(sources) if one == source), pairs) or ()
        right = [entries[index] for index in order]
        if source == _PYTHON:  # objects have no form in YAML
            yield f"the right order: {', '.join(one.name for one in right)} in {_PYTHON}"
        else:
            yield f"the right order: {_list(right)}" + (
                f" in {source}" if len(set(sources)) > 1 else ""
            )


def _moves(entries: Sequence[Entry], broken: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Yield how to mend each rule that two lists break together: no order of one mends it."""
    moves: dict[str, None] = {}
    listed = {(entry.name, _source(entry)) for entry in entries}
    for outer, inner in ((entries[a], entries[b]) for a, b in broken):
        near, far = _source(inner), _source(outer)
        if near == far:
            continue
        ways = [_move(outer.name, far, near, f"before {inner.name!r}", listed)]
        if near != _PYTHON or inner.use is not None:  # an object has no name in a file
            ways.append(_move(inner.name, near, far, f"after {outer.name!r}", listed))
        moves[", or ".join(ways)] = None
    yield from moves
    if moves:
        yield _AROUND


def _move(name: str, start: str, end: str, place: str, listed: set[tuple[str, str]]) -> str:
    if (name, end) in listed:
        return f"remove {name!r} from {start}, since it is in {end} as well"
    return f"move {name!r} from {start} to {end}, {place}"


def _source(entry: Entry) -> str:
    """Return what lists an entry: the path of a file, the config, a persona, or the code."""
    if entry.document is not None:
        return entry.document.path
    return _PYTHON if entry.of_user else "the persona"


def _list(entries: Iterable[Entry]) -> str:
    """Return a list of plugins as a line of YAML; the options of the user are not shown."""
    written = [_written(entry) for entry in entries]
    note = " (… stands for its options)" if any("…" in one for one in written) else ""
    return f"`plugins: [{', '.join(written)}]`{note}"


def _written(entry: Entry) -> str:
    use = entry.use
    if use is None or not (use.options or use.on_error != "fail"):
        return entry.name
    options = "…" if entry.of_user else json.dumps(thaw(use.options), ensure_ascii=False)
    if use.on_error == "fail":
        return f"{{{entry.name}: {options}}}"
    options = f"options: {options}, " if use.options else ""
    return f"{{use: {entry.name}, {options}on_error: {use.on_error}}}"
