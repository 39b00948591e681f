"""What the tests of chat share."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from personakit.testing import Reply, Server

MODEL = ("-m", "openai/test-model")


REFUSED = Reply(b'{"error": {"message": "no such thing"}}', status=400)


class Slow:
    """An answer that arrives as the test says, and notes when nobody listens any more."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._texts: queue.Queue[str | None] = queue.Queue()
        self.left: queue.Queue[bool] = queue.Queue()

    def say(self, text: str | None) -> None:
        """Let a text arrive; None for the end."""
        self._texts.put(text)

    def reply(self) -> Reply:
        def body() -> Generator[bytes]:
            try:
                while (text := self._texts.get(timeout=60)) is not None:
                    _, *pieces, end, done = self._server.events(text, usage=False)
                    yield b"".join(pieces)
                yield end + done
            except GeneratorExit:
                self.left.put(True)
                raise

        return Reply(body(), headers={"content-type": "text/event-stream"})


@contextmanager
def chat(shell: Any, server: Server, *args: str, **env: str) -> Iterator[Any]:
    """A session that waits for what is said first."""
    shell.write("who.yaml", "system: You are {{ cook }}.\nvariables: {cook: Florent}\n")
    options = {**server.environ(), **env}
    with shell.terminal("chat", "who.yaml", *MODEL, *args, **options) as session:
        session.until("/help lists the commands")
        session.until("0 messages")
        yield session


def said(server: Server, number: int = -1) -> list[tuple[str, str]]:
    messages = server.requests[number].body["messages"]
    return [(message["role"], message["content"]) for message in messages]
