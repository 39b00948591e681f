"""`personakit chat`: sessions on a real terminal with a real server, and chats through a pipe."""

from __future__ import annotations

import re
import stat
from typing import Any

import pytest
from helpers.chat import MODEL, REFUSED, Slow, chat, said

from personakit.testing import Reply, Server

CONTROL = re.compile(r"\x1b(?:\[([?>=]?)([0-9;]*)([A-Za-z])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>78])")


TOO_LONG = Reply(
    b'{"error": {"message": "too much", "code": "context_length_exceeded",'
    b' "type": "This model\'s maximum context length is 5 tokens."}}',
    status=400,
)


class Window:
    """What a terminal shows of what is written to it; it wraps lines anew when it is resized."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[list[str]] = [[]]
        self.wrapped: list[bool] = [False]
        self.y = self.x = 0

    @property
    def text(self) -> str:
        joined = "".join(
            "".join(line) + ("" if wrapped else "\n")
            for line, wrapped in zip(self.lines, self.wrapped, strict=True)
        )
        return "\n".join(line.rstrip() for line in joined.split("\n")).strip("\n")

    def write(self, text: str) -> None:
        at = 0
        for found in CONTROL.finditer(text):
            self._put(text[at : found.start()])
            self._obey(found[1], found[2], found[3])
            at = found.end()
        assert "\x1b" not in text[at:], f"not understood: {text[at:]!r}"
        self._put(text[at:])

    def resize(self, columns: int) -> None:
        self.columns = columns
        lines = self.text.split("\n")
        self.lines, self.wrapped, self.y, self.x = [[]], [False], 0, 0
        self._put("\n".join(lines))

    def _put(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self.x = 0
            elif character == "\n":
                self._down()
            elif character >= " ":
                if self.x == self.columns:
                    self.wrapped[self.y] = True
                    self._down()
                line = self.lines[self.y]
                line += " " * (self.x + 1 - len(line))
                line[self.x] = character
                self.x += 1

    def _down(self) -> None:
        self.y, self.x = self.y + 1, 0
        while len(self.lines) <= self.y:
            self.lines.append([])
            self.wrapped.append(False)

    def _obey(self, kind: str | None, numbers: str, letter: str | None) -> None:
        count = int(numbers or 1) if numbers.isdigit() or not numbers else 1
        if kind or not letter or letter in "mn":
            return
        if letter == "A":
            self.y = max(self.y - count, len(self.lines) - self.rows, 0)
        elif letter == "B":
            self.y = min(self.y + count, len(self.lines) - 1)
        elif letter == "C":
            self.x = min(self.x + count, self.columns - 1)
        elif letter == "D":
            self.x = max(min(self.x, self.columns - 1) - count, 0)
        elif letter in "KJ":
            del self.lines[self.y][self.x :]
            self.wrapped[self.y] = False
            for line in self.lines[self.y + 1 :] if letter == "J" else ():
                line.clear()
        else:
            raise AssertionError(f"not understood: {kind}{numbers}{letter}")


# --- on a terminal -------------------------------------------------------------------------------


def test_a_chat_on_a_terminal(shell: Any) -> None:
    with Server(["Soup.", "**Bread**.", "x"]) as server, chat(shell, server) as session:
        session.press("Dinner?\r")
        session.until("Soup.")
        session.until("2 messages")
        session.press("And with it?\r")
        session.until("Bread")
        session.until("4 messages")
        session.press("//help me\r")
        session.until("6 messages")
        session.press("/modle\r")
        session.until("unknown command '/modle'; did you mean '/model'?")
        session.press("/frobnicate\r")
        session.until("/help lists them")
        session.press("/help\r")
        session.until("/retry")
        session.until("Ctrl-D leaves")
        session.press("/set cook=Zo\xeb\r")
        session.until("cook=Zo\xeb")
        session.until("6 messages")
        session.press("\r  \r")
        session.press("\x04")
        assert session.end() == 0
    assert "**" not in session.text
    assert said(server, 1) == [
        ("system", "You are Florent."),
        ("user", "Dinner?"),
        ("assistant", "Soup."),
        ("user", "And with it?"),
    ]
    assert said(server, 2)[-1] == ("user", "/help me")
    assert len(server.requests) == 3
    file = shell.folder / "home/.local/share/personakit/chat-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "+Dinner?" in file.read_text("utf-8")


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(shell: Any) -> None:
    with Server([]) as server:
        slow, again = Slow(server), Slow(server)
        server.answers = [slow.reply(), "Done.", again.reply(), "New."]
        with chat(shell, server) as session:
            session.press("Count.\r")
            slow.say("one")
            session.until("one")
            session.press("\x03")
            session.until("stopped; the partial answer is kept")
            session.until("2 messages")
            for _ in range(500):
                slow.say("nobody listens " * 100)
            assert slow.left.get(timeout=60)
            session.press("Go on.\r")
            session.until("Done.")
            session.until("4 messages")
            session.press("/undo\r")
            session.until("took back 'Go on.'")
            session.until("2 messages")
            session.press("More.\r")
            again.say("two")
            session.until("two")
            session.press("\x03")
            session.until("4 messages")
            session.press("/retry\r")
            session.until("again: 'More.'")
            session.until("New.")
            session.press("/quit\r")
            assert session.end() == 0
    partial = [("user", "Count."), ("assistant", "one")]
    assert said(server, 1)[1:] == [*partial, ("user", "Go on.")]
    assert said(server, 3)[1:] == [*partial, ("user", "More.")]
    assert "^C" not in session.text


def test_lines_pasted_or_typed_are_one_message_and_ctrl_c_clears_them(shell: Any) -> None:
    with Server(["ok"]) as server, chat(shell, server) as session:
        session.press("\x1b[200~first\nsecond\n/third\x1b[201~")
        session.press("\r")
        session.until("2 messages")
        session.press("one\x1b\rtwo\r")
        session.until("4 messages")
        session.press("forget this")
        session.until("forget this")
        session.press("\x03")
        session.until("Ctrl-C again or Ctrl-D leaves")
        session.press("three\r")
        session.until("6 messages")
        session.press("\x03")
        session.until("Ctrl-C again or Ctrl-D leaves")
        session.press("\x03")
        assert session.end() == 0
    prompts = [said(server, n)[-1][1] for n in range(len(server.requests))]
    assert prompts == ["first\nsecond\n/third", "one\ntwo", "three"]


def test_commands_and_their_arguments_are_completed(shell: Any) -> None:
    with Server(["ok"]) as server, chat(shell, server) as session:
        session.press("/sav")
        session.until("save the conversation to a file")
        session.press("\t\x03")
        session.until("Ctrl-C again")
        session.press("/set co")
        session.until("cook=")
        session.press("\t")
        session.until("ok=")
        session.press("Ana\r")
        session.until("cook=Ana")
        session.press("Hi\r")
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0
    assert said(server)[0] == ("system", "You are Ana.")


def test_a_turn_that_fails_is_one_line_and_can_be_said_again(shell: Any) -> None:
    with Server([REFUSED, "Fine.", TOO_LONG]) as server, chat(shell, server) as session:
        session.press("Hi\r")
        line = session.until("/retry sends the message again").split("\n")[-1]
        assert "no such thing" in line
        session.until("0 messages")
        session.press("/retry\r")
        session.until("Fine.")
        session.until("2 messages")
        session.press("More\r")
        error = session.until("/model switches to another model")
        assert "no longer fits" in error
        assert "(undo)" in error
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0


def test_what_is_typed_while_an_answer_arrives_waits_for_its_end(shell: Any) -> None:
    with Server([]) as server:
        slow = Slow(server)
        server.answers = [slow.reply(), "Second."]
        with chat(shell, server) as session:
            session.press("a\r")
            slow.say("First.")
            session.until("First.")
            session.press("typed ahead\r")
            slow.say(" And more.")
            before = session.until("And more.")
            assert "typed" not in before
            slow.say(None)
            session.until("Second.")
            session.until("4 messages")
            session.press("\x04")
            assert session.end() == 0
    assert said(server)[-1] == ("user", "typed ahead")


LONG = "Numbers: " + " ".join(f"n{number}" for number in range(80)) + "."


ANSWER = f"""# Title

