"""Handlebars (https://handlebarsjs.com/guide/) as templates of a persona."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.templated.mustaches import Tag, tags_of, unclosed
from personakit.formats.templates import Builder

_WORD = re.compile(r"""[^\s"'=]+=(?:"[^"]*"|'[^']*'|[^\s"']+)|"[^"]*"|'[^']*'|[^\s"']+""")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?\Z")
_SEGMENT = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_BLOCKS = ("if", "unless", "each", "with", "ifEquals", "unlessEquals")
_MOST_PARTIALS = 1000

Partial = Callable[[str], "str | None"]
Helper = Callable[[list[str]], bool]


@dataclass(slots=True)
class _Scope:
    """What names mean inside of a block.

    Attributes:
        name: The name of the value in the template; empty for the variables of the persona.
        container: The expression of what a loop goes over; empty outside of one.
        key: The name of the loop's item or key.
        values: The arguments of a partial, by name.
    """

    name: str = ""
    container: str = ""
    key: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Compiler:
    """Translates templates of Handlebars.

    Attributes:
        draft: Its variables are declared.
        builder: Gets the template.
        partial: Returns the source of a partial by its name; None if there is none.
        helper: Called with the words of a tag that is no value; returns whether it is known.
        optional: Whether variables without a declaration may be left out.
    """

    draft: Draft
    builder: Builder
    partial: Partial
    helper: Helper
    _blocks: list[tuple[str, Tag, int]] = field(default_factory=list)
    _scopes: list[_Scope] = field(default_factory=lambda: [_Scope()])
    _partials: list[str] = field(default_factory=list)
    _count: int = 0

    @property
    def depth(self) -> int:
        """How many blocks are open."""
        return len(self._blocks)

    def add(self, source: str) -> None:
        """Translate a template.

        Raises:
            Unreadable: A tag cannot be translated, or a block is not closed.
        """
        begun = len(self._blocks)
        for tag in tags_of(source):
            if tag.kind == "text":
                self.builder.text(tag.code)
            elif tag.kind == "value":
                self._value(tag)
            elif tag.kind == "#":
                self._open(tag)
            elif tag.kind == "else":
                self._else(tag)
            elif tag.kind == "/":
                self._close(tag)
            elif tag.kind == ">":
                self._include(tag)
            elif tag.kind == "^":
                self._open(Tag("#", f"unless {tag.code}", tag.line), closes=tag.code)
        if len(self._blocks) > begun:
            raise unclosed(self._blocks[-1][1])

    # --- values ----------------------------------------------------------------------------------

    def _value(self, tag: Tag) -> None:
        words = _WORD.findall(tag.code)
        if not words:
            raise Unreadable("{{}} is empty", tag.line)
        if words[0] == "json":
            self._json(tag, words[1:])
        elif self.helper(words):
            return
        elif len(words) > 1:
            raise Unreadable(f"unknown helper {words[0]!r:.40}; a persona cannot call it", tag.line)
        else:
            code = self._path(words[0], tag)
            self.builder.expression(self._shown(code, words[0]))

    def _json(self, tag: Tag, words: list[str]) -> None:
        indent = next((w.partition("=")[2] for w in words if w.startswith("indent=")), "")
        names = [word for word in words if "=" not in word]
        if len(names) != 1:
            raise Unreadable(f"json needs one value: {tag.code!r:.40}", tag.line)
        how = f"indent={int(indent)}" if indent.isdigit() and int(indent) else "compact=true"
        self.builder.expression(f"{self._path(names[0], tag)} | tojson({how})")

    def _shown(self, code: str, word: str) -> str:
        """Return the expression of a value as JavaScript writes it."""
        kind = self._type(code)
        if kind == "string":
            declared = self.draft.variables[code]
            return f"{code} or ''" if declared.get("required") is False else code
        if (
            kind in ("integer", "number")
            and self.draft.variables[code].get("required") is not False
        ):
            return code
        if word.startswith("@"):
            return code
        return (
            f"'true' if {code} is true else 'false' if {code} is false else "
            f"'' if {code} is none else {code}"
        )

    def _type(self, code: str) -> str:
        """Return the declared type of an expression that is a variable; else ``any``."""
        declared = self.draft.variables.get(code)
        return "any" if declared is None else str(declared.get("type", "string"))

    def _path(self, word: str, tag: Tag) -> str:
        """Return the expression of a path, or of a literal."""
        if word[0] in "\"'":
            return json.dumps(word[1:-1], ensure_ascii=False)
        if _NUMBER.match(word) or word in ("true", "false"):
            return word
        if word in ("null", "undefined"):
            return "none"
        scopes = list(self._scopes)
        while word.startswith("../"):
            word = word[3:]
            if len(scopes) > 1:
                scopes.pop()
        if word.startswith("@"):
            return self._data(word, scopes, tag)
        parts = word.removeprefix("this.").removeprefix("./").split(".")
        parts = [part.strip("[]") for part in parts]
        scope = scopes[-1]
        if parts in (["this"], ["", ""], [""]):
            if not scope.name:
                raise Unreadable("{{this}} stands in no block", tag.line)
            return scope.name
        bad = next((part for part in parts if not _SEGMENT.match(part)), None)
        if bad is not None and not all(part.isdigit() or _SEGMENT.match(part) for part in parts):
            raise Unreadable(f"{word!r:.40} is no path that a persona can follow", tag.line)
        return self._followed(parts, scope)

    def _followed(self, parts: list[str], scope: _Scope) -> str:
        first, *rest = parts
        if first in scope.values:
            code = scope.values[first]
        elif scope.name:
            code = _member(scope.name, first)
        else:
            code = self._variable(first, is_text=not rest)
        for part in rest:
            code = _member(code, part)
        return code

    def _variable(self, name: str, *, is_text: bool) -> str:
        own = self.draft.renamed.get(name)
        if own is not None:
            if not is_text and self.draft.variables[own].get("type", "string") == "string":
                self.draft.variable(name, type="any")
            return own
        return self.draft.variable(name, type="any", required=False)

    def _data(self, word: str, scopes: list[_Scope], tag: Tag) -> str:
        loop = next((scope for scope in reversed(scopes) if scope.container), None)
        name = word[1:]
        if name in ("index", "key", "first", "last"):
            if loop is None:
                raise Unreadable(f"{word} stands in no #each", tag.line)
            if name == "key":
                return f"({loop.key} if {loop.container} is mapping else {loop.key}_at)"
            return {"index": f"{loop.key}_at"}.get(name, f"{loop.key}_{name}")
        if name.startswith("root."):
            return self._followed(name.split(".")[1:], _Scope())
        own = self.draft.variable(name.replace(".", "_"), type="any", required=False)
        self.draft.note(
            "builtin", f"{word} is given by the program; here it is the variable {own!r}"
        )
        return own

    # --- blocks ----------------------------------------------------------------------------------

    def _open(self, tag: Tag, closes: str = "") -> None:
        words = _WORD.findall(tag.code)
        name = words[0] if words else ""
        if name not in _BLOCKS or len(words) < 2:
            raise Unreadable(f"unknown block {name!r:.40}; a persona cannot call it", tag.line)
        scopes = len(self._scopes)
        if name in ("if", "unless", "ifEquals", "unlessEquals"):
            self.builder.statement(f"if {self._condition(words, tag)}")
        elif name == "each":
            self._each(self._path(words[1], tag))
        else:
            code = self._path(words[1], tag)
            self.builder.statement(f"if {self._truth(code)}")
            self._scopes.append(_Scope(code))
        self._blocks.append((closes or name, tag, scopes))

    def _condition(self, words: list[str], tag: Tag) -> str:
        if words[0] in ("if", "unless"):
            truth = self._truth(self._path(words[1], tag))
            return truth if words[0] == "if" else f"not ({truth})"
        if len(words) != 3:
            raise Unreadable(f"{words[0]} compares two values: {tag.code!r:.60}", tag.line)
        left, right = (self._path(word, tag) for word in words[1:])
        same = f"({left} == {right} and ({left} is boolean) == ({right} is boolean))"
        return same if words[0] == "ifEquals" else f"not {same}"

    def _truth(self, code: str) -> str:
        """Return the condition that a value is true in Handlebars: an empty object is."""
        return (
            code if self._type(code) not in ("any", "object") else f"({code} or {code} is mapping)"
        )

    def _each(self, code: str) -> None:
        self._count += 1
        key, item = f"key{self._count}", f"item{self._count}"
        walked = f"{code} is mapping or ({code} is sequence and {code} is not string)"
        self.builder.statement(f"for {key} in ({code} if {walked} else [])")
        self.builder.statement(f"set {item} = {code}[{key}] if {code} is mapping else {key}")
        self.builder.statement(f"set {key}_at = loop.index0")
        self.builder.statement(f"set {key}_first = loop.first")
        self.builder.statement(f"set {key}_last = loop.last")
        self._scopes.append(_Scope(item, code, key))

    def _else(self, tag: Tag) -> None:
        if not self._blocks:
            raise Unreadable("{{else}} stands in no block", tag.line)
        name, _, scopes = self._blocks[-1]
        del self._scopes[scopes:]
        rest = tag.code.removeprefix("else").strip()
        if not rest:
            self.builder.statement("else")
            return
        words = _WORD.findall(rest)
        if words[0] not in ("if", "unless", "ifEquals", "unlessEquals") or name == "each":
            raise Unreadable(f"{{{{{tag.code}}}}} cannot be translated", tag.line)
        self.builder.statement(f"elif {self._condition(words, tag)}")

    def _close(self, tag: Tag) -> None:
        name = tag.code.strip()
        if not self._blocks or self._blocks[-1][0] != name:
            raise Unreadable(f"{{{{/{name}}}}} closes no block", tag.line)
        kind, _, scopes = self._blocks.pop()
        del self._scopes[scopes:]
        self.builder.statement("endfor" if kind == "each" else "endif")

    # --- partials --------------------------------------------------------------------------------

    def _include(self, tag: Tag) -> None:
        words = _WORD.findall(tag.code)
        name = words[0].strip("\"'") if words else ""
        if name in self._partials:
            raise Unreadable(f"the partial {name!r} includes itself", tag.line)
        self._count += 1
        source = self.partial(name)
        if source is None or self._count > _MOST_PARTIALS:
            raise Unreadable(f"the partial {name!r:.60}, _{name}.prompt, is not there", tag.line)
        context = [word for word in words[1:] if "=" not in word]
        scope = self._scopes[-1]
        if context:
            scope = _Scope(self._path(context[0], tag))
        given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        values = {key: self._path(value, tag) for key, value in given.items()}
        inner = _Scope(scope.name, scope.container, scope.key, {**scope.values, **values})
        self._scopes.append(inner)
        self._partials.append(name)
        self.add(source)
        self._partials.pop()
        self._scopes.pop()


def _member(code: str, name: str) -> str:
    """Return the expression of a field; null if there is none."""
    if name.isdigit():
        return f"({code}[{name}] if {code} is sequence and {code} | length > {name} else none)"
    key = json.dumps(name)
    return f"({code}[{key}] if {code} is mapping and {key} in {code} else none)"
