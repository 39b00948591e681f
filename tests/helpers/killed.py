"""Runs in processes of their own, each of which can be killed at a chosen point.

Run as a program, it forks a process for each command that it reads: that takes 20 ms, while a new
interpreter imports for 700 ms.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import personakit
from personakit import JournalFolder, Question, Runner, Suspended, ToolCall, hookimpl
from personakit.config import Config
from personakit.testing import Server

PERSONA = "name: notes\nsystem: You take notes.\nmodel: openai/test-model\n"


def die() -> None:
    """Kill this process, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class Gate:
    """Asks before each tool call; the code of another day does something else."""

    def __init__(self, code: str) -> None:
        self.code = code

    @hookimpl
    async def tool(self, call: ToolCall, send: Any) -> Any:
        if self.code == "embeds":
            await send.embed(["x"], model="openai/test-model")
        if self.code != "quiet":
            answer = await personakit.ask(f"Allow {call.arguments}?", choices=("yes", "no"))
            if answer == "no":
                return personakit.ToolResult(call.id, "refused", is_error=True)
        return await send(call)


class Dying(JournalFolder):
    """Kills the process before or after it writes for the n-th time."""

    def __init__(self, path: Path, kill: Sequence[Any]) -> None:
        super().__init__(path)
        self.kill, self.count = list(kill), 0

    def append(self, id: str, at: int, lines: Sequence[str]) -> None:  # noqa: A002
        self.count += 1
        if self.kill == ["before", self.count]:
            die()
        super().append(id, at, lines)
        if self.kill == ["after", self.count]:
            die()


def ran(command: dict[str, Any]) -> dict[str, Any]:
    """Run or resume a run as a command says, and return what it came to."""
    folder, kill = Path(command["folder"]), command.get("kill", ())
    (folder / "pid").write_text(str(os.getpid()))
    questions: list[str] = []

    def note(text: str) -> str:
        """Write a note."""
        with (folder / "notes").open("a") as stream:
            stream.write(f"{text}\n")
        if list(kill) == ["tool", text]:
            die()
        return f"noted {text}"

    def asker(question: Question) -> str | None:
        if list(kill) == ["asked", question.id]:
            die()
        again = "interrupted" in question.text
        answer: str | None = command.get("again" if again else "answer")
        if again:
            questions.append(question.details)
        return answer

    config = Config(path=(folder,), environ=command["environ"])
    plugins = [Gate(command.get("code", ""))]
    journals = Dying(folder / "journals", kill)
    file, text = folder / "notes.yaml", command.get("persona", PERSONA)
    if not file.exists() or file.read_text() != text:  # others read it at the same time
        file.write_text(text)
    runner = Runner(config, plugins=plugins, ask=asker, journals=journals)
    try:
        if command.get("id"):
            response = runner.resume(command["id"], command.get("given"), tools=[note])
        else:
            response = runner.run("notes", "Take notes.", tools=[note])
    except Suspended as suspended:
        waiting = {question.id: question.text for question in suspended.questions}
        return {"id": suspended.id, "questions": waiting}
    except personakit.PersonakitError as error:
        plugin = getattr(error, "plugin", "")
        return {"error": type(error).__name__, "message": str(error), "plugin": plugin}
    spent = response.spent
    return {
        "text": response.text,
        "messages": [message.to_api() for message in response.messages],
        "calls": spent.calls,
        "tokens": spent.usage.total_tokens if spent.usage else None,
        "incomplete": spent.usage is None or spent.usage.incomplete,
        "again": [json.loads(details)["text"] for details in questions],
    }


class Processes:
    """Runs commands, each in a process of its own; made by `processes`."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def __call__(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Run commands at the same time; return the result of each, empty if it was killed."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(commands) + "\n")
        self._program.stdin.flush()
        result: list[dict[str, Any]] = json.loads(self._program.stdout.readline())
        return result


@contextmanager
def processes() -> Iterator[Processes]:
    """Start the program that forks a process for each command."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield Processes(program)


def main() -> None:
    """Read lists of commands, run each in a process, and write what they came to."""
    with Server(["Hi"]) as server, tempfile.TemporaryDirectory() as folder:
        ran({"folder": folder, "environ": server.environ()})  # what is imported now is not again
    for line in sys.stdin:
        children = []
        for command in json.loads(line):
            reads, writes = os.pipe()
            if (child := os.fork()) == 0:
                status = 1
                try:
                    os.write(writes, json.dumps(ran(command)).encode())
                    status = 0
                finally:
                    os._exit(status)
            os.close(writes)
            children.append((child, reads))
        results = []
        for child, reads in children:
            with open(reads, encoding="utf-8") as stream:  # noqa: PTH123 - Path.open takes no handle
                text = stream.read()
            status = os.waitpid(child, 0)[1]
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            results.append(json.loads(text) if text else {"killed": killed})
        sys.stdout.write(json.dumps(results) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
