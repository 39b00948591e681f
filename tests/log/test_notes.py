"""The notes of plugins in the run log: odd ones are stored as text, and conditions on them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.run_log import made, only, running
from hypothesis import given
from hypothesis import strategies as st

from personakit import Response, Send, UsageError, hookimpl
from personakit.codec import write_notes
from personakit.log.migrations import Where
from personakit.log.run_log import RunLog
from personakit.testing import persona


class Refuses:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Odd(dict[str, Any]):
    def items(self) -> Any:
        raise OSError("gone")


class Notes:
    def __init__(self, **notes: Any) -> None:
        self.notes = notes

    @hookimpl
    async def chat(self, request: Any, send: Send) -> Response:
        response = await send.live(request)
        return response.replace(metadata={**response.metadata, **self.notes})


def cyclic() -> list[Any]:
    value: list[Any] = [1]
    value += [value, value]
    return value


def deep() -> Any:
    value: Any = "end"
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("note", "start"),
    [
        (10**5000, "0x"),
        (10**400, 10**400),
        (Refuses(), "<Refuses>"),
        ([1, Refuses()], [1, "<Refuses>"]),
        (float("nan"), "nan"),
    ],
    ids=["long number", "number", "no text", "inside", "nan"],
)
def test_a_run_with_an_odd_note_is_logged(log: RunLog, note: Any, start: Any) -> None:
    with running(log, plugins=[Notes(odd=note, good=1)]) as one:
        one.run(persona(), "Hi!")
    notes = only(log).notes
    assert notes["good"] == 1
    if start == "0x":
        assert notes["odd"] == hex(note)
    else:
        assert json.loads(json.dumps(notes["odd"])) == start


@pytest.mark.parametrize(
    "note",
    [
        "x" * 3_000_000, ["y"] * 300_000, dict.fromkeys(range(300_000), 1), 1 << 10_000_000,
        cyclic(), [["z" * 60_000], ["z" * 60_000]], {"k" * 200_000: 1},
    ],
    ids=["text", "list", "mapping", "number", "cyclic", "texts", "key"],
)  # fmt: skip
def test_a_long_note_is_cut(note: Any) -> None:
    written = write_notes({"long": note, "next": "whole"})
    assert written["next"] == "whole"
    text = json.dumps(written, ensure_ascii=False)
    assert "…" in text
    assert len(text) < 1_000_000


def test_notes_of_any_depth_and_any_mapping() -> None:
    class Key:
        __str__ = Refuses.__str__

    notes = write_notes({"deep": deep(), "odd": Odd(a=1), Key(): {Key(): 1}})  # type: ignore[dict-item]
    assert notes["odd"] == "<Odd>"
    assert notes["<Key>"] == {"<Key>": 1}
    assert "…" in json.dumps(notes["deep"], ensure_ascii=False)


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.recursive(ANY, lambda one: st.lists(one) | st.dictionaries(ANY, one), max_leaves=8))
def test_what_is_written_is_json(note: Any) -> None:
    written = write_notes({"note": note})
    assert json.loads(json.dumps(written, allow_nan=False)) == written


@pytest.mark.parametrize("path", ['a"b', '"', "", ".", "a.", "a..b", "\ud800", "a\0b", 1, None])
def test_a_condition_with_a_path_of_another_form(log: RunLog, path: Any) -> None:
    log.write(made(notes={"a": 1}))
    with pytest.raises(UsageError, match="notes: expected pairs of a path, such as") as caught:
        list(log.find(Where(notes=((path, "1"),))))
    str(caught.value).encode()


@pytest.mark.parametrize("notes", ["ab", [("a", 1)], [("a",)], ("a", "1"), 5])
def test_a_condition_of_another_form(log: RunLog, notes: Any) -> None:
    log.write(made(notes={"a": 1}))
    with pytest.raises(UsageError, match="notes: expected pairs"):
        list(log.find(Where(notes=notes)))


def test_conditions_on_notes(log: RunLog) -> None:
    log.write(made(notes={"a": {"b c": "é\ufffd"}, "'x": True}))
    assert list(log.find(Where(notes=(("a.b c", "é\ufffd"), ("'x", "true")))))
    assert not list(log.find(Where(notes=(("a.b", "é"),))))
