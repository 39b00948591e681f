"""Questions of plugins and tools to the person at a terminal."""

from __future__ import annotations

import re
import shlex
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import pages
from helpers.asking import TOOLS, Booking
from helpers.cli import Commands
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from personakit import Question, UsageError
from personakit.base import printable
from personakit.cli.shared.questions import answered, chosen

RUN = ("run", "ann.yaml", "To Oslo", "--functions", "mine.py")
CHAT = ("chat", "ann.yaml", "--functions", "mine.py")
CHOICES = ("yes", "no", "yes for this run")


@pytest.fixture
def server() -> Iterator[Booking]:
    with Booking() as server:
        yield server


@pytest.fixture
def desk(shell: Any, server: Booking) -> Any:
    """The command line, with a tool that asks and a model that calls it."""
    shell.write("ann.yaml", "system: You plan journeys.\nmodel: openai/m\n")
    shell.write("mine.py", TOOLS)
    shell.env |= server.environ()
    return shell


@pytest.fixture
def commands(desk: Any) -> Commands:
    """The same in this process, where nobody is at a terminal."""
    commands = Commands(desk.folder)
    commands.env |= desk.env | {"XDG_DATA_HOME": str(desk.folder / "home/.local/share")}
    return commands


def booked(desk: Any) -> str:
    file = desk.folder / "booked"
    text: str = file.read_text() if file.exists() else ""
    return text


# --- run -----------------------------------------------------------------------------------------


def test_a_question_is_asked_below_the_text_and_the_answer_goes_on_below(desk: Any) -> None:
    with desk.terminal(*RUN) as session:
        session.press("no\r")  # before the question: it is no answer
        session.until("Let me see.\n")
        session.until("personakit asks: Book the 9:12?")
        session.until('  │ {"train": "the 9:12"}\n  1 yes   2 no   3 yes for this run\nAnswer: ')
        session.say("perhaps")
        session.until("'perhaps' is not an answer to 'Book the 9:12?'; answer one of 'yes', 'no',")
        session.until("3 yes for this run\nAnswer: ")
        session.say("y")
        session.until("personakit: book {")
        session.until("**Done**.\n")
        assert session.end() == 0
    assert booked(desk) == "the 9:12: yes\n"


def test_ctrl_d_suspends_the_run_which_goes_on_with_the_printed_command(
    desk: Any, commands: Commands, server: Booking
) -> None:
    with desk.terminal(*RUN) as session:
        session.until("Answer: ")
        session.press("\x04")
        session.until("personakit: the run is suspended: ")
        session.until("To go on: ")
        assert session.end() == 3
    command = session.text[session.seen :].strip()
    assert command.endswith("--answer yes --functions mine.py")
    done = commands(*shlex.split(command)[1:])
    assert (done.code, done.out) == (0, "Let me see.\n\n**Done**.\n")
    assert booked(desk) == "the 9:12: yes\n"
    assert len(server.requests) == 2


def test_a_resumed_run_asks_on_the_terminal(desk: Any, commands: Commands, server: Booking) -> None:
    assert commands(*RUN).code == 3
    with desk.terminal("run", "--resume", "last", "--functions", "mine.py") as session:
        session.until("Book the 9:12?")
        session.until("Answer: ")
        session.say("no")
        session.until("**Done**.")
        assert session.end() == 0
    assert booked(desk) == "the 9:12: no\n"
    assert len(server.requests) == 2


def test_ctrl_c_stops_the_run(desk: Any) -> None:
    with desk.terminal(*RUN) as session:
        session.until("Answer: ")
        session.press("\x03")
        assert session.end() == 130
    assert booked(desk) == ""


@pytest.mark.parametrize("redirect", ["< /dev/null", "2> errors"])
def test_nobody_is_there_without_a_terminal_to_read_and_type(redirect: str, desk: Any) -> None:
    line = f"{shlex.join(desk.args(*RUN))} {redirect}"
    code, text = pages.typed(line, desk.folder, {**desk.env, "TERM": "xterm"})
    assert code == 3
    assert "Answer:" not in text


def test_a_question_controls_no_terminal_and_is_cut_until_all_of_it_is_wanted(desk: Any) -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\u202e\x85\nAnswer: yes\n" + "x" * 500
    lines = "\\n".join([*map(str, range(40)), "y" * 200])
    tool = TOOLS.replace('f"Book {train}?"', repr(hostile))
    desk.write("mine.py", tool.replace("details=details", f"details='{lines}'"))
    with desk.terminal(*RUN) as session:
        session.until("personakit asks: \\u001b[2J\\u001b]0;x\\u0007\\u202e\\u0085")
        session.until("  │ Answer: yes\n  │ xxx")
        first = session.until("Answer (? shows all of it): ")
        assert "  │ 11\n  │ … (29 more lines)\n" in first
        session.say("?")
        whole = session.until("1 yes")
        assert "  │ 39\n" in whole
        assert "".join(re.findall("y{9,}", whole)) == "y" * 200
        session.until("Answer: ")
        session.say("2")
        assert session.end() == 0
    assert not re.search("\x1b(?!\\[[0-9;]*[mK])|[\x07\x85\u202e]", session.text)
    assert booked(desk) == "the 9:12: no\n"


