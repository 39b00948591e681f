"""`personakit log`, and the commands that log what they run."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from personakit import Message, Request, Response, Runner, hookimpl
from personakit.base import run_id
from personakit.config import Config
from personakit.log import Row, RunLog
from personakit.testing import Reply, Server, Upstream, persona

KEY = "sk-canary-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Hello from Lyon.", "Another answer."]) as made:
        yield made


@pytest.fixture
def run(shell: Any, server: Server) -> Any:
    """Run `personakit` where there is a persona and a model."""
    shell.write("personas/ann.yaml", "system: You are Ann.\nmodel: openai/test-model\n")
    shell.env |= {**server.environ(), "OPENAI_API_KEY": KEY}
    return shell


def path(shell: Any) -> Path:
    return Path(shell.env["HOME"]) / ".local" / "share" / "personakit" / "runs.db"


def test_a_run_is_logged_and_found_again(run: Any) -> None:
    assert run("run", "ann", "Hi there!").returncode == 0
    listed = run("log", "list")
    (line,) = listed.stdout.splitlines()
    run_id, when, *cells = line.split("\t")
    assert re.fullmatch("[0-9a-f]{14}", run_id)
    assert when.startswith(time.strftime("%Y-"))
    assert cells[:3] == ["ann", "openai/test-model", "21"]
    assert cells[-2:] == ["stop", "Hi there!"]

    shown = run("log", "show", run_id).stdout
    assert "--- system\nYou are Ann.\n--- user\nHi there!\n" in shown
    assert "--- answer\nHello from Lyon.\n" in shown
    assert "used:         5 tokens in, 16 out" in shown
    assert "--- trace\nmodel, answered, " in shown
    assert "attempts" not in shown
    row = json.loads(run("log", "show", "--json").stdout)
    assert row["request"]["messages"][1] == {"role": "user", "content": "Hi there!"}
    assert (row["text"], row["error"], row["sent"]) == ("Hello from Lyon.", None, None)
    assert json.loads(run("log", "list", "--json").stdout) == [row]

    assert "Hello from Lyon." in run("log", "search", "lyon").stdout
    found = json.loads(run("log", "search", "lyon", "hello", "--json").stdout)
    assert found == [{**row, "excerpt": "Hello from Lyon."}]
    assert json.loads(run("log", "export").stdout) == row
    assert "attempts" not in run("log", "show").stdout  # one is what is expected
    stats = json.loads(run("log", "stats", "--json").stdout)
    assert stats["path"] == str(path(run))
    assert [one["name"] for one in stats["persona"]] == ["ann"]
    assert [one["name"] for one in stats["model"]] == ["openai/test-model"]
    (total,) = stats["total"]
    assert (total["runs"], total["failed"], total["prompt_tokens"]) == (1, 0, 5)
    lines = run("log", "stats", "--by", "model").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["openai/test-model", "1"], ["all", "1"]]


@pytest.mark.parametrize(
    "args",
    [
        ["run", "ann", "Caf\udce9"], ["run", "ann", "Hi", "-v", "x=Caf\udce9"],
        ["run", "ann", "Hi", "-p", "stop=Caf\udce9"], ["run", "./Caf\udce9.yaml", "Hi"],
        ["log", "show", "Caf\udce9"],
    ],
)  # fmt: skip
def test_an_argument_that_is_not_utf_8_is_an_error(
    args: list[str], run: Any, server: Server
) -> None:
    done = run(*args)
    assert done.returncode == 2
    at = next(arg for arg in args if not arg.isascii()).index("\udce9")
    assert "Caf\\xe9" in done.stderr
    assert f"is not UTF-8 (byte {at})" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("how", [["--stream"], ["--no-stream"], ["--json"], ["--trace"]])
def test_every_way_to_run_is_logged(how: list[str], run: Any) -> None:
    done = run("run", "ann", "Hi!", *how)
    assert done.returncode == 0
    assert len(run("log", "list").stdout.splitlines()) == 1


def test_a_run_that_fails_is_logged_and_the_key_is_not(run: Any, server: Server) -> None:
    server.answers = [{"error": {"message": f"bad key {KEY}"}}]
    done = run("run", "ann", "Hi!")
    assert done.returncode == 1
    row = json.loads(run("log", "show", "--json").stdout)
    assert row["error"]["type"] == "InvalidAnswer" or row["error"]["message"]
    assert len(run("log", "list", "--failed").stdout.splitlines()) == 1
    assert run("log", "list", "--ok").stdout == ""
    for file in path(run).parent.iterdir():
        assert b"canary" not in file.read_bytes()


def test_what_is_secret_in_an_address_is_neither_said_nor_logged(run: Any, server: Server) -> None:
    server.answers = [Reply(b"{}", status=400)]
    address = server.base_url.replace("//", "//ann:canary@")
    done = run("run", "ann", "Hi!", "--trace", OPENAI_BASE_URL=address)
    assert done.returncode == 1
    assert server.base_url in done.stderr
    shown = run("log", "show").stdout + run("log", "export").stdout
    assert server.base_url in shown
    assert "canary" not in done.stderr + done.stdout + shown


@pytest.mark.parametrize(
    ("args", "config", "env"),
    [
        (["--no-log"], "", {}),
        (["--no-log"], "log: {python: true}", {}),
        ([], "log: off", {}),
        ([], "", {"PERSONAKIT_LOG": "off"}),
        ([], "", {"PERSONAKIT_LOG": "OFF"}),
        ([], "", {"PERSONAKIT_LOG": "0"}),
        (["--dry-run"], "", {}),
    ],
)
def test_how_it_is_turned_off(args: list[str], config: str, env: dict[str, str], run: Any) -> None:
    run.write("home/.config/personakit/config.yaml", config)
    assert run("run", "ann", "Hi!", *args, **env).returncode == 0
    assert not path(run).exists()
    listed = run("log", "list", **env)
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "no runs are logged yet" in listed.stderr


def test_another_file(run: Any, tmp_path: Path) -> None:
    env = {"PERSONAKIT_LOG": str(tmp_path / "deep" / "er" / "x.db")}
    assert run("run", "ann", "Hi!", **env).returncode == 0
    assert len(run("log", "list", **env).stdout.splitlines()) == 1
    assert not path(run).exists()


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_a_log_that_cannot_be_written_costs_one_warning(how: str, run: Any) -> None:
    path(run).parent.mkdir(parents=True)
    path(run).write_bytes(b"garbage " * 1000)
    done = run("run", "ann", "Hi!", how)
    assert (done.returncode, done.stdout) == (0, "Hello from Lyon.\n")
    (line,) = done.stderr.splitlines()
    assert line == (
        f"personakit: the run was not logged: {path(run)} is damaged (file is not a database); "
        f"`personakit log repair` recovers the readable runs"
    )


def test_a_run_that_fails_has_its_own_exit_code_with_a_broken_log(run: Any, server: Server) -> None:
    path(run).mkdir(parents=True)
    server.answers = [{"choices": []}]
    done = run("run", "ann", "Hi!")
    assert done.returncode == 1
    assert done.stderr.count("the run was not logged") == 1
    assert done.stderr.count("Error: ") == 1


def test_the_answer_is_printed_before_a_locked_log_is_waited_for(run: Any) -> None:
    run("run", "ann", "Hi!")
    other = sqlite3.connect(path(run), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    process = subprocess.Popen(
        run.args("run", "ann", "Again!"), cwd=run.folder, env=run.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "Another answer.\n"
    assert process.poll() is None
    other.execute("COMMIT")
    other.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert len(run("log", "list").stdout.splitlines()) == 2


def filled(run: Any, **rows: dict[str, Any]) -> RunLog:
    """Return the log with a run of each name: an age in days, a persona, an answer."""
    log = RunLog(path(run))
    for text, fields in rows.items():
        at = time.time() - 86_400 * fields.pop("days", 0)
        request = Request("test/model", (Message("user", "Hi!"),))
        log.write(Row(run_id(at), request, text=text, **{"persona": "ann", **fields}))
    log.close()
    return log


def test_removing(run: Any) -> None:
    error = {"type": "Timeout", "message": "late"}
    filled(run, old={"days": 40}, bob={"persona": "bob"}, bad={"error": error}, new={})

    def left() -> list[str]:
        lines = run("log", "export").stdout.splitlines()
        return [json.loads(line)["text"] for line in lines]

    assert left() == ["old", "bob", "bad", "new"]
    asked = run("log", "rm", "--before", "30d")
    assert (asked.returncode, len(left())) == (2, 4)
    assert "1 run would be removed; confirm with -y" in asked.stderr
    assert "1 run removed" in run("log", "rm", "--before", "30d", "-y").stderr
    assert left() == ["bob", "bad", "new"]
    run("log", "rm", "--persona", "bob", "-y")
    run("log", "rm", "--failed", "-y")
    assert left() == ["new"]
    run("log", "rm", "last", "-y")
    assert left() == []
    nothing = run("log", "rm", "--all", "-y")
    assert (nothing.returncode, "no matching runs" in nothing.stderr) == (0, True)
    for args in ([], ["last", "--all"], ["--all", "--failed"]):
        wrong = run("log", "rm", *args, "-y")
        assert (wrong.returncode, "specify either ids of runs" in wrong.stderr) == (2, True)


def test_removing_asks_on_a_terminal(run: Any) -> None:
    filled(run, one={}, two={})
    with run.terminal("log", "rm", "--all") as session:
        session.until("Remove 2 runs from")
        session.say("n")
        assert session.end() == 130
    with run.terminal("log", "rm", "--all") as session:
        session.until("[y/N]")
        session.say("y")
        session.until("2 runs removed")
        assert session.end() == 0
    assert run("log", "list").stdout == ""


def test_a_list_on_a_terminal_is_a_table(run: Any) -> None:
    filled(run, one={})
    with run.terminal("log", "list") as session:
        session.until("persona")
        session.until("ann")
        assert session.end() == 0


def test_exporting_to_a_file(run: Any) -> None:
    filled(run, **{f"n{number}": {} for number in range(450)})
    target = run.folder / "runs.jsonl"
    target.write_text("before")
    target.chmod(0o644)
    assert run("log", "export", "-o", str(target)).returncode == 0
    assert len(target.read_text().splitlines()) == 450
    assert target.stat().st_mode & 0o777 == 0o600
    shared, link = run.folder / "shared", run.folder / "link"
    link.symlink_to(shared)
    assert run("log", "export", "-o", str(link), "--since", "1d").returncode == 0
    assert (link.is_symlink(), len(shared.read_text().splitlines())) == (True, 450)
    pipe = run.folder / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["wc", "-l", str(pipe)], stdout=subprocess.PIPE, text=True) as counting:
        assert run("log", "export", "-o", str(pipe)).returncode == 0
        assert counting.communicate(timeout=30)[0].split()[0] == "450"
    assert pipe.is_fifo()
    wrong = run("log", "export", "-o", "no/such/folder/x")
    assert (wrong.returncode, "cannot write no/such/folder/x" in wrong.stderr) == (2, True)
    assert [file.name for file in run.folder.iterdir() if file.name[0] == "."] == []


def test_replaying(run: Any, server: Server) -> None:
    run.write("personas/ann.yaml", "system: You are {{ name }}.\nvariables: {name: Ann}\n")
    assert run("run", "ann", "Hi!", "-m", "openai/a", "-v", "name=Zoë").returncode == 0
    done = run("log", "replay")
    assert done.returncode == 1
    assert "-Hello from Lyon.\n+Another answer." in done.stdout
    first, second = (request.body for request in server.requests)
    assert first == second
    # `last` is neither a replay nor a failed run; a replay can be named by its id.
    assert run("run", "ann", "Hi!", "-m", "no-such/model").returncode == 2
    replay = json.loads(run("log", "list", "-n", "2", "--json").stdout)[1]
    again = run("log", "replay", "last", "-m", "openai/a")
    assert (again.returncode, "-Hello from Lyon." in again.stdout) == (1, True)
    same = run("log", "replay", replay["id"], "-m", "openai/b")
    assert (same.returncode, same.stdout) == (0, "")
    assert "the answer is the same" in same.stderr
    assert server.requests[3].body["model"] == "b"
    assert f"replays:      {replay['id']}" in run("log", "show").stdout
    run.write("personas/ann.yaml", "system: You are somebody else.\n")
    changed = run("log", "replay", replay["id"], "-m", "openai/b", "--no-log", "--json")
    assert json.loads(changed.stdout)["same"] is True
    assert "ann has changed since this run" in changed.stderr
    assert server.requests[4].body == server.requests[3].body
    assert len(run("log", "list").stdout.splitlines()) == 5


def test_a_persona_by_its_path_is_found_again_from_another_folder(run: Any) -> None:
    run.write("drafts/bob.yaml", "system: You are Bob.\nmodel: openai/m\n")
    assert run("run", "drafts/bob.yaml", "Hi!").returncode == 0
    row = json.loads(run("log", "show", "--json").stdout)
    assert Path(row["path"]).samefile(run.folder / "drafts" / "bob.yaml")
    other = run.write("elsewhere/drafts/bob.yaml", "system: You are nobody.\n")
    run.folder = other.parent.parent
    again = run("log", "replay")
    assert (again.returncode, again.stderr) == (1, "")
    assert run("run", "-c", "And?").returncode == 0
    row = json.loads(run("log", "show", "--json").stdout)
    assert row["request"]["messages"][0]["content"] == "You are Bob."


def test_replaying_with_the_api_and_the_wishes_of_the_persona(run: Any, server: Server) -> None:
    wishes = "api: responses\nparameters: {seed: 7, max_tokens: 20}\n"
    run.write("personas/ann.yaml", f"system: You are Ann.\nmodel: openai/a\n{wishes}")
    assert run("run", "ann", "Hi!").returncode == 0
    again = run("log", "replay")
    assert again.returncode == 1
    assert "seed is left out" in again.stderr
    first, second = server.requests
    assert (first.path, first.body["max_output_tokens"]) == ("/v1/responses", 20)
    assert (second.path, second.body) == (first.path, first.body)


def test_replaying_with_a_key_of_its_own(run: Any, server: Server) -> None:
    assert run("run", "ann", "Hi!").returncode == 0
    run.write("key", "another-key")
    assert run("log", "replay", "--key-file", "key").returncode == 1
    sent = [{k.lower(): v for k, v in r.headers.items()}["authorization"] for r in server.requests]
    assert sent == [f"Bearer {KEY}", "Bearer another-key"]


def test_a_run_of_a_persona_that_is_gone_cannot_be_replayed(run: Any) -> None:
    filled(run, one={"persona": "gone"})
    done = run("log", "replay")
    assert done.returncode == 2
    assert "no persona 'gone'" in done.stderr


def test_repairing_what_is_in_order(run: Any) -> None:
    assert "no runs are logged yet" in run("log", "repair").stderr
    filled(run, one={})
    assert run("log", "repair").stdout == f"{path(run)} is not damaged: 1 run\n"


def test_repairing_keeps_what_can_be_read(run: Any) -> None:
    filled(run, **{f"text {number} " + "word " * 300: {} for number in range(200)})
    content = bytearray(path(run).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    path(run).write_bytes(content)
    done = run("log", "repair")
    assert done.returncode == 0
    found = re.search(r"was damaged; recovered (\d+) runs into a new file", done.stdout)
    assert found is not None
    assert 100 < int(found[1]) < 200
    aside = path(run).with_name("runs.db.damaged-1")
    assert str(aside) in done.stdout
    assert aside.read_bytes() == bytes(content)
    assert len(run("log", "list", "-n", "0").stdout.splitlines()) == int(found[1])
    assert "is not damaged" in run("log", "repair").stdout


def test_repairing_garbage(run: Any) -> None:
    path(run).parent.mkdir(parents=True)
    path(run).write_bytes(b"garbage " * 1000)
    wrong = run("log", "list")
    assert (wrong.returncode, "`personakit log repair`" in wrong.stderr) == (2, True)
    assert "recovered 0 runs" in run("log", "repair").stdout
    assert run("run", "ann", "Hi!").stderr == ""
    assert len(run("log", "list").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["shwo"], "unknown command 'shwo'; did you mean 'show'?"),
        (["show", "zzz"], "no run id begins with 'zzz'; `personakit log list` shows them"),
        (
            ["list", "--since", "3 moons"],
            "--since: expected an age such as 7d, 12h or 2w, or a date such as 2026-01-31",
        ),
        (["stats", "--by", "moon"], "'moon' is not one of"),
        (["search"], "Missing argument"),
    ],
)
def test_wrong_usage(args: list[str], message: str, run: Any) -> None:
    filled(run, one={})
    done = run("log", *args)
    assert done.returncode == 2
    assert message in done.stderr


def test_choosing_by_time(run: Any) -> None:
    filled(run, old={"days": 40}, new={})
    assert len(run("log", "list", "--since", "7d").stdout.splitlines()) == 1
    assert len(run("log", "list", "--since", "2020-01-31").stdout.splitlines()) == 2
    assert run("log", "list", "--before", "2020-01-31T10:00").stdout == ""


def test_what_plugins_changed_is_shown(run: Any) -> None:
    class Loud:
        @hookimpl
        async def chat(self, request: Request, send: Any) -> Response:
            response: Response = await send(request.with_system("Be loud."))
            return response.replace(text=response.text.upper())

    log = RunLog(path(run))
    config = Config(model="test/model", path=())
    runner = Runner(config, plugins=[Loud()], backend=Upstream(["hi \x1b[2J"]), log=log)
    runner.run(persona(), "Hi!")
    runner.close()
    shown = run("log", "show").stdout
    assert "--- sent, after the plugins\n" in shown
    assert "held" in shown
    assert "changed the request and the response" in shown
    traced = run("log", "show", "--trace").stdout
    assert '+  "text": "HI' in traced
    with run.terminal("log", "show") as session:
        assert session.end() == 0
        assert "\x1b[2J" not in session.text


def test_ids_are_completed_by_the_shell(run: Any) -> None:
    filled(run, one={})
    row = json.loads(run("log", "show", "--json").stdout)

    def completed(line: str) -> list[str]:
        lines = run(_PERSONAKIT_COMPLETE="bash", COMP_LINE=line).stdout.splitlines()
        return [line.split("\t")[1] for line in lines]

    assert completed("personakit log show ") == [row["id"][:14], "last"]
    talk = row["conversation"]
    assert completed("personakit run --conversation ") == ([talk] if talk else [])
