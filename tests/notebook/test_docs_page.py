"""The cells of docs/notebook.md work as they are written, in their order."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.notebook import Desk, failed

from personakit.notebook.asked import run_command

PAGE = (Path(__file__).parent.parent.parent / "docs" / "notebook.md").read_text("utf-8")
CELLS = re.findall(r"^```ipython\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_cells_of_the_page_run(desk: Desk) -> None:
    assert len(CELLS) >= 9
    desk.server.answers = ["An answer."]
    for source in CELLS:
        assert failed(desk(source)) == "", source
    assert len(desk.server.requests) == 5


def test_the_page_names_every_option() -> None:
    for option in run_command().params:
        assert any(f"`{name}" in PAGE for name in option.opts), option.name
