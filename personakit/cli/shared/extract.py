"""The code in an answer, for `-x`; the only user of markdown-it besides rich."""

from __future__ import annotations

from typing import NamedTuple

from personakit.cli.shared import output


class Block(NamedTuple):
    """A fenced code block.

    Attributes:
        code: Its content; each of its lines ends with a line break.
        is_closed: Whether the block ends with a fence, and not with the answer.
    """

    code: str
    is_closed: bool


def first_block(text: str) -> Block | None:
    """Return the first fenced code block of an answer, also inside a list or a quote.

    Source of the rules: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
    """
    from markdown_it import MarkdownIt  # noqa: PLC0415

    # Parsing inline text takes most of the time. A fence after a line of HTML is one to a model.
    blocks = MarkdownIt("commonmark").disable(["inline", "html_block"]).parse(text)
    found = next((token for token in blocks if token.type == "fence"), None)
    if found is None or found.map is None:
        return None
    code = found.content
    if code and not code.endswith("\n"):
        code += "\n"
    first, end = found.map
    return Block(code, end - first == code.count("\n") + 2)


def print_code(text: str) -> None:
    """Print the first code block of an answer; an answer without one is printed whole."""
    block = first_block(text)
    if block is None:
        _note("the answer contains no fenced code block, so all of it is printed")
        output.echo(text)
        return
    output.echo(block.code, end="")
    if not block.is_closed:
        _note("the code block has no closing fence; its end may be missing")
    elif not block.code:
        _note("the code block is empty")


def _note(text: str) -> None:
    output.line(f"personakit: {text}", err=True)