{LONG}

- an <b>item</b> with [a link](http://example.com/a)
- another

```python
print("code")
```

{"".join(f"{n}. entry {n}" + chr(10) for n in range(1, 41))}
The end, which is \x1b]0;title\x07 \x1b[2J \x9b2J \u202e &#8238; safe.
"""


def test_an_answer_taller_than_the_screen_stands_there_once(shell: Any) -> None:
    with Server([ANSWER], size=7) as server, chat(shell, server) as session:
        start = len(session.text)
        session.press("Hi\r")
        session.until("safe.")
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0
    window = Window()
    window.write(session.text[start:])
    words = window.text.split()
    entries = [word for word in words if word in {f"n{n}" for n in range(80)}]
    assert entries == [f"n{n}" for n in range(79)]  # the last one has its full stop
    for n in range(1, 41):
        assert window.text.count(f"entry {n}\n") == 1
    for once in (
        "Title",
        "<b>item</b>",
        "a link (http://example.com/a)",
        'print("code")',
        "The end",
    ):
        assert window.text.count(once) == 1
    assert "\\u001b[2J" in window.text
    assert "\x1b[2J" not in session.text
    assert "\\u009b2J \\u202e \\u202e safe." in window.text
    assert "\x1b]0;" not in session.text
    assert "\x9b" not in session.text
    assert "\u202e" not in session.text


@pytest.mark.parametrize("reflows", [True, False])
def test_a_window_that_is_resized_in_an_answer(shell: Any, reflows: bool) -> None:
    env = {} if reflows else {"XTERM_VERSION": "XTerm(390)"}
    with Server([]) as server:
        slow = Slow(server)
        server.answers = [slow.reply()]
        with chat(shell, server, **env) as session:
            window, at = Window(), len(session.text)
            session.press("Hi\r")
            slow.say(f"Before.\n\n{LONG[:-1]}")
            session.until("n79")
            window.write(session.text[at : session.seen])
            for columns in (40, 60, 45):
                at = session.seen
                session.resize(columns, 24)
                if reflows:
                    window.resize(columns)
                window.columns = columns
                session.until("n79")
                window.write(session.text[at : session.seen])
            at = session.seen
            slow.say(", and the end.")
            slow.say(None)
            session.until("2 messages")
            session.press("\x04")
            assert session.end() == 0
            window.write(session.text[at:])
    words = window.text.split()
    assert words[words.index("Numbers:") + 1 :][:79] == [f"n{n}" for n in range(79)]
    assert [words.count(word) for word in ("Before.", "Numbers:", "n5", "n79,", "n79")] == [
        1, 1, 1, 1, 0,
    ]  # fmt: skip


def test_what_is_left_out_is_said_above_the_answer(shell: Any) -> None:
    shell.write("short.yaml", "system: x\nhistory: {keep: 0}\n")
    with (
        Server(["One.", "> " * 400 + "Two."]) as server,
        shell.terminal("chat", "short.yaml", *MODEL, **server.environ()) as session,
    ):
        session.until("0 messages")
        session.press("a\r")
        session.until("2 messages")
        at = session.seen
        session.press("b\r")
        session.until("2 no longer sent")
        session.press("\x04")
        assert session.end() == 0
    window = Window()
    window.write(session.text[at:])
    lines = [line for line in window.text.split("\n") if "of 2 messages are no longer sent" in line]
    assert lines == ["the 2 oldest of 2 messages are no longer sent (history: {keep: 0})"]
    assert "Two." in window.text
