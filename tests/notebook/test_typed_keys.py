"""A key that is typed in a notebook is used, and is in no file."""

from __future__ import annotations

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
    assert "did you mean 'openai'" in failed(desk("%persona keys opnai"))


def test_without_a_front_end_to_ask_the_message_says_what_to_do(desk: Desk) -> None:
    message = failed(desk("%persona keys openai"))
    assert "nobody can be asked for the key of 'openai' here: set its environment" in message


def test_a_missing_key_names_the_magic(desk: Desk) -> None:
    message = failed(desk("%persona chef -m mistral/small x"))
    assert "`%load_ext personakit` and `%persona keys mistral`" in message
    assert "MISTRAL_API_KEY" in message
