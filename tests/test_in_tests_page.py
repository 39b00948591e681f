"""The tests of docs/in-tests.md that tests/test_docs.py does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import pages

from personakit import VariableError

PAGE = Path(__file__).parent.parent / "docs" / "in-tests.md"
BLOCKS = [
    block.text
    for block in pages.blocks(PAGE.read_text("utf-8"))
    if block.language in {"python", "py"}
]


def loaded(text: str) -> Iterator[Any]:
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec", dont_inherit=True), names)
    yield from (value for name, value in names.items() if name.startswith("test_"))


def test_personakit_run_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = (text for text in BLOCKS if "monkeypatch" in text)
    (test,) = loaded(text)
    test(monkeypatch)


def test_answers_come_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (text,) = (text for text in BLOCKS if "Server(" in text)
    found = [*loaded(text)]
    assert len(found) == 2
    for test in found:
        test()


def test_a_mistyped_variable_fails() -> None:
    (test,) = loaded(BLOCKS[0].replace('{"length"', '{"lenght"'))
    with pytest.raises(VariableError, match=r"lenght.*did you mean 'length'"):
        test()
