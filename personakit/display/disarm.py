"""Markdown of a model that cannot act: no HTML, no links but those of the web, no remote images.

A notebook keeps what it shows, and people send notebooks and their exports to others. An answer is
written by a model, which may have read a text of an attacker's. Every front end has a Markdown
parser of its own, so a text must be harmless to all of them: what is changed here does not depend
on where a parser sees code, a list or a paragraph. Outside of code, characters become entities,
which every parser shows as the character and none reads as syntax. Code that would be harmful to a
parser that does not take it for code becomes one line of HTML: definitions of links are read before
spans, and some parsers see no fence, or another one, where this module sees one.

Source of the rules of Markdown: https://spec.commonmark.org/0.31.2/
"""

from __future__ import annotations

import functools
import html
import itertools
import re
from collections.abc import Iterator

# Every repetition is bounded or cannot overlap with the next one: an answer must not take a second.
_LEAD = r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t][ \t>]*)*"
_FENCE = re.compile(rf"({_LEAD})(`{{3,}}(?=[^`\n]*$)|~{{3,}})[ \t]*([^\n]*)\n?\Z")
_MATH = re.compile(
    r"\$\$(?:(?!\n\n)[^$])+\$\$|\$[^$\n]+\$|\\\([^\n]{1,500}?\\\)|\\\[(?:(?!\n\n)[\s\S]){1,500}?\\\]"
)
_SAFE = r"(?:https?://|mailto:|#)[^\s\"<>`\\]*"
# HTML has no tag where one of these follows.
_TAG = r"<(?![\s\d=\-]|\Z)"
_LINK = rf"\](?=\s?\((?!\s*<?{_SAFE}[)>\s]))"
_NAMED = rf"\](?=:(?!\s*<?{_SAFE}(?:[>\s]|\Z)))"
_AUTO = re.compile(rf"<({_SAFE})>", re.IGNORECASE)
_PICTURE = re.compile(r"!\[([^\[\]]*)\](?=\(\s*<?https?://[^\s\"<>`\\]*[)>\s])", re.IGNORECASE)
# MathJax reads the page, in which an entity is its character; only numbers stand for letters.
_BACKSLASH = r"(?:\\|&#0*92(?!\d);?|&#[xX]0*5[cC](?![\da-fA-F]);?|&bsol;)"
# The commands of MathJax that link to, style or load something, or a name that is not readable.
_COMMAND = re.compile(
    rf"{_BACKSLASH}"
    r"(?=(?:bbox|csname|href|includegraphics|require|style)(?![a-zA-Z])|[a-zA-Z]{0,15}&#)"
)
# What a parser that sees no code here could read as the definition of a link. Not all of `]:` is:
# most of it in code of Python begins a block.
_DEFINED = rf"^{_LEAD}(?:\[(?:\\.|[^\[\]\\]){{0,999}})?\]:|\]:[\s>]*(?:<|[^\s:&\\/]*[:&\\/])"
# Info strings can contain entities and escapes.
_DIAGRAM = r"[ \t]{0,99}(?:mermaid|[&\\])"
_HARM = re.compile(
    rf"{_TAG}|!\[|{_LINK}|{_DEFINED}|[`~]{{3}}{_DIAGRAM}|{_COMMAND.pattern}",
    re.IGNORECASE | re.MULTILINE,
)
# A definition can begin before the code, and a fence after it. HTML looks the same as a span.
_SPAN_HARM = re.compile(rf"```|\]:|{_HARM.pattern}", re.IGNORECASE | re.MULTILINE)
_PLAIN = re.compile(r"[^\w .,;%/+=()?\u2026\u00b7-]|_")


