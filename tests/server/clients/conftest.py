"""A running server for the tests of clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.served import Served, served


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as site:
        yield site


@pytest.fixture
def site(_running: Served) -> Served:
    """The server, whose upstream answers ``Hello!`` and has received nothing."""
    _running.answers("Hello!")
    return _running
