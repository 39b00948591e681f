"""What the server prints: errors alone, each as one line, without secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from personakit.base import Secret
from personakit.server.serving.lines import MOST, quiet_logs

NAMES = ("uvicorn.error", "asyncio", "personakit")


@pytest.fixture
def said() -> Iterator[list[str]]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    lines: list[str] = []
    quiet_logs(lines.append, lambda: [Secret("sk-very-secret")])
    yield lines
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_an_error_is_one_line_with_its_place(said: list[str]) -> None:
    try:
        raise ValueError("a\nb \x1b[2J sk-very-secret")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    (line,) = said
    assert line.startswith("Exception in ASGI application: ValueError: a b \\u001b[2J *** (")
    assert line.endswith(")")
    assert "test_lines.py:" in line


def test_what_is_no_error_is_quiet(said: list[str]) -> None:
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("asyncio").warning("slow")
    assert said == []
    logging.getLogger("personakit.log").warning("the run was not logged")
    assert said == ["the run was not logged"]


def test_a_long_message_is_cut(said: list[str]) -> None:
    logging.getLogger("asyncio").error("x" * 10_000)
    assert [len(line) for line in said] == [MOST]


def test_with_the_variable_there_is_the_whole_traceback(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONAKIT_TRACEBACK", "full")
    try:
        raise ValueError("sk-very-secret")
    except ValueError:
        logging.getLogger("personakit").exception("failed")
    assert said[0].startswith("Traceback (most recent call last):\n")
    assert said[0].endswith("ValueError: ***")
    assert said[1] == "failed"
