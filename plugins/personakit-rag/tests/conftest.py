"""A folder of notes and a cache of its own for every test."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "personakit" / "rag"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "hours.md").write_text("# Hours\n\nThe library opens at nine.\n")
    (folder / "sub" / "fees.txt").write_text("A lost card costs five euros.\n")
    return folder
