"""A notebook in a real kernel, cell by cell, with the messages that the kernel sends."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.util import run_sync
from nbformat import v4

from personakit.testing import Reply, Server

_v4: Any = v4


class Client(NotebookClient):
    """A client that keeps the messages of the kernel."""

    messages: list[dict[str, Any]]

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Keep a message, and do what the client does."""
        self.messages.append(msg)
        return super().process_message(msg, cell, cell_index)


class Notebook:
    """A notebook whose cells are executed one by one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, source: str) -> Any:
        """Execute a new cell and return it."""
        cell = _v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.messages = []
        with suppress(CellExecutionError):
            self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return cell

    def count(self, kind: str) -> int:
        """Return how many messages of a type the last cell sent."""
        return len(self.sent(kind))

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type that the last cell sent."""
        return [it for it in self.client.messages if it["msg_type"] == kind]

    @property
    def pid(self) -> int:
        """The process of the kernel."""
        manager: Any = self.client.km
        number: int = manager.provisioner.process.pid
        return number

    def completed(self, typed: str) -> list[str]:
        """Return what Tab offers at the end of a text."""
        client: Any = self.client.kc
        client.complete(typed)
        reply = run_sync(client.get_shell_msg)(timeout=60)
        matches: list[str] = reply["content"]["matches"]
        return matches

    def text(self) -> str:
        """Return the notebook as its file would be."""
        return str(json.dumps(self.client.nb))


@contextmanager
def opened(folder: Path, env: dict[str, str]) -> Iterator[Notebook]:
    """Start a kernel in a folder with an environment."""
    client = Client(
        _v4.new_notebook(),
        timeout=60,
        coalesce_streams=True,  # a kernel sends what is printed in any number of pieces
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.messages = []
    with client.setup_kernel(env=env):
        yield Notebook(client)


def shown(cell: Any, kind: str = "text/markdown") -> str:
    """Return the outputs of a cell that have a form, joined."""
    found = [out.data[kind] for out in cell.outputs if kind in out.get("data", {})]
    return "\n".join(found)


def failed(cell: Any) -> str:
    """Return the traceback of a cell that failed, as it is shown."""
    return "\n".join("\n".join(it.traceback) for it in cell.outputs if it.output_type == "error")


def slow(server: Server, text: str, seconds: float) -> Reply:
    """Return an answer whose pieces come during some seconds."""
    events = list(server.events(text, usage=True))

    def pieces() -> Generator[bytes]:
        for event in events:
            time.sleep(seconds / len(events))
            yield event

    return Reply(pieces(), headers={"content-type": "text/event-stream"})


class Desk:
    """A notebook and the server that its runs ask.

    Attributes:
        notebook: The notebook.
        server: The server.
        folder: The folder of the notebook.
    """

    def __init__(self, notebook: Notebook, server: Server, folder: Path) -> None:
        self.notebook, self.server, self.folder = notebook, server, folder

    def __call__(self, source: str, *answers: Any) -> Any:
        """Execute a cell whose runs get answers."""
        if answers:
            self.server.answers = answers
            self.server.requests.clear()
        return self.notebook(source)

    def prompt(self) -> str:
        """Return the prompt of the last request."""
        content: str = self.server.requests[-1].body["messages"][-1]["content"]
        return content

    def system(self) -> str:
        """Return the system message of the last request."""
        content: str = self.server.requests[-1].body["messages"][0]["content"]
        return content
