"""`personakit test` as an author meets it: a process, its output, its exit code."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from helpers.process import Folder, command

from personakit.testing import Server

CHEF = """\
name: chef
system: You are {{ cook }}.
variables: {cook: Florent}
tests:
  - name: introduces himself
    render: {contains: Florent}
  - name: is somebody else
    variables: {cook: Zoë}
    render: {not_contains: Florent}
  - name: says hello
    prompt: Hi
    expect: {contains: Hello, max_words: 3}
"""
MODEL = ("-m", "openai/test-model")


class Cli(Folder):
    """Runs `personakit test`."""

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder)
        self.env |= server.environ()

    def args(self, *args: str) -> list[str]:
        return command("test", *args)

    def __call__(self, *args: str, **env: str) -> tuple[int, str, str]:
        result = self.run(self.args(*args), b"", env)
        return result.code, result.out, result.err


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Hello there."]) as running:
        yield running


@pytest.fixture
def cli(tmp_path: Path, server: Server) -> Cli:
    made = Cli(tmp_path, server)
    made.write("personas/chef.yaml", CHEF)
    return made


def test_dots_then_a_summary(cli: Cli, server: Server) -> None:
    code, out, err = cli(*MODEL)
    assert (code, err) == (0, "")
    dots, summary = out.splitlines()
    assert dots == "..."
    assert summary.startswith("3 passed in ")
    assert summary.endswith(" s (answers: 1 recorded)")
    code, out, _ = cli()
    assert (code, out.splitlines()[1].endswith("(answers: 1 replayed)")) == (0, True)
    assert len(server.requests) == 1


def test_nothing_secret_is_in_a_recording(cli: Cli) -> None:
    cli(*MODEL)
    text = (cli.folder / "personas/recordings/chef.json").read_text("utf-8")
    for secret in ("test-key", "authorization", "Authorization", "127.0.0.1"):
        assert secret not in text
    assert json.loads(text)["tests"].keys() == {"says hello"}


def test_failures_come_after_the_dots_with_their_place(cli: Cli) -> None:
    cli.write("personas/chef.yaml", CHEF.replace("{contains: Florent}", "{contains: florent}"))
    code, out, _ = cli(*MODEL)
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "F.."
    assert lines[2] == "personas/chef.yaml:5: chef › introduces himself"  # noqa: RUF001
    assert lines[3].startswith("  line 6, render contains: expected 'florent'; found 'Florent'")
    assert lines[-1].startswith("1 failed, 2 passed in ")


def test_a_broken_file_fails_and_the_others_run(cli: Cli) -> None:
    cli.write("personas/a.yaml", "system: x\ntests: [{rendr: {}}]\n")
    code, out, _ = cli("-k", "himself")
    assert code == 2
    assert out.startswith("E.\n\npersonas/a.yaml:2:")
    assert "did you mean 'render'" in out
    assert "1 broken, 1 passed" in out


def test_names_words_and_the_first_failure(cli: Cli) -> None:
    cli.write("personas/chef.yaml", CHEF.replace("{contains: Florent}", "{contains: florent}"))
    code, out, _ = cli("-v", "-k", "SOMEBODY")
    assert (code, out.splitlines()[0]) == (0, "passed  chef › is somebody else")  # noqa: RUF001
    code, out, _ = cli("-x", "chef")
    assert (code, out.splitlines()[0]) == (1, "F")
    assert "1 failed in" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["personas/cheff.yaml"], "did you mean 'personas/chef.yaml'"),
        (["cheff"], "did you mean 'chef'"),
        (["-k", "introduce hisself"], "none of the 3 tests has 'introduce hisself' in its name"),
        (["-k", "helo"], "did you mean 'hello'"),
        (["empty"], "no tests in empty; add them to a persona under `tests:`"),
        (["--record", "some"], "'some' is not one of"),
        (["--junit", "nowhere/x.xml", "-k", "himself"], "cannot write nowhere/x.xml"),
    ],
)
def test_wrong_usage_says_what_would_be_right(cli: Cli, args: list[str], message: str) -> None:
    (cli.folder / "empty").mkdir()
    code, _, err = cli(*args)
    assert code == 2
    assert message in err


def test_without_a_folder_of_personas_it_says_so(cli: Cli) -> None:
    (cli.folder / "personas").rename(cli.folder / "people")
    code, _, err = cli()
    assert (code, "folder 'personas' does not exist here" in err) == (2, True)
    assert cli("people", "-k", "himself")[0] == 0


def test_without_a_model_the_three_ways_to_choose_one_are_named(cli: Cli) -> None:
    code, out, _ = cli("-k", "hello")
    assert (code, "PERSONAKIT_MODEL" in out) == (1, True)


def test_in_ci_a_missing_recording_fails_with_the_command(cli: Cli, server: Server) -> None:
    code, out, _ = cli(*MODEL, CI="true")
    assert code == 1
    command = "personakit test personas/chef.yaml -k 'says hello' --record new -m openai/test-model"
    assert f"    {command}\n" in out
    assert server.requests == []
    assert cli(*MODEL, "--record", "new", CI="true")[0] == 0
    assert cli(CI="true", OPENAI_API_KEY="", OPENAI_BASE_URL="")[0] == 0


def test_a_changed_prompt_fails_with_the_difference_until_it_is_recorded_again(cli: Cli) -> None:
    cli(*MODEL)
    cli.write("personas/chef.yaml", CHEF.replace("You are", "Be"))
    code, out, _ = cli("-k", "hello")
    assert code == 1
    assert '-      "content": "You are Florent.",\n    +      "content": "Be Florent.",\n' in out
    assert cli("-k", "hello", "--record", "all", *MODEL)[0] == 0
    assert cli(CI="1")[0] == 0


def test_junit_is_well_formed_whatever_is_in_it(cli: Cli) -> None:
    nasty = '\\e]0;x\\a \\0 \\ufffe <&>\\" ]]> \\U0001F600'
    text = CHEF.replace("introduces himself", f'"{nasty}"').replace(
        "{contains: Florent}", f'{{contains: "{nasty}"}}'
    )
    cli.write("personas/chef.yaml", text)
    cli.write("personas/bad.yaml", "system: {{ x }}\n")
    code, out, _ = cli("--junit", "out.xml", *MODEL)
    assert code == 1
    assert "\x1b]0;x\x07" in out  # only a terminal shows marks
    root = ET.parse(cli.folder / "out.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    cases = root.findall("testsuite/testcase")
    assert [case.get("classname") for case in cases] == ["personas/bad.yaml", *["chef"] * 3]
    failure = cases[1].find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("render contains: expected '")
    assert "😀" in str(failure.text)
    assert cases[1].get("line") == "5"


def test_the_tests_of_the_personas_that_ship_pass(cli: Cli) -> None:
    code, out, _ = cli(str(Path(__file__).parents[2] / "personas"), CI="true")
    assert (code, out.splitlines()[0].strip(".")) == (0, "")


def test_ctrl_c_exits_with_130_and_keeps_what_was_recorded(cli: Cli) -> None:
    cli.write("personas/chef.yaml", CHEF + CHEF[CHEF.index("  - name: says") :].replace(
        "says hello", "says it again"))  # fmt: skip
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},
                         "finish_reason": "stop"}]}  # fmt: skip
    answer = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        process = subprocess.Popen(
            cli.args(*MODEL), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=cli.folder, env={**cli.env, "OPENAI_BASE_URL": url},
        )  # fmt: skip
        listener.settimeout(60)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            _read_request(connection)
            connection.sendall(head % len(answer) + answer)
            # The second request is here: the first answer has been recorded.
            _read_request(connection)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in out + err
    assert out.decode().startswith("...\n3 passed in ")
    assert cli("-k", "says hello", CI="1")[0] == 0
    assert cli("-k", "it again", CI="1")[0] == 1


def _read_request(connection: socket.socket) -> None:
    data = b""
    while not data.rstrip().endswith(b"}"):
        data += connection.recv(65536)


def test_help(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    for option in ("--record", "-k", "-x", "-v", "--junit", "-m"):
        assert option in out


def test_the_session_in_the_docs_is_what_it_prints(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
    source = page.partition("```yaml\n")[2].partition("```")[0]
    shown = [block.partition("```")[0] for block in page.split("```console\n$ personakit test")[1:]]
    edits = [("", ""), ("in french", "in French"), ("in one sentence", "in one short sentence")]
    with Server(["Hello, Zoë!", "PASS: it is friendly"]) as server:
        cli = Cli(tmp_path, server)
        for block, (old, new) in zip(shown, edits, strict=True):
            options, _, expected = block.partition("\n")
            source = source.replace(old, new) if old else source
            cli.write("personas/greeter.yaml", source)
            assert _timeless(cli(*options.split())[1]) == _timeless(expected)
        collected = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "personas/"],
            cwd=tmp_path, env={**cli.env, "COLUMNS": "200"}, capture_output=True, text=True,
            timeout=60, check=False,
        ).stdout  # fmt: skip
    for line in page.partition("$ pytest personas/\n")[2].partition("```")[0].splitlines():
        assert line in collected


def _timeless(text: str) -> str:
    return re.sub(r"in \d+\.\d\d s", "in 0 s", text)
