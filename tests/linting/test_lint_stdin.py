"""`personakit lint -`: a text from standard input, under the path that an editor passes."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest
from helpers.cli import Commands

TEXT = "description: d\nextends: translator\nsystem: '{{ tonne }}'\n"
FOUND = "3:13: error: system: 'tonne' is undefined; did you mean 'tone'? [PK023]\n"


@pytest.fixture
def cli(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def test_findings_are_reported_under_the_path(cli: Commands) -> None:
    name = "personas/mine.yaml"
    done = cli("lint", "-", "--stdin-filename", name, stdin=TEXT)
    assert (done.code, done.out) == (1, f"{name}:{FOUND}")
    assert done.err == "1 error in 1 file; 1 file checked\n"
    (finding,) = json.loads(cli("lint", "--json", "--stdin-filename", name, "-", stdin=TEXT).out)
    assert (finding["path"], finding["end_line"], finding["end_column"]) == (name, 3, 18)
    assert not (cli.folder / "personas").exists()


def test_without_a_path_the_text_is_in_no_folder(cli: Commands) -> None:
    cli.write("stdin.yaml", "system: x\n")
    assert cli("lint", "-", stdin=TEXT).out == f"<stdin>:{FOUND}"
    # A name of its own differs from no file's.
    assert cli("lint", "-", stdin="name: mine\ndescription: d\nsystem: x\n").out == ""


def test_a_path_counts_as_that_of_a_file(cli: Commands) -> None:
    named = "description: d\nsystem: x\nname: mine\n"
    done = cli("lint", "-", "--stdin-filename", "other.yaml", stdin=named)
    assert (done.code, "[PK044]" in done.out) == (0, True)
    assert cli("lint", "--strict", "-", "--stdin-filename", "other.yaml", stdin=named).code == 1
    partial = "personas/partials/part.yaml"
    assert cli("lint", "-", "--stdin-filename", partial, stdin="variables: {a: 1}\n").code == 0
    ignored = f"# personakit: ignore-file[PK023]\n{TEXT}"
    assert cli("lint", "-", stdin=ignored) == (0, "", "1 file checked, nothing found\n")


def test_the_text_counts_and_not_the_file(cli: Commands) -> None:
    cli.write("mine.yaml", "system: [saved\n")
    text = "description: d\nsystem: open\n"
    assert cli("lint", "mine.yaml").code == 1
    assert cli("lint", "-", "--stdin-filename", "mine.yaml", stdin=text).code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "<stdin>:1:1: error: expected a mapping with at least `system:`, found an empty"),
        (b"system: \xff", "<stdin>:1:9: error: byte 0xff is not valid UTF-8"),
        (b"x" * 1_100_000, "<stdin>:1:1: error: cannot be read: it is larger than the limit"),
    ],
    ids=["empty", "not UTF-8", "too large"],
)
def test_a_text_that_cannot_be_read_is_a_finding(cli: Commands, text: bytes, message: str) -> None:
    done = cli("lint", "-", stdin=text)
    assert done.code == 1
    assert done.out.startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("- mine.yaml", "cannot be combined with mine.yaml; lint them with two commands"),
        ("- -", "cannot be combined with another -"),
        ("--stdin-filename a.yaml", "there is no `-`; write `personakit lint --stdin-filename a.y"),
        ("b.yaml --stdin-filename a.yaml", "--stdin-filename names the text that `-` reads"),
        ("- --stdin-filename a.txt", "expected the path of a persona file, such as personas/chef."),
        ("- --stdin-filename folder", "found the folder folder"),
        ("- --stdin-filename=", "found ''"),
    ],
)
def test_wrong_use(cli: Commands, words: str, message: str) -> None:
    (cli.folder / "folder").mkdir()
    done = cli("lint", *words.split(), stdin=TEXT)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_terminal_is_no_text(cli: Commands) -> None:
    leader, follower = pty.openpty()
    try:
        with os.fdopen(follower, "r") as stream:
            done = cli("lint", "-", stdin=stream)  # type: ignore[arg-type]
    finally:
        os.close(leader)
    assert done.code == 2
    assert (
        "standard input, which is a terminal; pipe one in, as in `personakit lint - <" in done.err
    )


def test_github_gets_the_ends_of_findings(cli: Commands) -> None:
    done = cli("lint", "--format", "github", "-", stdin=TEXT)
    assert "file=<stdin>,line=3,col=13,endLine=3,endColumn=18,title=PK023" in done.out
    text = "description: d\nsystem: x\napi: |\n  one\n  two\n"
    done = cli("lint", "--format", "github", "-", stdin=text)
    assert "file=<stdin>,line=3,endLine=5,title=PK012" in done.out
