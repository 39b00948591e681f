"""PK035: plugins in an order that one of them forbids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.lint import lint

from personakit import hookimpl


class Store:
    @hookimpl
    def chat(self, request: Any) -> None: ...


class Hide(Store):
    outside_of = ("store",)


@pytest.fixture
def plugins(install: Callable[..., None]) -> None:
    install(store=Store, hide=Hide)


@pytest.mark.usefixtures("plugins")
def test_lint_shows_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (finding,) = lint(
        {
            "a.yaml": "system: You.\ndescription: A.\nplugins:\n  - store\n  - «PK035»hide\n",
        },
        plugins="hide,store,again",
    )
    assert finding.severity == "error"
    assert "the right order: `plugins: [hide, store]`" in finding.message


@pytest.mark.usefixtures("plugins")
def test_lint_of_a_child_and_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (finding,) = lint(
        {
            "personas/a.yaml": "system: You.\ndescription: A.\nplugins: [store]\n",
            "personas/b.yaml": "extends: a\ndescription: A.\nplugins: [«PK035»hide]\n",
        },
        plugins="hide,store",
    )
    assert (
        "move 'hide' from personas/b.yaml to personas/a.yaml, before 'store', or" in finding.message
    )
