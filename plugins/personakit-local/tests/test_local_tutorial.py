"""The tutorial's personas with the embedded model: its answers are of the kind that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import pages

from personakit import Endpoint, Runner

PAGE = Path(__file__).parents[3] / "docs" / "tutorial.md"
COMMIT = "feat(share): send a note by email"


@pytest.fixture
def runner(endpoint: Endpoint, tmp_path: Path) -> Iterator[Runner]:
    (tmp_path / "personas").mkdir()
    for block in pages.blocks(PAGE.read_text("utf-8")):
        if block.language == "yaml":
            pages.edit(tmp_path, block)
    with Runner(path=[tmp_path / "personas"]) as runner:
        yield runner


def test_the_answers_are_of_the_kind_that_the_tutorial_shows(runner: Runner) -> None:
    line = runner.run("changelog-line", COMMIT, model="local").text
    entry = runner.run("changelog-entry", COMMIT, model="local").parsed
    assert re.fullmatch(r"You can now .* email.*\.", line), line
    assert isinstance(entry, dict), entry
    assert "email" in entry["note"], entry
    assert entry["kind"] == "new", entry
