"""A running server for the tests of clients."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from helpers.served import Served, served


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: needs PERSONAKIT_CLIENTS=all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("PERSONAKIT_CLIENTS") != "all":
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as site:
        yield site


@pytest.fixture
def site(_running: Served) -> Served:
    """The server, whose upstream answers ``Hello!`` and has received nothing."""
    _running.answers("Hello!")
    return _running
