"""The approvals that are kept for good: the file, and the commands."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from personakit_approve import approvals
from personakit_approve.command import command

from personakit import Blocked, ConfigError, UsageError
from personakit.testing import in_mode, persona

CALL = ("web_search", '{"query": "x"}')


def cli(*args: str) -> str:
    """Return what a command prints.

    Raises:
        UsageError: As `personakit` shows it.
    """
    result = CliRunner().invoke(command, args)
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def keep(*pairs: tuple[str, str]) -> None:
    for name, tool in pairs:
        assert approvals.approve(name, tool) == ""


def searched(place: Any) -> str:
    """Return the result of a run's only call."""
    who = persona(name="traveller", api="responses", plugins=["approve"])
    in_mode("run", place.runner, who, "When?", tools=place.tools)
    (result,) = place.results()
    return str(result)


def test_without_approvals_the_commands_say_so_and_write_nothing(folder: Path) -> None:
    assert cli("list") == f"no tool is approved for good ({folder}/approvals.sqlite3)\n"
    assert cli("list", "--json") == "[]\n"
    assert cli("revoke", "--all").startswith("no tool is approved")
    with pytest.raises(UsageError, match="tool 'x' is not approved for good; see `personakit app"):
        cli("revoke", "x")
    assert not folder.exists()


def test_an_approval_is_listed_until_it_is_revoked(at: Any, person: Any, folder: Path) -> None:
    someone = person("yes for good", "no")
    with at([CALL], "Done.", [CALL], "Done.", [CALL], "Done.", ask=someone) as place:
        assert searched(place) == searched(place) == "results for x"
        file = folder / "approvals.sqlite3"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        head, row = cli("list").splitlines()
        assert head.split() == ["persona", "tool", "approved"]
        assert row.split()[:2] == ["traveller", "web_search"]
        (kept,) = json.loads(cli("list", "--json"))
        assert kept["time"][:16].replace("T", " ") == " ".join(row.split()[2:])
        assert cli("revoke", "web_search") == "revoked web_search of traveller\n"
        assert "refused" in searched(place)
    assert len(someone.asked) == 2


def test_what_is_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chef, tutor = (str(tmp_path / name / "chef.yaml") for name in ("a", "b"))
    pairs = [(chef, "look"), (chef, "read"), (tutor, "look"), ("db:x", "look")]
    rest = sorted(pairs)

    def revoked(*args: str) -> list[tuple[str, str]]:
        keep(*pairs)
        cli("revoke", *args)
        left = [(each.persona, each.tool) for each in approvals.approvals()]
        return [pair for pair in rest if pair not in left]

    assert revoked("--all") == rest
    assert revoked("look") == [pair for pair in rest if pair[1] == "look"]
    assert revoked("db:x", "look") == [("db:x", "look")]
    assert revoked(chef, "read") == [(chef, "read")]
    monkeypatch.chdir(tmp_path)
    assert revoked("b/chef.yaml", "look") == [(tutor, "look")]
    with pytest.raises(UsageError, match=r"'chef' stands for several .*write the path"):
        revoked("chef", "look")
    assert revoked("chef", "read") == [(chef, "read")]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["web_serch"], "tool 'web_serch' is not approved for good; did you mean 'web_search'?"),
        (["chef", "look"], "tool 'look' is not approved for good; see"),
        (["cheff", "look"], "persona 'cheff' has no tool that is .* did you mean 'chef'?"),
        (["x", "web_search"], "persona 'x' has no tool that is approved for good; see"),
        ([], r"expected the name .* write `personakit approve revoke \[PERSONA\] TOOL`"),
        (["a", "b", "c"], "expected the name"),
        (["--all", "web_search"], "expected the name"),
    ],
)
def test_wrong_names_are_errors(args: list[str], message: str) -> None:
    keep(("/home/ann/chef.yaml", "web_search"))
    with pytest.raises(UsageError, match=message):
        cli("revoke", *args)
    assert len(approvals.approvals()) == 1


def damage(file: Path) -> None:
    file.write_text("nothing that SQLite wrote\n" * 99)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def other_table(file: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(file)
    connection.executescript("DROP TABLE approvals; CREATE TABLE approvals (a, b)")
    connection.close()


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def open_to_others(file: Path) -> None:
    file.chmod(0o640)


BROKEN = [
    (damage, "file is not a database; make sure .* or move it away"),
    (cut, "malformed; make sure .* or move it away"),
    (other_table, "no such column: .*move it away"),
    (pipe, r"it is a FIFO \(named pipe\); expected a file"),
    (nowhere, "it is a link to nowhere, which does not exist"),
    (open_to_others, r"other users can .* mode is 640.* run: chmod 600 /\S*/approvals.sqlite3"),
]


@pytest.mark.parametrize(("how", "message"), BROKEN)
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_broken_file_is_an_error_and_stays(
    how: Any, message: str, on_error: str, at: Any, person: Any, folder: Path
) -> None:
    keep(("traveller", "web_search"))
    file = folder / "approvals.sqlite3"
    how(file)
    before = file.lstat(), file.read_bytes() if file.is_file() else None
    uses = [{"use": "approve", "on_error": on_error}]
    who = persona(name="traveller", api="responses", plugins=uses)
    with at([CALL], "Done.", ask=person()) as place:
        with pytest.raises(Blocked, match=rf"approve: {file}: .*{message}"):
            place.runner.run(who, "?", tools=place.tools)
        assert place.ran == []
    for args in (["list"], ["revoke", "--all"], ["revoke", "web_search"]):
        with pytest.raises(ConfigError, match=message):
            cli(*args)
    after = file.lstat(), file.read_bytes() if file.is_file() else None
    assert (after[0].st_mode, after[0].st_ino, after[1]) == (
        before[0].st_mode, before[0].st_ino, before[1],
    )  # fmt: skip


def test_an_approval_that_cannot_be_kept_holds_for_the_run(
    at: Any, person: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.parent.write_text("a file where the folder would be")
    someone = person("yes for good")
    with at([CALL, CALL], "Done.", ask=someone) as place:
        who = persona(api="responses", plugins=["approve"])
        assert place.runner.run(who, "?", tools=place.tools).text == "Done."
        assert place.ran == ["web_search x"] * 2
    record = caplog.records[-1]  # the journal cannot be written, either
    assert "web_search is allowed for this run only: " in record.message
    assert "cannot be created" in record.message


def test_processes_and_threads_write_the_same_file() -> None:
    code = (
        "import sys; from personakit_approve.approvals import approve;"
        "print(*[approve(sys.argv[1], f't{n}') for n in range(40)], sep='')"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, f"p{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    with ThreadPoolExecutor(4) as pool:
        faults = list(pool.map(lambda n: approvals.approve("threads", f"t{n}"), range(40)))
    assert [worker.communicate()[0] for worker in workers] == ["\n"] * 3
    assert set(faults) == {""}
    assert len(approvals.approvals()) == 160


def test_the_store_and_the_command_are_loaded_on_use() -> None:
    code = (
        "import sys; before = set(sys.modules); from personakit_approve import Approve; Approve();"
        "print(sorted({'sqlite3', 'click'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
