"""Recordings: what the tests of a persona asked a model, and what it answered, kept for replay.

One JSON file a persona, in the folder ``recordings`` beside it. What is recorded is the request as
it leaves the plugins and the answer as it comes back, so that plugins run for real on a replay.
Headers, addresses and keys are in neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personakit.base import private_files
from personakit.codec import diffable, difference, pretty, read_error, read_response, write_response
from personakit.errors import BackendError, UsageError
from personakit.messages import Request, Response

if TYPE_CHECKING:
    from personakit.base import Emit
    from personakit.pipeline import Backend

FOLDER = "recordings"
FORMAT = 1
Mode = Literal["new", "all", "none"]
MODES: tuple[Mode, ...] = ("new", "all", "none")

Exchange = dict[str, Any]


class Unrecorded(BaseException):
    """A request that may not be sent, and that no recording answers.

    No `except Exception` of a plugin stops it.

    Attributes:
        message: What is missing.
        detail: The difference between the request that was recorded and this one.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


@dataclass(slots=True)
class Cassette:
    """The exchanges of one test, in order.

    Attributes:
        left: Those recorded earlier that have not been replayed yet.
        may_ask: True when the model may be asked once none are left.
        used: Those of this run, replayed and new.
        new: How many of them are new.
    """

    left: list[Exchange] = field(default_factory=list)
    may_ask: bool = False
    used: list[Exchange] = field(default_factory=list)
    new: int = 0

    def replay(self, request: Any) -> Exchange | None:
        """Return the recorded exchange of a request; None when the model is to be asked.

        Raises:
            Unrecorded: The recording is of another request, or there is none.
        """
        for index, exchange in enumerate(self.left):
            if exchange["request"] == request:
                self.used.append(self.left.pop(index))
                return exchange
        if self.left:
            detail = difference(self.left[0]["request"], request)
            raise Unrecorded("the request is not the one that was recorded", detail)
        if not self.may_ask:
            raise Unrecorded("there is no recording")
        return None

    def add(self, exchange: Exchange) -> None:
        """Keep a new exchange."""
        self.used.append(exchange)
        self.new += 1

    def finished(self) -> list[Exchange]:
        """Return what to keep: errors count only where an answer came after them."""
        kept = list(self.used)
        while kept and "error" in kept[-1]:
            kept.pop()
        return kept


@dataclass(slots=True)
class ReplayBackend:
    """A backend that answers from a cassette, and records on it what it has to ask.

    Attributes:
        backend: Returns what sends the requests.
        cassette: The cassette of the test that runs.
    """

    backend: Callable[[], Backend]
    cassette: Cassette = field(default_factory=Cassette)

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Answer a request.

        Raises:
            Unrecorded: The model may not be asked.
            BackendError: The model failed, now or when this was recorded.
        """
        written = diffable(request)
        exchange = self.cassette.replay(written)
        if exchange is None:
            exchange = await self._ask(request, written)
        elif "error" in exchange:
            raise read_error(exchange["error"])
        # A new answer is read back as well, so that a test sees the same now and later.
        response = read_response(exchange["response"]).replace(request=request)
        if emit is not None and response.text:
            await emit(response.text)
        return response

    async def _ask(self, request: Request, written: Any) -> Exchange:
        try:
            response = await self.backend().send(request)
        except BackendError as error:
            # Its message may quote a key.
            name = type(error).__name__
            self.cassette.add({"error": {"status": error.status, "type": name}, "request": written})
            raise
        exchange = {"request": written, "response": write_response(response)}
        self.cassette.add(exchange)
        return exchange


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded of one test.

    Attributes:
        model: The model that the test was run with.
        exchanges: What it asked and was answered, in order.
    """

    model: str = ""
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Recordings:
    """The file with the recordings of one persona.

    Attributes:
        path: Where it is; it need not exist.
    """

    path: Path

    @classmethod
    def of(cls, persona: str) -> Recordings:
        """Return the recordings of a persona's file."""
        file = Path(persona)
        stem = file.stem if file.suffix == ".yaml" else file.name
        return cls(file.parent / FOLDER / f"{stem}.json")

    def read(self) -> dict[str, Recording]:
        """Return the recordings by the names of their tests.

        Raises:
            UsageError: The file cannot be read, or is not what was written.
        """
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path}: cannot be read: {error}") from None
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError(f"its format is {data['format']!r}, not {FORMAT}")
            return {name: _recording(entry) for name, entry in data["tests"].items()}
        except json.JSONDecodeError as error:
            fault = f"{self.path}:{error.lineno}:{error.colno}: no JSON: {error.msg}"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            fault = f"{self.path}: no recordings: {str(error) or 'nested too deep'}"
        raise UsageError(f"{fault}; restore the file, or delete it and record again")

    def write(self, name: str, recording: Recording, tests: Iterable[str]) -> None:
        """Put in the recording of a test, and drop those of tests that are no more.

        The file is replaced as a whole: it is never seen half written.

        Args:
            name: The test's name.
            recording: What is recorded of it.
            tests: The names of all tests that the persona has.

        Raises:
            UsageError: The file cannot be written.
        """
        known = {**self.read(), name: recording}
        entries = {
            test: {"exchanges": list(known[test].exchanges), "model": known[test].model}
            for test in tests
            if test in known
        }
        text = pretty({"format": FORMAT, "tests": entries}) + "\n"
        try:
            self.path.parent.mkdir(exist_ok=True)
            private_files.replace(self.path, [text.encode()], mode=None)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from None


def _recording(entry: dict[str, Any]) -> Recording:
    """Return an entry of the file, checked by reading it once.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    for exchange in entry["exchanges"]:
        if not isinstance(exchange["request"], dict):
            raise TypeError("a request is no mapping")
        if "error" in exchange:
            read_error(exchange["error"])
        else:
            read_response(exchange["response"])
    return Recording(str(entry["model"]), tuple(entry["exchanges"]))
