"""`personakit edit`: which file is opened, and what is said afterwards."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from personakit.cli.edit import command
from personakit.errors import PersonaNotFound, UsageError
from personakit.library.folders import shipped

BROKEN = "system: x\n: : [\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run the command with an editor that runs a line of shell on the file, ``$1``."""
    monkeypatch.chdir(tmp_path)
    for name in ("VISUAL", "PERSONAKIT_PATH", "PERSONAKIT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERSONAKIT_PLUGINS", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    editor = tmp_path / "my editor"

    def edit(*args: str, doing: str = "") -> Done:
        editor.write_text(f'#!/bin/sh\n[ "$1" = --wait ] || exit 9\nshift\n{doing}\n')
        editor.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"'{editor}' --wait")
        code: Any = command.main(list(args), standalone_mode=False)
        return Done(code or 0, *capfd.readouterr())

    return edit


def own(name: str, text: str = "system: x\n") -> Path:
    file = Path("personas", f"{name}.yaml")
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_a_persona_of_mine_is_checked_afterwards(edit: Any) -> None:
    file = own("ann")
    good = edit("ann", doing='echo "description: A" >> "$1"')
    assert (good.code, good.err) == (0, "1 file checked, nothing found\n")
    wrong = edit(str(file), doing='echo "temperture: 1" >> "$1"')
    assert wrong.code == 1
    assert f"{file}:3:1: error: unknown key 'temperture'" in wrong.out
    assert "1 error in 1 file; 1 file checked" in wrong.err


def test_a_file_that_does_not_parse_can_be_opened(edit: Any) -> None:
    file = own("ann", BROKEN)
    same = edit("ann")
    assert same.err.startswith(f"personakit: {file} was not changed\n")
    # It is checked as one that was changed.
    assert (same.code, f"{file}:2:" in same.out) == (1, True)
    assert edit("ann", doing='echo "system: x" > "$1"').code == 0


def test_a_packaged_persona_is_copied(edit: Any, tmp_path: Path) -> None:
    original = shipped() / "chef.yaml"
    copy = tmp_path / "config" / "personakit" / "personas" / "chef.yaml"
    same = edit("chef")
    assert same.err.splitlines() == [
        f"personakit: {original} is not changed; editing a copy of it, {copy}",
        f"personakit: {copy} was not changed; the copy is removed",
    ]
    assert not copy.exists()
    done = edit("chef", doing='echo "# mine" >> "$1"')
    # The notice has said that the copy hides the original.
    assert (done.code, done.out) == (0, "")
    assert copy.read_bytes() == original.read_bytes() + b"# mine\n"
    # Now it is a persona of the user.
    assert "not changed; editing" not in edit("chef", doing='echo "# more" >> "$1"').err
    Path("personas").mkdir()
    assert "editing a copy of it, personas/editor.yaml" in edit("editor").err
    assert "editing a copy of it, here/chef.yaml" in edit("chef", "--path", "here").err
    own("chef")
    with pytest.raises(UsageError, match=r"already exists; edit it: personakit edit personas/"):
        edit("chef", "--path", "personas")


def test_an_editor_that_fails(edit: Any, tmp_path: Path) -> None:
    copy = tmp_path / "config" / "personakit" / "personas" / "chef.yaml"
    with pytest.raises(click.ClickException, match=r"exit code 3$"):
        edit("chef", doing="exit 3")
    assert not copy.exists()
    with pytest.raises(click.ClickException, match=r"was ended by signal 15; .*chef.yaml is kept"):
        edit("chef", doing='echo x >> "$1"; kill $$')
    assert copy.exists()
    with pytest.raises(click.ClickException, match=r"exit code 3; personas/ann.yaml is kept"):
        edit(str(own("ann")), doing="exit 3")


def test_names_that_are_wrong(edit: Any) -> None:
    with pytest.raises(PersonaNotFound, match=r"did you mean 'chef'.*`personakit new chf` writes"):
        edit("chf")
    with pytest.raises(PersonaNotFound, match=r"`personakit new my-chef` writes a new one"):
        edit("My Chef")
    with pytest.raises(PersonaNotFound, match=r"no file a/b\.yaml.*new b --path a` writes"):
        edit("a/b.yaml")
    Path("notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"notes\.txt is not a persona file: expected a name, or"):
        edit("notes.txt")
    Path("folder.yaml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.yaml cannot be read: .*folder"):
        edit("folder.yaml")
    with pytest.raises(UsageError, match="only a persona in a file can be edited"):
        edit("box:x")


def test_an_editor_that_is_not_set_or_not_found(
    edit: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    with pytest.raises(UsageError, match="no editor is set: set VISUAL or EDITOR, such as"):
        command.main(["chef"], standalone_mode=False)
    monkeypatch.setenv("VISUAL", "no-such-editor --wait")
    with pytest.raises(UsageError, match="VISUAL: no program 'no-such-editor' was found"):
        edit("chef")
    monkeypatch.setenv("VISUAL", "'x")
    with pytest.raises(UsageError, match="VISUAL: cannot read"):
        edit("chef")
    # Nothing was copied.
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="every file is writable for root")
def test_a_file_that_is_read_only(edit: Any) -> None:
    own("ann").chmod(stat.S_IRUSR)
    with pytest.raises(UsageError, match="is read-only; with --path DIR, a copy"):
        edit("ann")
