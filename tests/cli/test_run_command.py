"""`personakit run`: what goes along, what an answer took, and the value alone."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from personakit.testing import Server

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
WHO = """system: You look.
model: openai/gpt-4o-mini
output:
  type: object
  properties: {capital: {type: string}}
  required: [capital]
  additionalProperties: false
"""
GOOD = '{"capital": "Paris"}'
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 50,
    "total_tokens": 1250,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}

Called = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(tmp_path: Path) -> Called:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "who.yaml").write_text(WHO)
    (tmp_path / "plain.yaml").write_text("system: You talk.\nmodel: openai/gpt-4o-mini\n")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PERSONAKIT_PLUGINS": "",
        **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "PYTHON", "COV_"))},
    }

    def call(
        *args: str, stdin: bytes = b"", server: Server | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "personakit", "run", *args],
            input=stdin, capture_output=True, cwd=tmp_path, timeout=60, check=False,
            env={**env, **(server.environ() if server else {})},
        )  # fmt: skip
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(args, done.returncode, out, err)

    return call


def whole(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "model": "gpt-4o-mini-2024-07-18", "choices": [choice], **more}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server([whole(GOOD, usage=USAGE)]) as server:
        yield server


# --- attachments ----------------------------------------------------------------------------------


def test_dash_a_shows_in_a_dry_run(call: Called) -> None:
    done = call("./who.yaml", "What?", "-a", "cat.png", "-a", "https://x.org/b.png", "--dry-run")
    assert "--- user\nWhat?\n[image/png, 28 bytes]\n[https://x.org/b.png]\n" in done.stdout
    done = call("./who.yaml", "-a", "cat.png", "--dry-run", "--json")
    content = json.loads(done.stdout)["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["image_url"]


@pytest.mark.parametrize(
    ("words", "stdin", "shown"),
    [
        (["What?", "-a", "-"], PNG, "--- user\nWhat?\n[image/png, 28 bytes]\n"),
        (["-a", "-"], PNG, "--- user\n[image/png, 28 bytes]\n"),
        (["-a", "cat.png"], b"What?", "--- user\nWhat?\n[image/png, 28 bytes]\n"),
    ],
)
def test_standard_input_is_the_prompt_or_an_attachment(
    call: Called, words: list[str], stdin: bytes, shown: str
) -> None:
    assert shown in call("./who.yaml", *words, "--dry-run", stdin=stdin).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-", "-a", "-"], "standard input can be read only once"),
        (["-a", "-", "-a", "-"], "standard input can be read only once"),
        (["-a", "cat.pgn"], "did you mean 'cat.png'?"),
        (["-a", "who.yaml"], "it is text, which belongs in the prompt"),
        (["--json-output", "--json"], "cannot be combined with --json"),
        (["--json-output", "--stream"], "cannot be combined with --stream"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(
    call: Called, server: Server, words: list[str], said: str
) -> None:
    done = call("./who.yaml", *words, stdin=PNG, server=server)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert server.requests == []


def test_an_attachment_is_sent(call: Called, server: Server) -> None:
    assert call("./who.yaml", "What?", "-a", "cat.png", server=server).stdout == GOOD + "\n"
    kinds = [part["type"] for part in server.requests[0].body["messages"][-1]["content"]]
    assert kinds == ["text", "image_url"]


# --- the value ------------------------------------------------------------------------------------


def test_json_output_is_the_value_alone(call: Called) -> None:
    with Server([f"Sure!\n```json\n{GOOD}\n```\n"]) as server:
        done = call("./who.yaml", "France", "--json-output", server=server)
    assert (done.returncode, done.stdout, done.stderr) == (0, GOOD + "\n", "")


def test_json_output_keeps_what_is_no_value_out_of_standard_output(call: Called) -> None:
    with Server(['{"capital": 7}']) as server:
        done = call("./who.yaml", "France", "--json-output", server=server)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith('{"capital": 7}\nError: the answer does not match the output')
        assert "- $.capital: 7 is not of type 'string'" in done.stderr
        # Without the option, the text is what was paid for.
        done = call("./who.yaml", "France", server=server)
        assert (done.returncode, done.stdout) == (1, '{"capital": 7}\n')
        done = call("./who.yaml", "France", "--stream", server=server)
        assert (done.returncode, done.stdout) == (1, '{"capital": 7}\n')


def test_json_output_needs_an_output(call: Called, server: Server) -> None:
    done = call("./plain.yaml", "Hi", "--json-output", server=server)
    assert (done.returncode, done.stdout) == (2, "")
    assert "persona 'plain' has no `output:`; add the JSON Schema" in done.stderr
    assert server.requests == []


# --- what it took ---------------------------------------------------------------------------------

LINE = (
    "personakit: 1,200 tokens in (400 cached), 50 out (30 reasoning), $0.000180, "
    "openai/gpt-4o-mini, "
)


def test_usage_is_one_line_on_standard_error(call: Called, server: Server) -> None:
    done = call("./who.yaml", "France", "--usage", server=server)
    assert done.stdout == GOOD + "\n"
    assert done.stderr.startswith(LINE)
    assert done.stderr.endswith(" s\n")
    assert done.stderr.count("\n") == 1
    done = call("./who.yaml", "France", "--usage", "--json-output", server=server)
    assert (done.stdout, done.stderr[: len(LINE)]) == (GOOD + "\n", LINE)


def test_usage_says_what_is_unknown(call: Called) -> None:
    with Server([whole("Hi!")]) as server:
        done = call("./plain.yaml", "Hi", "--usage", "-m", "openai/nonesuch", server=server)
        assert done.stderr.startswith("personakit: tokens unknown, cost unknown, openai/nonesuch, ")


def test_usage_of_a_stream(call: Called) -> None:
    with Server(["Hello"]) as server:
        done = call("./plain.yaml", "Hi", "--stream", "--usage", server=server)
    assert done.stdout == "Hello\n"
    assert done.stderr.startswith("personakit: 5 tokens in, 5 out, $0.000004, openai/gpt-4o-mini,")


def test_json_has_value_cost_and_details(call: Called, server: Server) -> None:
    done = json.loads(call("./who.yaml", "France", "--json", server=server).stdout)
    assert done["parsed"] == {"capital": "Paris"}
    assert done["cost"] == pytest.approx(0.00018)
    assert done["usage"] == {
        "prompt_tokens": 1200, "completion_tokens": 50, "total_tokens": 1250,
        "cached_tokens": 400, "reasoning_tokens": 30, "cache_write_tokens": 0,
        "incomplete": False,
    }  # fmt: skip
    with Server([whole("Hi!")]) as server:
        done = json.loads(call("./plain.yaml", "Hi", "--json", server=server).stdout)
    assert (done["parsed"], done["cost"], done["usage"]) == (None, None, None)


@pytest.mark.parametrize("options", [["--stream"], ["--no-stream"]])
def test_an_answer_that_was_cut_at_its_limit_is_told(call: Called, options: list[str]) -> None:
    cut = whole("Once upon a")
    cut["choices"][0]["finish_reason"] = "length"
    with Server([cut]) as server:
        done = call("./plain.yaml", "Tell me.", "-m", "openai/x", *options, server=server)
    assert done.stdout == "Once upon a\n"
    assert "personakit: the answer is cut off at the token limit" in done.stderr


@pytest.mark.parametrize(
    ("closed", "args"),
    [
        (">&-", ["Hi"]), ("2>&-", ["Hi"]), ("<&-", []), ("<&- >&- 2>&-", ["Hi"]),
        (">&-", ["Hi", "--json"]), (">&-", ["Hi", "--stream"]),
    ],
)  # fmt: skip
def test_closed_standard_streams_do_not_end_a_run(
    closed: str, args: list[str], tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text("system: You talk.\nmodel: openai/m\n")
    with Server(["Hello!"]) as server:
        line = shlex.join([sys.executable, "-m", "personakit", "run", "./p.yaml", *args])
        done = subprocess.run(
            ["/bin/sh", "-c", f"exec {line} {closed}"],
            env={**os.environ, **server.environ(), "PERSONAKIT_LOG": "off"},
            cwd=tmp_path, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, len(server.requests)) == (0, 1)
    assert b"Traceback" not in done.stderr
    assert done.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else b"Hello!\n")


def test_a_filtered_answer_has_a_notice(call: Called) -> None:
    for reason, notice in (("content_filter", "held back the rest"), ("length", "cut off")):
        with Server() as server:
            body = server.whole("Half")
            body["choices"][0]["finish_reason"] = reason
            server.answers = [body]
            done = call("./plain.yaml", "Hi", server=server)
        assert (done.returncode, done.stdout) == (0, "Half\n")
        assert notice in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_parameter_that_is_left_out_has_a_notice_and_is_in_the_trace(
    call: Called, tmp_path: Path
) -> None:
    keys = "system: Hi.\nmodel: openai/gpt-5-mini\nparameters: {temperature: 0.5}\n"
    (tmp_path / "wish.yaml").write_text(keys)
    with Server(["Hello!"]) as server:
        done = call("./wish.yaml", "Hi", "--trace", server=server)
        ordered = call("./wish.yaml", "Hi", "-p", "temperature=null", server=server)
        wrong = call("./wish.yaml", "Hi", "-p", "temprature=null", server=server)
    first, last = done.stderr.splitlines()
    assert first == ("personakit: temperature is left out: openai/gpt-5-mini does not accept it")
    assert last.startswith("model, answered, sent without temperature,")
    assert all("temperature" not in request.body for request in server.requests)
    assert (ordered.returncode, ordered.stderr) == (0, "")
    assert wrong.returncode == 2
    assert "did you mean 'temperature'?" in wrong.stderr
