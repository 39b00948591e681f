"""What the tests of run log share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from personakit import (
    Config,
    Message,
    Request,
    Runner,
)
from personakit.base import run_id
from personakit.log import Row, RunLog
from personakit.testing import MODES, Upstream

in_modes = pytest.mark.parametrize("mode", MODES)


def running(log: Any, answers: Any = ("Hello!",), **more: Any) -> Runner:
    upstream = Upstream(answers, fail_after=more.pop("fail_after", None))
    plugins = more.pop("plugins", ())
    config = Config(model="test/model", path=(), **more)
    return Runner(config, plugins=plugins, backend=upstream, log=log)


def only(log: RunLog) -> Row:
    (row,) = log.find()
    return row


def made(text: str = "An answer.", *, at: float | None = None, **fields: Any) -> Row:
    """Return a row that no run made."""
    asked = fields.pop("asked", "Hi!")
    request = Request(fields.pop("model", "test/model"), (Message("user", asked),))
    answer = (Message("assistant", text),)
    started = run_id(time.time() if at is None else at)
    return Row(started, request, text=text, messages=answer, **{"persona": "ann", **fields})


def config(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(f"model: test/model\n{text}", "utf-8")
    env = {"PERSONAKIT_CONFIG": str(file), "XDG_DATA_HOME": str(folder / "share"), **environ}
    return Config.read(env)


def folder(path: Path) -> None:
    path.mkdir()
