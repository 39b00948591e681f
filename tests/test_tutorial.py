"""The tutorial works as it is written: its files are made, its commands typed on a terminal."""

from __future__ import annotations

from pathlib import Path

from helpers import pages

from personakit.testing import Server

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
# What the embedded model answered to the commands of the page, in their order. The tests of
# personakit-local ask the model itself.
ANSWERS = [
    'The user can now send a note via email using the "Share" command.',
    "You can now share your notes with others via email.",
    "The app no longer crashes when a note is empty.",
    '{"note": "You can now share your notes with anyone via email.", "kind": "new"}',
    "You can now share your notes with others via email.",  # `personakit test` records it
]


def test_every_step_prints_what_the_page_shows(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    folder = tmp_path / "project"
    folder.mkdir()
    shown, printed = [], []
    with Server(ANSWERS) as server:
        env = pages.environment(tmp_path, server.base_url)
        for block in pages.blocks(page):
            if block.language == "yaml":
                pages.edit(folder, block)
                continue
            assert block.language == "console"
            for command in pages.commands(block.text):
                shown += [f"$ {command.line}", *pages.stable(command.output)]
                _, output = pages.typed(command.line, folder, env)
                printed += [f"$ {command.line}", *pages.stable(output)]
    assert printed == shown
    assert len(server.requests) == len(ANSWERS)


def test_there_are_ten_steps_in_their_order() -> None:
    heads = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert [head.partition(".")[0] for head in heads] == [f"## {n}" for n in range(1, 11)]
