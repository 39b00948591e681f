"""The command line as a user meets it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from helpers.process import Folder, Result, command

from personakit.testing import Reply, Server


class Cli(Folder):
    """Runs `python -m personakit`."""

    def args(self, *args: str) -> list[str]:
        return command(*args)

    def __call__(
        self, *args: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return self.run(command(*args), data, env or {})


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Hello from loopback."]) as running:
        yield running


MODEL = ("-m", "openai/test-model")


def test_the_origin_run_sends_one_system_message_and_nothing_else(cli: Cli, server: Server) -> None:
    result = cli("run", "chef", *MODEL, env=server.environ())
    assert (result.code, result.out, result.err) == (0, "Hello from loopback.\n", "")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.body.keys() == {"model", "messages", "temperature", "max_tokens"}
    assert (request.body["temperature"], request.body["max_tokens"]) == (0.9, 2084)
    (message,) = request.body["messages"]
    assert message["role"] == "system"
    assert "Florent" in message["content"]


def test_run_json(cli: Cli, server: Server) -> None:
    result = cli("run", "chef", "Hi", *MODEL, "--json", env=server.environ())
    data = json.loads(result.out)
    keys = "text reasoning parsed tool_calls model finish_reason usage cost persona id"
    keys += " metadata spent"
    assert list(data) == keys.split()
    assert data["text"] == "Hello from loopback."
    assert (data["model"], data["finish_reason"], data["persona"]) == ("test-model", "stop", "chef")
    kinds = ("prompt", "completion", "total", "cached", "reasoning", "cache_write")
    assert list(data["usage"]) == [*(f"{kind}_tokens" for kind in kinds), "incomplete"]


def test_render_json(cli: Cli) -> None:
    cli.write("p.yaml", 'system: "Hi {{ who }}."\nvariables: {who: you}\nparameters: {seed: 1}\n')
    result = cli("render", "p.yaml", "And {{ so }} on", "--json", "-v", "who=Zoë")
    assert json.loads(result.out) == {
        "persona": "p",
        "model": None,
        "messages": [
            {"role": "system", "content": "Hi Zoë."},
            {"role": "user", "content": "And {{ so }} on"},
        ],
        "parameters": {"seed": 1},
    }


def test_list_json_and_its_order_of_folders(cli: Cli) -> None:
    cli.write("personas/chef.yaml", "name: chef\ndescription: Mine.\nsystem: x\ntags: [a]\n")
    cli.write("personas/broken.yaml", "name: broken\nsystem: 5\n")
    result = cli("list", "--json")
    rows = {row["name"]: row for row in json.loads(result.out)}
    assert list(rows["chef"]) == ["name", "description", "tags", "version", "path"]
    assert rows["chef"]["description"] == "Mine."
    assert rows["chef"]["path"] == str(Path("personas", "chef.yaml"))
    assert len(rows) >= 25
    assert "broken.yaml:2:9" in result.err
    assert json.loads(cli("list", "--tag", "a", "--json").out) == [rows["chef"]]


def test_list_into_a_pipe_has_one_line_for_each_persona(cli: Cli) -> None:
    lines = cli("list").out.splitlines()
    assert len(lines) >= 25
    assert all(len(line.split("\t")) == 3 for line in lines)


def test_show(cli: Cli) -> None:
    text = cli("show", "chef").out
    assert "guests" in text
    assert "temperature=0.9" in text
    data = json.loads(cli("show", "chef", "--json").out)
    assert data["variables"]["guests"]["type"] == "integer"


def test_plugins_json_is_empty_where_none_is_selected(cli: Cli) -> None:
    assert json.loads(cli("plugins", "--json").out) == []


def test_dry_run_shows_the_request_and_sends_nothing(cli: Cli, server: Server) -> None:
    result = cli("run", "chef", "Hi", *MODEL, "--dry-run", "--json", env=server.environ())
    assert [m["role"] for m in json.loads(result.out)["messages"]] == ["system", "user"]
    assert server.requests == []


def test_text_is_taken_from_standard_input(cli: Cli, server: Server) -> None:
    cli("run", "chef", *MODEL, stdin="piped in\n", env=server.environ())
    cli("run", "chef", "Look:", "-", *MODEL, stdin="piped in\n", env=server.environ())
    cli("run", "chef", "no", "dash", *MODEL, stdin="piped in\n", env=server.environ())
    said = [request.body["messages"][-1]["content"] for request in server.requests]
    assert said == ["piped in\n", "Look:\n\npiped in\n", "no dash\n\npiped in\n"]


def test_variables_and_parameters_from_options_and_files(cli: Cli, server: Server) -> None:
    cli.write("v.yaml", "guests: 7\ndiet: vegan\n")
    cli.write("cook.txt", "Zoë @ Lyon")
    result = cli(
        *("run", "chef", *MODEL, "--variables", "v.yaml", "-v", "cook=@cook.txt"),
        *("-v", "guests=3", "-p", "temperature=0.2", "-p", "stop=END"),
        env=server.environ(),
    )
    assert result.code == 0
    body = server.requests[0].body
    assert "Zoë @ Lyon" in body["messages"][0]["content"]
    assert "3 people" in body["messages"][0]["content"]
    assert (body["temperature"], body["stop"], body["max_tokens"]) == (0.2, "END", 2084)


def test_streaming_into_a_pipe_prints_the_same_text(cli: Cli, server: Server) -> None:
    result = cli("run", "chef", "Hi", *MODEL, "--stream", env=server.environ())
    assert result.out == "Hello from loopback.\n"
    assert server.requests[0].body["stream"] is True


WRONG = [
    (["run", "cheff"], 2, "did you mean 'chef'"),
    (["rnu", "chef"], 2, "did you mean 'run'"),
    (["run"], 2, "PERSONA"),
    (["run", "chef", "--bogus"], 2, "--bogus"),
    (["run", "chef", "-v", "guests"], 2, "NAME=VALUE"),
    (["run", "chef", "-v", "guests=many"], 2, "expected an integer"),
    (["run", "chef", "-v", "guests=0"], 2, "minimum"),
    (["run", "chef", "-v", "guest=1"], 2, "did you mean 'guests'"),
    (["run", "chef", "-v", "diet=vegn"], 2, "did you mean 'vegan'"),
    (["run", "chef", "-v", "cook=@nowhere.txt"], 2, "nowhere.txt"),
    (["run", "chef", "-p", "tempreature=1"], 2, "did you mean 'temperature'"),
    (["run", "chef", "-p", "temperature=9"], 2, "from 0 to 2"),
    (["run", "chef", "-p", "base_url=http://127.0.0.1:9"], 2, "cannot be set with -p"),
    (["run", "chef", "--variables", "none.json"], 2, "none.json"),
    (["run", "chef"], 2, "no model is chosen"),
    (["run", "chef", "-m", "openai/x"], 2, "OPENAI_API_KEY"),
    (["run", "chef", "-m", "opnai/x"], 2, "did you mean 'openai'"),
    (["run", "chef", "-m", "openai/"], 2, "has no model name after the provider"),
    (["run", "summarizer"], 2, "needs a prompt"),
    (["render", "../chef"], 2, "no file"),
    (["render", "."], 2, "'.' is neither a persona name"),
    (["render", "/"], 2, "folder"),
    (["render", "bad.yaml"], 2, "bad.yaml:2:3: `y:` is indented below `system:`"),
    (["render", "quote.yaml"], 2, 'quote it: `system: "{{ who }}"`'),
    (["render", "plug.yaml"], 2, "plug.yaml:2:11"),
    (["render", "latin.yaml"], 2, "UTF-8"),
    (["render", "chef", "--format", "nope"], 2, "format"),
    (["show", "nobody-here"], 2, "personakit list"),
]


@pytest.mark.parametrize(("args", "code", "message"), WRONG, ids=lambda v: " ".join(v)[:40]
                         if isinstance(v, list) else "")  # fmt: skip
def test_wrong_input_says_what_would_be_right(
    cli: Cli, args: list[str], code: int, message: str
) -> None:
    cli.write("bad.yaml", "system: x\n  y: {\n")
    cli.write("quote.yaml", "system: {{ who }}\n")
    cli.write("plug.yaml", "system: x\nplugins: [no-such-plugin, x]\n")
    (cli.folder / "latin.yaml").write_bytes(b"system: caf\xe9\n")
    args = ["run", *args[1:], *MODEL] if "plug.yaml" in args else args
    result = cli(*args)
    assert result.code == code, result
    assert message in result.err
    assert result.out == ""


def test_a_failed_run_exits_with_1_and_keeps_what_had_arrived(cli: Cli) -> None:
    cut = b'data: {"id":"x","choices":[{"delta":{"content":"Half an ans"}}]}\n\n'
    with Server([cut]) as server:
        result = cli("run", "chef", *MODEL, env=server.environ())
    assert result.code == 1
    assert "not valid JSON" in result.err


@pytest.mark.parametrize("stdin", [b"\xff\xfe\x00", b"caf\xe9"])
def test_standard_input_that_is_no_text_is_an_error(cli: Cli, stdin: bytes) -> None:
    result = cli("run", "chef", *MODEL, stdin=stdin)
    assert result.code == 2
    assert "standard input is not UTF-8" in result.err


def test_a_nul_byte_and_lone_surrogates_in_an_answer_are_printed(cli: Cli) -> None:
    with Server(["a\0b \ud800 c\x1b[2J"]) as server:
        result = cli("run", "chef", *MODEL, env=server.environ())
    assert (result.code, result.out) == (0, "a\0b \ufffd c\x1b[2J\n")


def test_the_reader_of_a_pipe_may_go_away(cli: Cli) -> None:
    args = " ".join(cli.args("list"))
    done = subprocess.run(
        f"{args} | head -1", shell=True, capture_output=True, cwd=cli.folder, env=cli.env,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == b""


def read_terminal(fd: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()


def test_on_a_terminal_an_answer_streams_and_cannot_steer_it(cli: Cli) -> None:
    with Server(["safe \x1b[2J text"]) as server:
        ours, theirs = pty.openpty()
        env = {**cli.env, **server.environ(), "TERM": "xterm"}
        process = subprocess.Popen(
            cli.args("run", "chef", "Hi", *MODEL), stdin=subprocess.DEVNULL, stdout=theirs,
            cwd=cli.folder, env=env,
        )  # fmt: skip
        os.close(theirs)
        text = read_terminal(ours)
        os.close(ours)
        assert process.wait(60) == 0
    assert server.requests[0].body["stream"] is True
    assert text == "safe \\u001b[2J text\r\n"


def test_a_stream_that_fails_before_its_first_text_prints_nothing(cli: Cli) -> None:
    with Server([Reply(b"{}", 404)]) as server:
        done = cli("run", "chef", "Hi", "--stream", *MODEL, env=server.environ())
    assert (done.code, done.out) == (1, "")
    assert "status 404" in done.err


def test_what_had_arrived_is_printed_on_a_terminal_without_streaming(cli: Cli) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "half"}}
    with Server([{"id": "1", "model": "m", "choices": [choice]}]) as server:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            cli.args("run", "chef", "Hi", "--no-stream", *MODEL), stdin=subprocess.DEVNULL,
            stdout=theirs, stderr=subprocess.DEVNULL, cwd=cli.folder,
            env={**cli.env, **server.environ(), "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        text = read_terminal(ours)
        os.close(ours)
        assert process.wait(60) == 1
    assert text == "half\r\n"


def test_completion_of_persona_names(cli: Cli) -> None:
    env = {"_PERSONAKIT_COMPLETE": "bash", "COMP_LINE": "personakit run che"}
    assert cli(env=env).out == "plain\tchef\t\n"


def test_version_and_help_name_every_command(cli: Cli) -> None:
    assert cli("--version").out.startswith("personakit, version")
    text = cli("--help").out
    for name in ("run", "render", "list", "show", "plugins"):
        assert f"  {name} " in text
        assert cli(name, "--help").code == 0


def test_ctrl_c_ends_a_stream_with_130_and_what_was_printed_so_far(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        env = {**cli.env, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"}
        process = subprocess.Popen(
            cli.args("run", "chef", "Hi", *MODEL, "--stream"), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cli.folder, env=env,
        )  # fmt: skip
        listener.settimeout(60)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
            event = b'data: {"choices":[{"delta":{"content":"The beginning"}}]}\n\n'
            connection.sendall(head + event)
            assert process.stdout is not None
            assert process.stdout.read(13) == b"The beginning"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b"\n"
    assert b"Traceback" not in err
