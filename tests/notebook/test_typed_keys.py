"""A key that is typed in a notebook is used, and is in no file."""

from __future__ import annotations

import pytest
from helpers.notebook import Desk, failed

# The kernel sets the function again for each cell.
TYPE = "import getpass\ngetpass.getpass = lambda question: print(question) or 'typed-' + 'key-1'\n"


def test_a_typed_key_is_used_by_this_process_and_no_file_has_it(desk: Desk) -> None:
    cell = desk(f"{TYPE}%persona keys openai")
    assert "Key of openai (not shown)" in cell.outputs[0].text
    assert "kept until this process ends" in cell.outputs[0].text
    desk("%%persona chef\nSoup", "x")
    desk("import personakit\nprint(personakit.run('chef', 'Soup', trace=personakit.Trace()))", "x")
    desk("answer.request")
    keys = {it.headers["authorization"] for it in desk.server.requests}
    assert keys == {"Bearer typed-key-1"}
    # The other one is in the environment of the kernel.
    for key in ("typed-key-1", "test-key"):
        assert key not in desk.notebook.text()
    files = [file for file in desk.folder.rglob("*") if file.is_file() and file.suffix != ".sqlite"]
    assert [file for file in files if b"typed-key-1" in file.read_bytes()] == []


def test_a_key_is_never_taken_from_a_cell(desk: Desk) -> None:
    for cell in ("%persona keys openai sk-secret", "%%persona keys openai\nsk-secret"):
        message = failed(desk(cell)).splitlines()[-1]
        assert "never write a key into a cell" in message
        assert "sk-secret" not in message
    message = failed(desk("%persona keys opnai"))
    assert message == "UsageError: no provider has that name; did you mean 'openai'?"


@pytest.mark.parametrize(
    "key", ["sk-proj-AbC123dEf", "AIzaSy0123", "a/b", "-sk-proj-AbC", "--key=sk-1"]
)
def test_a_key_in_place_of_a_provider_is_not_repeated(desk: Desk, key: str) -> None:
    message = failed(desk(f"%persona keys {key}"))
    assert key.strip("-") not in message
    assert "provider/model" not in message
    if not key.startswith("-"):
        assert "no provider has that name (known: anthropic, " in message
        assert "If this was a real key, clear the cell and replace the key" in message


def test_a_line_without_a_key_is_not_taken_for_one(desk: Desk) -> None:
    for line, expected in (
        ("%persona keys", "no provider: write its name"),
        ("%%persona keys\n", "no provider: write its name"),
        ("%persona keys openai --file", "%persona keys has no options"),
        ("%persona keys local", "models of provider 'local' use no key"),
    ):
        message = failed(desk(line))
        assert expected in message, line
        assert "real key" not in message
    assert desk("%persona keys --help").outputs[0].text.startswith("Usage: %persona keys PROVIDER")


def test_without_a_front_end_to_ask_the_message_says_what_to_do(desk: Desk) -> None:
    message = failed(desk("%persona keys openai"))
    assert "nobody can be asked for the key of 'openai' here: set its environment" in message


def test_a_missing_key_names_the_magic(desk: Desk) -> None:
    message = failed(desk("%persona chef -m mistral/small x"))
    assert "run `%persona keys mistral`, or" in message
    assert "load_ext" not in message
    message = failed(desk("import personakit\npersonakit.run('chef', 'x', model='mistral/small')"))
    assert "`%load_ext personakit` and `%persona keys mistral`" in message
    assert "MISTRAL_API_KEY" in message