def test_questions_from_threads_are_asked_one_after_the_other(desk: Any) -> None:
    desk.write("mine.py", GATHERING)
    with desk.terminal(*RUN) as session:
        for answer in ("1", "n"):
            session.until("asks: Number ")
            number = session.until("?")
            assert "asks:" not in session.until("Answer: "), number
            session.say(answer)
        assert session.end() == 0
    with desk.terminal(*RUN) as session:
        session.until("Answer: ")
        session.press("no\x03")
        assert session.end() == 130
        assert termios.tcgetattr(session.fd)[3] & termios.ECHO
    assert session.text.count("Answer: ") == 1


GATHERING = '''
import personakit

async def book(train: str) -> str:
    """Book a train."""
    ask = personakit.ask
    answers = await personakit.gather(
        ask("Number 1?", choices=["yes", "no"]), ask("Number 2?", choices=["yes", "no"])
    )
    return ", ".join(answers)
'''


@pytest.mark.parametrize("args", [(*RUN, "--no-stream"), CHAT])
def test_a_signal_stops_a_question_of_a_thread(args: tuple[str, ...], desk: Any) -> None:
    with desk.terminal(*args) as session:  # an async tool runs in a thread
        if args == CHAT:
            session.until("0 messages")
            session.press("To Oslo\r")
        session.until("Answer: ")
        session.interrupt()
        if args == CHAT:
            session.until("stopped;")
            session.until("messages")
            session.press("\x04")
        assert session.end() == (0 if args == CHAT else 130)
    assert booked(desk) == ""


# --- chat ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["--markdown", "--no-markdown"])
def test_a_question_in_the_middle_of_a_turn(how: str, desk: Any) -> None:
    with desk.terminal(*CHAT, how) as session:
        session.until("0 messages")
        session.press("To Oslo\r")
        session.until("Let me see.")
        session.until("personakit asks: Book the 9:12?")
        session.until("Answer: ")
        session.press("ye\r")
        assert "ye\n" in session.until("book {")
        session.until("Done")
        session.until("4 messages")
        session.press("\x04")
        assert session.end() == 0
    assert booked(desk) == "the 9:12: yes\n"
    history = desk.folder / "home/.local/share/personakit/chat-history"
    assert [line for line in history.read_text().splitlines() if line[:1] == "+"] == ["+To Oslo"]


def test_a_turn_is_stopped_or_suspended_and_goes_on_in_its_chat(
    desk: Any, commands: Commands, server: Booking
) -> None:
    with desk.terminal(*CHAT) as session:
        session.until("0 messages")
        session.press("/resume\r")
        session.until("no turn of this chat waits for an answer")
        session.press("To Bergen\r")
        session.until("Answer: ")
        session.press("\x03")
        session.until("stopped;")
        session.until("2 messages")
        session.press("To Oslo\r")
        session.until("Answer: ")
        session.press("\x04")
        session.until("personakit: the run is suspended: ")
        session.until("--answer yes --functions mine.py")
        session.until("/resume asks again")
        session.until("2 messages")
        session.press("/resume\r")
        session.until("Answer: ")
        session.press("no\r")
        session.until("Done")
        session.until("6 messages")
        session.press("\x04")
        assert session.end() == 0
    assert booked(desk) == "the 9:12: no\n"
    assert len(server.requests) == 3
    assert commands("chat", "-c", stdin="Thanks\n").code == 0
    roles = [message["role"] for message in server.requests[-1].body["messages"]]
    assert roles[-5:] == ["user", "assistant", "tool", "assistant", "user"]


# --- what is shown and understood ----------------------------------------------------------------


@given(st.text(max_size=300), st.text(max_size=3000), st.integers(20, 200))
def test_every_line_fits_and_shows_no_control_characters(
    text: str, details: str, width: int
) -> None:
    lines: list[str] = []
    answers = iter(("?", "?", "yes"))

    def read(prompt: str) -> str:
        return next(answers)

    question = Question(text or "?", ("yes", "no"), details, "acme")
    assert answered(question, lambda line, **_: lines.append(line), read, width) == "yes"
    shown = [line for line in lines if line.startswith("  │ ")]
    assert all(cell_len(line) < width for line in shown)
    assert all(line == printable(line) and "\n" not in line for line in lines)


@given(st.text(max_size=9))
def test_an_answer_is_a_choice_or_an_error(text: str) -> None:
    try:
        choice = chosen(Question("Allow?", CHOICES), text)
    except UsageError:
        return
    word = text.strip()
    assert word
    assert word.isdigit() or choice.startswith(word.casefold())


def test_numbers_count_from_one_unless_choices_are_numbers() -> None:
    assert chosen(Question("Allow?", CHOICES), " 2 ") == "no"
    assert chosen(Question("How many?", ("2", "1")), "1") == "1"
    with pytest.raises(UsageError):
        chosen(Question("Allow?", CHOICES), "4")
    assert chosen(Question("Name?"), "1") == "1"


def test_a_turn_that_fails_when_it_goes_on_can_go_on_again(desk: Any, server: Booking) -> None:
    with desk.terminal(*CHAT) as session:
        session.until("0 messages")
        session.press("To Oslo\r")
        session.until("Answer: ")
        session.press("\x04")
        session.until("/resume asks again")
        server.fails = True
        session.press("/resume\r")
        session.until("Answer: ")
        session.press("yes\r")
        session.until("not now")
        server.fails = False
        session.press("/resume\r")
        session.until("Done")
        session.until("4 messages")
        session.press("\x04")
        assert session.end() == 0
    assert booked(desk) == "the 9:12: yes\n"
