"""A notebook with a server that answers, one for all tests of a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from helpers.notebook import Desk, opened

from personakit.testing import Server


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("notebook")
    with Server(size=50) as server:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PERSONAKIT_PLUGINS": "",
            "PERSONAKIT_MODEL": "openai/gpt-4o-mini",
            **server.environ(),
            **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "COV_"))},
        }
        with opened(folder, env) as notebook:
            notebook("%load_ext personakit\n%config Completer.use_jedi = False")
            yield Desk(notebook, server, folder)
