"""Mustache (https://mustache.github.io/mustache.5.html) as templates of a persona."""

from __future__ import annotations

import re

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.templated.mustaches import Tag, tags_of, unclosed
from personakit.formats.templates import Builder, Text

_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*\Z")


def from_mustache(source: str, draft: Draft) -> Text:
    """Return a template of Mustache.

    Args:
        source: The template. Values are not escaped for HTML.
        draft: Its variables are declared; those without a value are empty.

    Raises:
        Unreadable: A tag is invalid or a section is not closed.
    """
    builder, stack = Builder(), list[tuple[Tag, str]]()
    for tag in tags_of(source):
        if tag.kind == "text":
            builder.text(tag.code)
        elif tag.kind == "value":
            _value(builder, draft, tag, [scope for _, scope in stack])
        elif tag.kind in ("#", "^"):
            _open(builder, draft, tag, stack)
        elif tag.kind == "/":
            if not stack or stack[-1][0].code != tag.code:
                raise Unreadable(f"{{{{/{tag.code}}}}} closes no section", tag.line)
            _, scope = stack.pop()
            builder.statement("endfor" if scope else "endif")
        elif tag.kind == ">":
            raise Unreadable(f"the partial {tag.code!r:.60} is not there", tag.line)
    if stack:
        raise unclosed(stack[-1][0])
    return builder.built()


def _value(builder: Builder, draft: Draft, tag: Tag, scopes: list[str]) -> None:
    code = looked_up(draft, tag, scopes, text=True)
    own = draft.renamed.get(tag.code, "")
    if not any(scopes) and draft.variables.get(own, {}).get("type", "string") == "string":
        builder.expression(f"{code} or ''" if code == own else code)
    else:
        builder.expression(f"'' if {code} is none else {code}")


def _open(builder: Builder, draft: Draft, tag: Tag, stack: list[tuple[Tag, str]]) -> None:
    code = looked_up(draft, tag, [scope for _, scope in stack], text=False)
    if tag.kind == "^":
        builder.statement(f"if not {code}")
        stack.append((tag, ""))
        return
    scope = f"item{len(stack) + 1}"
    is_list = f"{code} is sequence and {code} is not string and {code} is not mapping"
    builder.statement(f"for {scope} in ({code} if {is_list} else [{code}] if {code} else [])")
    stack.append((tag, scope))


def looked_up(draft: Draft, tag: Tag, scopes: list[str], *, text: bool) -> str:
    """Return the expression of a name: in the innermost section that has it, else the variable."""
    if tag.code == ".":
        inner = [scope for scope in scopes if scope]
        if not inner:
            raise Unreadable("{{.}} stands in no section", tag.line)
        return inner[-1]
    if not _PATH.match(tag.code):
        raise Unreadable(f"{{{{{tag.code}}}}} is no name", tag.line)
    first, *rest = tag.code.split(".")
    type_ = None if text and not rest else "any"
    known = draft.variables.get(draft.renamed.get(first, ""), {})
    if "default" in known or known.get("required"):
        own = draft.variable(first)
    else:
        own = draft.variable(first, required=False, type=known.get("type") or type_)
    code = own
    for scope in scopes:
        if scope:
            field = f"{scope}.{first}"
            code = f"({field} if {scope} is mapping and {field} is defined else {code})"
    for part in rest:
        code = f"({code}.{part} if {code} is mapping and {code}.{part} is defined else none)"
    return code
