"""Inputs that once made personakit fail, and some random ones, through the fuzz targets."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz import targets
from fuzz.seeds import mutated, seeds

KEPT = sorted(file for file in targets.CORPUS.glob("*/*") if file.is_file())


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """Close the connections of the targets."""
    yield
    targets.close()


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Discard the notices of the runs."""
    yield
    capsys.readouterr()


def within_time(target: str, data: bytes) -> None:
    begun = time.process_time()
    targets.TARGETS[target](data)
    assert time.process_time() - begun < targets.SECONDS


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_failed_once_does_not_fail_again(file: Path) -> None:
    within_time(file.parent.name, file.read_bytes())


def test_every_folder_of_the_corpus_is_of_a_target() -> None:
    assert {file.parent.name for file in KEPT} <= set(targets.TARGETS)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_a_few_random_inputs(target: str) -> None:
    known, chance = seeds(target), random.Random(20)
    for data in [*known[:5], *(mutated(known, chance) for _ in range(20))]:
        within_time(target, data)
