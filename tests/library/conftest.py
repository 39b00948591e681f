"""Fixtures of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.index import VARIANTS, said, wait_until_settled, write

from personakit.library.library import Library


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of old personas, and a cache whose index knows them and those that ship."""
    root, cache = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("cache")
    texts = {f"p{number:02}": f"description: D{number}.\nsystem: x\n" for number in range(20)}
    write(root, wrong="sistem: x", **texts)
    wait_until_settled(root)
    reads: list[int] = []
    before = said(Library((root,), cache=cache), reads)
    assert reads[0] >= 21
    assert before == said(Library((root,)))
    return root, cache


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders, each with one old file for each variant, to be linked to."""
    root = tmp_path_factory.mktemp("pool")
    for folder in ("one", "two"):
        write(root / folder / "old", **VARIANTS)
    wait_until_settled(root)
    return root