def _by_entity(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(\\{{0,8}})(?:{pattern})", re.IGNORECASE)


_ENTITIES = (
    (_by_entity(_TAG), "&lt;"),
    (_by_entity(_LINK), "&#93;"),
    (_by_entity(_NAMED), "&#93;"),
)
_NO_PICTURES = (
    (_by_entity(r"!(?=\[)"), "&#33;"),
    # Some parsers see a fence in a list of definitions or in a footnote.
    (_by_entity(rf"(?<=``)`(?={_DIAGRAM})"), "&#96;"),
    (_by_entity(rf"(?<=~~)~(?={_DIAGRAM})"), "&#126;"),
)


def disarmed(text: str, *, images: bool = False) -> str:
    """Return Markdown that neither runs nor loads anything when it is shown.

    HTML becomes visible text. A link stays if it leads to ``http``, ``https``, ``mailto`` or a
    heading, else it becomes text. A remote image becomes a link, because its address can carry
    what a conversation contains to a server; a diagram, which can contain images, stays source.

    Args:
        text: The Markdown of a model, whole or as far as it has arrived.
        images: Whether to show remote images and diagrams.
    """
    done: list[str] = []
    prose: list[str] = []
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = iter(re.findall(r"[^\n]*\n|[^\n]+", text))
    for line in lines:
        opened = _FENCE.match(line)
        if opened is None:
            prose.append(line)
            continue
        done.append(_prose("".join(prose), images))
        prose.clear()
        done.append(_fenced(opened, list(_until_closed(lines, opened)), images))
    return "".join((*done, _prose("".join(prose), images)))


def entities(text: str) -> str:
    """Return a text as HTML that is on one line, and that no Markdown parser reads as syntax."""
    return _PLAIN.sub(lambda found: f"&#{ord(found[0])};", text)


def _until_closed(lines: Iterator[str], opened: re.Match[str]) -> Iterator[str]:
    """Yield the lines of a fenced block up to the one that closes it, which is added if missing."""
    lead, fence = opened[1], opened[2]
    last = "\n"
    for last in lines:
        yield last
        inner = last.strip(" \t>\n")
        if len(inner) >= len(fence) and not inner.strip(fence[0]):
            return
    around = lead if ">" in lead else " " * len(lead)
    yield f"{'' if last.endswith(chr(10)) else chr(10)}{around}{fence}\n"


def _fenced(opened: re.Match[str], lines: list[str], images: bool) -> str:
    lead, _, info = opened.groups()
    *body, end = lines
    named = html.unescape(info).replace("\\", "").lower()
    is_diagram = "mermaid" in named and not images
    if is_diagram or _HARM.search(info + "\n" + "".join(_without(line, lead) for line in body)):
        code = "".join(_without(line, lead) for line in body)
        return f"{lead}<pre><code>{entities(code.rstrip(chr(10)))}</code></pre>\n\n"
    return "".join((opened[0] if opened[0].endswith("\n") else f"{opened[0]}\n", *body, end))


def _without(line: str, lead: str) -> str:
    """Return a line of code without the indentation of its list and the marks of its quote."""
    end = 0
    while end < min(len(lead), len(line)) and line[end] in (" \t>" if ">" in lead else " \t"):
        end += 1
    return line[end:]


def _prose(text: str, images: bool) -> str:
    """Return a text without fenced blocks."""
    parts = []
    for paragraph in re.split(r"(\n[ \t>]*\n)", text):
        end = 0
        for start, stop, code in _spans(paragraph):
            parts.append(_text(paragraph[end:start], images))
            safe = f"<code>{entities(' '.join(code.split()))}</code>"
            parts.append(
                safe if _SPAN_HARM.search(paragraph[start:stop]) else paragraph[start:stop]
            )
            end = stop
        parts.append(_text(paragraph[end:], images))
    return "".join(parts)


def _spans(paragraph: str) -> Iterator[tuple[int, int, str]]:
    """Yield the start, the end and the content of each code span."""
    runs = [(m.start(), m.end()) for m in re.finditer(r"`+", paragraph)]
    closing: dict[int, int] = {}
    after = [0] * len(runs)
    for index in range(len(runs) - 1, -1, -1):
        size = runs[index][1] - runs[index][0]
        after[index], closing[size] = closing.get(size, 0), index
    skipped = 0
    for index, (start, stop) in enumerate(runs):
        if index < skipped or not after[index] or paragraph[start - 1 : start] == "\\":
            continue
        end = runs[after[index]]
        yield start, end[1], paragraph[stop : end[0]]
        skipped = after[index] + 1


def _text(text: str, images: bool) -> str:
    """Return a text without code."""
    text = _MATH.sub(lambda math: re.sub(_TAG, r"\\lt ", math[0]), text)
    text = _COMMAND.sub(r"\g<0> ", _AUTO.sub(r"\1", text))
    if not images:
        text = _PICTURE.sub(lambda found: f"[{found[1].strip() or 'image'}]", text)
    for pattern, entity in itertools.chain(_ENTITIES, () if images else _NO_PICTURES):
        # A backslash before an entity would show the entity.
        text = pattern.sub(functools.partial(_replaced, entity), text)
    return text


def _replaced(entity: str, found: re.Match[str]) -> str:
    return found[1][: len(found[1]) // 2 * 2] + entity
