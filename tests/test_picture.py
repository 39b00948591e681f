"""The picture of a terminal in the README shows what the commands print.

A change is made on purpose: ``GOLDEN=write pytest tests/test_picture.py``.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from helpers import pages
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from personakit.testing import Server

FILE = Path(__file__).parent.parent / "docs" / "terminal.svg"
PERSONA = """\
description: Turns a commit into a line of the changelog.
parameters: {temperature: 0, max_tokens: 60}
variables:
  app: Notely
  reader: {enum: [users, admins], default: users}
system: You write the changelog of {{ app }} for its {{ reader }}.
messages:
  - user: "Commit: feat(export): add csv writer"
  - assistant: You can now export your notes as CSV files.
prompt: "Commit: {{ input }}"
tests:
  - prompt: "feat(editor): add dark mode"
    expect: {contains: dark mode, not_contains: feat, max_words: 20}
"""
ANSWER = "You can now edit your text in dark mode."  # that of the embedded model
COMMANDS = [
    "cat personas/changelog.yaml",
    'personakit render changelog "feat(editor): add dark mode" -v reader=admin',
    'personakit run changelog "feat(editor): add dark mode"',
    "personakit test -v -m local",
]
WIDTH = 92
THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (201, 209, 217)],
)  # fmt: skip
# Without the fonts of rich's own format, which are loaded from the network.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix, .{unique_id}-title {{
font: {char_height}px/{line_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The session, as an SVG."""
    folder = tmp_path_factory.mktemp("project")
    file = folder / "personas" / "changelog.yaml"
    file.parent.mkdir()
    file.write_text(PERSONA, "utf-8")
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="standard"
    )
    with Server([ANSWER]) as server:
        env = pages.environment(tmp_path_factory.mktemp("reader"), server.base_url)
        for number, line in enumerate(COMMANDS):
            _, output = pages.typed(line, folder, env)
            console.print("\n" if number else "", end="")
            console.print(Text.assemble(("$ ", "green"), (line, "bold")))
            console.print(Text.from_ansi("\n".join(pages.stable(output, colours=True))))
    return console.export_svg(
        title="personakit", theme=THEME, code_format=FORMAT, unique_id="terminal"
    )


def lines(svg: str) -> list[str]:
    """Return the lines of text in a picture; how rich writes them depends on its version."""
    found: dict[float, str] = {}
    for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        height = float(text.get("y", "0"))
        found[height] = found.get(height, "") + "".join(text.itertext()).replace("\xa0", " ")
    return [found[height].rstrip() for height in sorted(found)]


def test_the_picture_shows_what_the_commands_print(recorded: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        FILE.write_text(recorded, "utf-8")
    assert lines(FILE.read_text("utf-8")) == lines(recorded)


def test_the_picture_is_small_and_fetches_nothing() -> None:
    svg = FILE.read_text("utf-8")
    assert len(svg.encode()) < 15_000
    assert set(re.findall(r"https?://[^\"' ]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|@font-face|<script|<image|url\((?!#)", svg)
