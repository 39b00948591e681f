"""An answer cannot act where a notebook shows it, whichever parser reads its Markdown."""

from __future__ import annotations

import html
import re
import time

import pytest
from helpers.hostile import IMG, VECTORS, Page
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from personakit import Message, Request, Response, Usage
from personakit.base import printable

PARSERS = {
    name: MarkdownIt(name, {"html": True}).enable(["table", "strikethrough"])
    for name in ("commonmark", "js-default")
}
for _parser in PARSERS.values():
    # Other parsers refuse no link.
    setattr(_parser, "validateLink", lambda url: True)  # noqa: B010
PIECES = (
    "` `` ``` ```html ~~~ ~~~~ $ $$ \\ \\( \\[ \\] | * _ # [ ] ( ) ]( ]: ![ [r]: [r] < > <a <! "
    "<? </ &lt; &#60; javascript:x JavaScript:x https://ok.org https://evil.example/x.png "
    "mailto:a@b.c data:text/html,x <script> <!-- --> <javascript:x> "
    "<https://ok.org> \\href{javascript:x} a 1. -"
).split(" ")
PIECES += [IMG, "> ", " ", "\n", "\n\n", "    ", "\t", "\n```mermaid\nx\n", "~~~mermaid\nx\n~~~\n"]
PIECES += ["\n[r]: javascript:x", "[a\\]b]: javascript:x", "[a`]: javascript:x//`"]
PIECES += "&#36; &#92; &#092 &#x5C; &bsol; &#92;href{javascript:x} &#104; &#x72; ref href".split(
    " "
)
# Names that a definition anywhere in a text would make links.
ENDS = "\n\n[x][r] [x][a\\]b] [x][a`]\n"
HARMS = "```mermaid ~~~mermaid <img <script <svg <iframe <style ](javascript ![ \\href{".split(" ")


COMMAND = re.compile(r"\\(bbox|csname|href|includegraphics|require|style)(?![a-zA-Z])")


def markdown(text: str) -> str:
    bundle = Response(text)._repr_mimebundle_()
    assert bundle["text/plain"] == printable(text)
    shown: str = bundle["text/markdown"]
    return shown.rpartition("<sub>")[0].rstrip()


def seen_by_mathjax(page: str) -> str:
    """Return the text of a page without code; MathJax finds no formula across an element."""
    outside = re.sub(r"<(code|pre)\b.*?</\1>", "\0", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "\0", outside))


def check(text: str) -> None:
    shown = markdown(text)
    for name, parser in PARSERS.items():
        # A parser that sees no code in it must not find anything either.
        for seen in (shown, shown.replace("`", "").replace("~", "")):
            page = parser.render(seen)
            assert Page(page).wrong == [], (name, shown)
            assert "language-mermaid" not in page.lower()
        for seen in (shown, shown.replace("`", "'").replace("~", "-")):
            page = parser.render(seen)
            assert not COMMAND.search(seen_by_mathjax(page)), (name, shown)
    for harm in HARMS:
        assert harm not in shown


@pytest.mark.parametrize("name", VECTORS)
def test_a_hostile_answer_cannot_act(name: str) -> None:
    check(VECTORS[name])


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@example("![a](https://evil.example/x.png)")
@example("\\<img src=x onerror=x> \\![a](https://evil.example) [a\\](javascript:x)")
@example("`a\n> \n<img src=x>`")
@example("<\x00img src=x onerror=x>")
def test_nothing_can_act_however_it_is_composed(text: str) -> None:
    check(text)
    check(text + ENDS)


@pytest.mark.parametrize(
    "text",
    [
        "# Soup\n\n1. Cut **two** leeks.\n   - thinly\n2. Cook them.\n\n> a quote\n\n",
        "| a | b |\n|---|---|\n",
        "```python\nfor x in range(3):\n    print(x[0], d['k'])\n```",
        "```python\nif d[0]:\n    return\nfor x in y[1:]:\n    pass\nn[0]: int = 3\n```",
        "- a list\n  ```sh\n  ls -l | wc\n  ```\n",
        "1 < 2, a<=b, x <- y, I <3 it; `a < b`; $a < b$; \\(x\\)",
        "[a page](https://ok.org/a_(b)?c=d#e), [mail](mailto:a@b.c), [up](#soup), https://ok.org",
        "Wow! A [note] and d[0] = 1; C:\\new\\table",
        "[r]: https://ok.org\n",
        "AT&amp;T &copy; 5&#36; C:&#92;new \\&amp; $\\alpha &= \\beta$",
    ],
)
def test_an_ordinary_answer_is_not_changed(text: str) -> None:
    assert markdown(text) == text.rstrip()


def test_code_is_shown_as_it_is() -> None:
    code = "<p class='x'>\n\n  a && *b* \\` $c$ ![d](e)\n</p>"
    for text in (
        f"```html\n{code}\n```",
        f"- a\n\n{indented(f'~~~~ html {chr(10)}{code}{chr(10)}~~~~')}",
    ):
        for parser in PARSERS.values():
            assert code in Page(parser.render(markdown(text))).text
    assert "<b>" in Page(PARSERS["commonmark"].render(markdown("the tag `<b>` is"))).text


def indented(text: str) -> str:
    return "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))


def test_html_and_refused_links_are_shown_as_text() -> None:
    text = "a <b>bold</b> \\<i> [x](javascript:y) ![pic](https://ok.org/p.png) ![](https://ok.org)"
    page = Page(PARSERS["commonmark"].render(markdown(text)))
    assert page.text.strip() == "a <b>bold</b> <i> [x](javascript:y) pic image"


def test_what_follows_an_unfinished_block_is_not_part_of_it() -> None:
    shown = Response("```\nunfinished")._repr_mimebundle_()["text/markdown"]
    assert PARSERS["commonmark"].render(shown).endswith("unknown</sub></p>\n")


def test_the_footer_says_what_is_known_and_escapes_it() -> None:
    request = Request("openai/a_b*c*", messages=(Message("user", "x"),))
    response = Response("Hi!", usage=Usage(5, 12, 17), request=request)
    below = Response.replace(response, cost=0.1234)._repr_mimebundle_()["text/markdown"]
    assert Page(PARSERS["commonmark"].render(below)).text.split("\n")[1] == (
        "openai/a_b*c* · 5 + 12 tokens · $0.1234"
    )
    assert "<span>&#36;</span>0.1234" in below  # in one text, two prices would be a formula
    tiny = Response("Hi!", cost=0.000_004)._repr_mimebundle_()["text/markdown"]
    assert tiny.endswith("</span>0.000004</sub>")
    unknown = Response("Hi!")._repr_mimebundle_()["text/markdown"]
    assert unknown.endswith("<sub>tokens unknown · cost unknown</sub>")


@pytest.mark.parametrize(
    "piece", ["[\n", "[a\n", "- ", "-  ", "` `` ", "~~~ ", *"` < \\( ![ ]( \\ $ ~ ]:".split(" ")]
)
def test_a_long_answer_takes_time_in_proportion(piece: str) -> None:
    began = time.perf_counter()
    markdown(piece * 20_000)
    assert time.perf_counter() - began < 10
