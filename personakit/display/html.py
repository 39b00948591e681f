"""HTML of our own: every text and every attribute passes through one function that escapes it."""

from __future__ import annotations

import html
from collections.abc import Iterable

from personakit.base import counted

LONGEST = 20_000
"""The longest text of a message that is shown, in characters."""
_GREY = "var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #767676))"
_LINE = "1px solid var(--jp-border-color2, var(--vscode-panel-border, rgba(128, 128, 128, 0.4)))"
STYLES = {
    "box": f"border: {_LINE}; border-radius: 3px; margin: 4px 0; padding: 4px 8px",
    "grey": f"color: {_GREY}",
    "head": "cursor: pointer",
    "left": "text-align: left; vertical-align: top",
    "pre": "margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; background: none",
    "added": "color: var(--jp-success-color1, #2e8b57)",
    "removed": "color: var(--jp-error-color1, #d9534f)",
    "warned": "color: var(--jp-warn-color1, #b8860b)",
    "place": "color: var(--jp-info-color1, #2a8bb5)",
}


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, style: str = "", **attributes: str | bool) -> Html:
    """Return an element; children that are not `Html` are escaped.

    Args:
        name: The name of the element.
        children: Its content.
        style: A key of `STYLES`.
        attributes: Its attributes; True for one without a value.
    """
    if style:
        attributes["style"] = STYLES[style]
    written = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not False
    )
    return Html(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Html:
    """Return several pieces as one."""
    return Html("".join(it if isinstance(it, Html) else html.escape(it) for it in children))


def shown(*children: str) -> Html:
    """Return what a notebook shows, in which a dollar sign begins no formula.

    Source of the classes: https://docs.mathjax.org/en/latest/options/document.html and, for
    version 2, https://docs.mathjax.org/en/v2.7-latest/options/preprocessors/tex2jax.html
    """
    return tag("div", *children, **{"class": "mathjax_ignore tex2jax_ignore"})


def text(value: str) -> Html:
    """Return a text of several lines, cut if it is very long."""
    more = len(value) - LONGEST
    return joined(
        tag("pre", value[:LONGEST], style="pre"),
        tag("div", f"… {counted(more, 'more character')}", style="grey") if more > 0 else "",
    )


def folded(title: str, *children: str, is_open: bool = False) -> Html:
    """Return a box that opens when its title is clicked."""
    head = tag("summary", title, style="head")
    return tag("details", head, *children, style="box", open=is_open)


def table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Html:
    """Return a table; a cell may be `Html`."""
    head = tag("tr", *(tag("th", title, style="left") for title in titles))
    body = [tag("tr", *(tag("td", cell, style="left") for cell in row)) for row in rows]
    return tag("table", tag("thead", head), tag("tbody", *body))


def diff(lines: str) -> Html:
    """Return the lines of a diff, coloured."""
    styles = {"+": "added", "-": "removed", "@": "place"}
    shown = [tag("span", f"{line}\n", style=styles.get(line[:1], "")) for line in lines.split("\n")]
    return tag("pre", *shown, style="pre")
