"""`personakit import` and `personakit export`."""

from __future__ import annotations

import json
from typing import Any

import pytest

AGENT = "---\nname: {name}\ndescription: Does it.\n---\n\n{text}\n"


@pytest.fixture
def cli(shell: Any) -> Any:
    shell.write(".claude/agents/a.md", AGENT.format(name="a", text="Read {{ this }}."))
    shell.write(".claude/commands/fix.md", "---\ndescription: Fixes.\n---\nFix $ARGUMENTS.\n")
    return shell


def test_a_folder_is_imported_linted_and_exported(cli: Any) -> None:
    done = cli("import", ".claude", "-o", "personas")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["new", "personas/a.yaml", "from", "agents/a.md"]
    assert "[placement]" in done.stdout
    assert done.stderr == "2 personas imported: 2 new; 1 note\n"
    assert cli("lint", "personas").returncode == 0
    shown = cli("render", "fix", "the bug")
    assert shown.stdout.startswith("--- user\nFix the bug.\n")
    again = cli("import", ".claude", "-o", "personas")
    assert again.stderr.startswith("2 personas imported: 2 same;")
    assert "[placement]" not in again.stdout
    done = cli("export", "fix", "--to", "claude", "-o", "fix.md")
    assert done.returncode == 0, done.stderr
    assert (cli.folder / "fix.md").read_text().endswith("\nFix $ARGUMENTS.\n")
    done = cli("export", "fix", "--to", "claude", "-o", "fix.md")
    assert done.returncode == 2
    assert "--force" in done.stderr


def test_a_report_is_json(cli: Any) -> None:
    done = cli("import", ".claude", "-o", "personas", "--json", "--dry-run")
    report = json.loads(done.stdout)
    assert {*report} == {"personas", "notes", "skipped"}
    assert [one["status"] for one in report["personas"]] == ["new", "new"]
    assert not (cli.folder / "personas").exists()
    cli("import", ".claude", "-o", "personas")
    made = json.loads(cli("export", "a", "--to", "skill", "-o", ".", "--json").stdout)
    assert made["files"] == ["a/SKILL.md"]


def test_standard_input_is_a_source(cli: Any) -> None:
    done = cli("import", "-", "--from", "llm", "-o", "personas", stdin="system: Be $how.\n")
    assert done.returncode == 0, done.stderr
    assert "Be {{ how }}." in (cli.folder / "personas" / "stdin.yaml").read_text()


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_imported(cli: Any) -> None:
    cli.write(".claude/agents/bad.md", b"---\nname: bad\ndescription: x\n---\n\xff\n")
    done = cli("import", ".claude", "-o", "personas")
    assert done.returncode == 1
    assert "skipped agents/bad.md:5: byte 34 is 0xff" in done.stderr
    assert "1 skipped" in done.stderr
    done = cli("import", ".claude/agents/bad.md", "-o", "other")
    assert done.returncode == 2
    assert not (cli.folder / "other").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("import", ".cluade", "-o", "p"), "there is no such file or folder"),
        (("import", ".claude", "-o", "p", "--from", "claud"), "did you mean 'claude'"),
        (("import", ".claude"), "'-o'"),
        (("import", "zoe/prompts", "-o", "p"), "gh:zoe/prompts"),
        (("import", ".claude", "-o", "p", "--from", "card"), "nothing has the form of card"),
        (("import", "home.txt", "-o", "p"), "markdown or messages; choose with --from markdown"),
        (("export", "a", "--to", "cluade", "-o", "x"), "did you mean 'claude'"),
        (("export", "a", "--to", "claude", "-o", "x", "--set", "b=1"), "unknown variable 'b'"),
        (("export", "nobody", "--to", "claude", "-o", "x"), "nobody"),
        (("export", "a", "--to", "card", "-o", "x", "--picture", "no.png"), "no.png"),
    ],
)
def test_wrong_usage_is_told_with_what_is_right(
    args: tuple[str, ...], message: str, cli: Any
) -> None:
    cli.write("home.txt", "A text.\n")
    cli.write("personas/a.yaml", "system: x\n")
    done = cli(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (cli.folder / "p").exists()
