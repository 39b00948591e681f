"""`personakit chat` through a pipe, and what it keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.chat import MODEL, REFUSED, Slow, chat, said

from personakit.testing import Server


def test_text_as_it_comes_and_nothing_kept(shell: Any) -> None:
    args = ("--no-markdown", "--no-log")
    with Server(["**as** it \x1b[2J is"]) as server, chat(shell, server, *args) as session:
        session.press("Hi\r")
        session.until("**as** it \\u001b[2J is\n")
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0
    assert not (shell.folder / "home").exists()


def test_a_history_that_cannot_be_kept_is_said_and_the_chat_goes_on(shell: Any) -> None:
    shell.write("home/.local/share/personakit", "a file")
    with Server(["ok"]) as server, chat(shell, server) as session:
        assert "cannot save the input history" in session.text
        session.press("Hi\r")
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0


# --- through a pipe ------------------------------------------------------------------------------


def pipe(shell: Any, server: Server, *lines: str, args: tuple[str, ...] = ()) -> Any:
    shell.write("who.yaml", "system: You are {{ cook }}.\nvariables: {cook: Florent}\n")
    shell.write("poet.yaml", "system: You rhyme.\n")
    text = "".join(f"{line}\n" for line in lines)
    return shell("chat", "who.yaml", *MODEL, *args, stdin=text, **server.environ())


def test_each_line_that_is_piped_in_is_a_turn(shell: Any) -> None:
    with Server(["One \x1b[2J.", "Two."]) as server:
        done = pipe(shell, server, "a", "", "b\r", "//c", args=("-v", "cook=Zoë"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "One \x1b[2J.\nTwo.\nTwo.\n", "")
    assert said(server)[0] == ("system", "You are Zoë.")
    assert [text for role, text in said(server) if role == "user"] == ["a", "b", "/c"]


def test_commands_through_a_pipe(shell: Any) -> None:
    with Server(["One.", "Two.", "Three.", "Four."]) as server:
        done = pipe(
            shell, server, "a", "/save x.json", "/persona poet.yaml", "/model openai/other",
            "/set temperature=0.5", "b", "/undo", "/load x.json", "c", "/reset", "d", "exit", "e",
        )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout == "One.\nTwo.\nThree.\nFour.\n"
    assert said(server, 1) == [
        ("system", "You rhyme."),
        ("user", "a"),
        ("assistant", "One."),
        ("user", "b"),
    ]
    body = server.requests[1].body
    assert (body["model"], body["temperature"]) == ("other", 0.5)
    assert said(server, 2)[0] == ("system", "You are Florent.")
    assert said(server, 2)[-2:] == [("assistant", "One."), ("user", "c")]
    assert said(server, 3)[1:] == [("user", "d")]
    assert json.loads((shell.folder / "x.json").read_text("utf-8"))["persona"] == "who.yaml"


WRONG = {
    "/personna x": "unknown command '/personna'; did you mean '/persona'?",
    "/persona nobody-here": "no persona 'nobody-here'",
    "/model opnai/x": "did you mean 'openai'",
    "/set cok=1": "no variable or parameter 'cok'; did you mean 'cook'?",
    "/set cook": "/set: expected NAME=VALUE, found 'cook'",
    "/set temperature=9": "expected a number from 0 to 2, found 9",
    "/set zzz=1": "expected one of cook, frequency_penalty",
    "/undo": "cannot undo",
    "/retry": "nothing to retry",
    "/undo 2": "/undo accepts no argument, found '2'",
    "/reset all": "/reset accepts no argument, found 'all'",
    "/quit now": "/quit accepts no argument, found 'now'",
    "/save": "/save requires a file name",
    "/save who.yaml": "who.yaml already exists and is not a saved conversation",
    "/save! who.yaml": "who.yaml already exists and is not a saved conversation",
    "/save other.json": "is another saved conversation; choose another name, or replace it with /s",
    "/save no/x.json": "cannot be written",
    "/load nothing.json": "cannot be read",
    "/load who.yaml": "not a saved conversation",
}


def test_a_command_that_cannot_be_done_is_said_and_the_chat_goes_on(shell: Any) -> None:
    with Server(["Fine."]) as server:
        pipe(shell, server, "/save other.json")
        done = pipe(shell, server, *WRONG, " exit")
        assert said(server)[-1] == ("user", " exit")
        again = pipe(shell, server, "/save! other.json", "/save other.json", "quit")
        assert (again.returncode, "left the chat; to send the word" in again.stderr) == (0, True)
    assert [error for error in WRONG.values() if error not in done.stderr] == []
    assert done.stderr.count("Error: ") == len(WRONG)
    assert (done.returncode, done.stdout) == (1, "Fine.\n")
    assert "system: You are" in (shell.folder / "who.yaml").read_text("utf-8")


@pytest.mark.parametrize("limit", ["--timeout", "--deadline"])
def test_a_turn_has_the_limits_that_run_has(limit: str, shell: Any) -> None:
    with Server([]) as server:
        slow = Slow(server)
        server.answers = [slow.reply()]
        done = pipe(shell, server, "Hi", args=(limit, "0.5"))
        slow.say(None)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: test-model at " in done.stderr
    assert "`timeout` or `deadline`" in done.stderr


@pytest.mark.parametrize("value", ["0", "soon", "nan", "inf", "-1"])
def test_a_limit_that_is_none(value: str, shell: Any) -> None:
    done = shell("chat", "who.yaml", *MODEL, "--deadline", value)
    assert done.returncode == 2
    assert f"'--deadline': expected a number of seconds above 0, found '{value}'" in done.stderr


def test_variables_that_another_persona_does_not_take_are_left_out_and_named(shell: Any) -> None:
    with Server(["ok"]) as server:
        lines = ("/persona poet.yaml", "/persona", "/model", "/set", "Hi")
        done = pipe(shell, server, *lines, args=("-v", "cook=Zoë", "-p", "seed=1"))
    assert "poet answers now (without cook, which it does not declare)" in done.stderr
    assert "openai/test-model" in done.stderr
    assert "seed=1" in done.stderr
    assert (done.returncode, said(server)[0]) == (0, ("system", "You rhyme."))


def test_what_is_left_out_is_said_on_standard_error(shell: Any) -> None:
    shell.write("short.yaml", "system: x\nhistory: {keep: 2}\n")
    with Server(["ok"]) as server:
        done = shell("chat", "short.yaml", *MODEL, stdin="a\nb\nc\n", **server.environ())
    assert done.stdout == "ok\nok\nok\n"
    assert done.stderr == ("the 2 oldest of 4 messages are no longer sent (history: {keep: 2})\n")
    assert [text for _, text in said(server)] == ["x", "b", "ok", "c"]


def test_a_failed_turn_through_a_pipe_exits_with_1_and_the_next_is_answered(shell: Any) -> None:
    with Server([REFUSED, "Fine."]) as server:
        done = pipe(shell, server, "a", "b")
    assert (done.returncode, done.stdout) == (1, "Fine.\n")
    assert "no such thing" in done.stderr
    assert "/retry" not in done.stderr


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["chat"], "no model is chosen"),
        (["chat", "nobody-here", *MODEL], "no persona 'nobody-here'"),
        (["chat", "chef", "-m", "opnai/x"], "did you mean 'openai'"),
        (["chat", "chef", *MODEL, "-v", "gests=2"], "did you mean 'guests'"),
        (["chat", "town.yaml", *MODEL], "town"),
        (["chat", "chef"], "no model is chosen"),
    ],
)
def test_what_is_wrong_from_the_start_is_said_before_anything_is_read(
    shell: Any, args: list[str], error: str
) -> None:
    shell.write("town.yaml", "system: In {{ town }}.\nvariables: {town: {type: string}}\n")
    done = shell(*args, stdin="Hi\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr


def test_standard_input_that_is_no_text(shell: Any) -> None:
    shell.write("who.yaml", "system: x\n")
    with Server(["ok"]) as server:
        done = shell("chat", "who.yaml", *MODEL, stdin=b"a\ncaf\xe9\n", **server.environ())
    assert (done.returncode, done.stdout) == (2, "ok\n")
    assert "not UTF-8 (line 2, byte 3)" in done.stderr
