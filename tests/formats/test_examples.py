"""The made-up examples of all formats, as their `expected.json` judges them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from personakit import Config, PersonakitError, Runner
from personakit.formats import Report, import_personas
from personakit.persona import yaml

DATA = Path(os.environ.get("PERSONAKIT_TEST_DATA") or "-") / "interop"
FOLDERS = sorted(file.parent for file in DATA.glob("*/*/expected.json"))

pytestmark = pytest.mark.skipif(not FOLDERS, reason="PERSONAKIT_TEST_DATA is not set")


def at(data: Any, key: str) -> Any:
    """Return a value by its dotted key; None if it is absent."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def shown(messages: Any) -> list[tuple[str, Any]]:
    """Return role and content of messages; an empty system message counts as none."""
    pairs = [(one["role"], one["content"]) for one in messages]
    return [pair for pair in pairs if pair != ("system", "")]


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=[f"{folder.parent.name}/{folder.name}" for folder in FOLDERS]
)
def test_an_example(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    out = tmp_path / "personas"

    def run() -> Report:
        return import_personas(expected["source"], out, format=expected["from"])

    if "refused" in expected:
        try:
            message = "\n".join(map(str, run().skipped))
        except PersonakitError as error:
            message = str(error)
        assert [word for word in expected["refused"] if word not in message] == []
        assert not out.exists() or not list(out.iterdir())
        return
    report = run()
    assert report.skipped == []
    if expected.get("names") is not None:
        assert [one.name for one in report.personas] == expected["names"]
    codes = {note["code"] for note in report.plain()["notes"]}
    assert {*expected["notes"]} <= codes <= {*expected["notes"], *expected["may"]}
    with Runner(Config(path=()), log=False) as runner:
        for one, wanted in zip(report.personas, expected["personas"], strict=False):
            data = yaml.parse(one.path.read_bytes()).data
            assert {key: at(data, key) for key in wanted["keys"]} == wanted["keys"]
            for render in wanted["renders"]:
                request = runner.render(
                    str(one.path), render["input"], variables=render["variables"]
                )
                found = [{"role": m.role, "content": m.content} for m in request.messages]
                assert shown(found) == shown(render["messages"])
            problems = runner.catalog.compiled(runner.load(str(one.path))).problems
            assert problems == []
    assert {one.status for one in run().personas} == {"same"}
