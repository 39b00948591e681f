"""Recordings: the requests and answers of a persona's tests, stored for replay.

Each persona has one JSON file, in the folder ``recordings`` beside it. It stores each request after
the plugins changed it and each answer before they do, so plugins run for real on a replay. Headers,
addresses and keys are not stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from personakit.base import private_files, read_file
from personakit.codec import diffable, difference, pretty, read_error, read_response, write_response
from personakit.embeddings import Embeddings, ask_backend, read_embeddings, write_embeddings
from personakit.errors import BackendError, UsageError
from personakit.messages import Request, Response
from personakit.permissions import within

if TYPE_CHECKING:
    from personakit.base import Emit
    from personakit.pipeline import Backend

FOLDER = "recordings"
FORMAT = 1
LARGEST = 64_000_000
"""The largest size of a file, in bytes."""
Mode = Literal["new", "all", "none"]
MODES: tuple[Mode, ...] = ("new", "all", "none")

Exchange = dict[str, Any]


class Unrecorded(BaseException):
    """A request without a recording that may not be sent.

    A BaseException, so that no `except Exception` of a plugin catches it.

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
        left: The recorded exchanges that have not been replayed yet.
        may_ask: True if the model may be asked when `left` is empty.
        used: The exchanges of this run, replayed and new.
        new: The number of new exchanges in `used`.
    """

    left: list[Exchange] = field(default_factory=list)
    may_ask: bool = False
    used: list[Exchange] = field(default_factory=list)
    new: int = 0

    def replay(self, request: Any) -> Exchange | None:
        """Return the recorded exchange of a request; None if the model must be asked.

        Raises:
            Unrecorded: The recorded request differs, or there is no recording and the model may
                not be asked.
        """
        for index, exchange in enumerate(self.left):
            if exchange["request"] == request:
                self.used.append(self.left.pop(index))
                return exchange
        if self.left:
            detail = difference(self.left[0]["request"], request)
            raise Unrecorded("the request differs from the recorded one", detail)
        if not self.may_ask:
            raise Unrecorded("there is no recording")
        return None

    def add(self, exchange: Exchange) -> None:
        """Add a new exchange."""
        self.used.append(exchange)
        self.new += 1

    def finished(self) -> list[Exchange]:
        """Return the exchanges to store, without errors that no answer follows."""
        kept = list(self.used)
        while kept and "error" in kept[-1]:
            kept.pop()
        return kept


@dataclass(slots=True)
class ReplayBackend:
    """A backend that answers from a cassette and records new exchanges on it.

    Attributes:
        backend: Returns the backend that sends requests to the model.
        cassette: The cassette of the current test.
    """

    backend: Callable[[], Backend]
    cassette: Cassette = field(default_factory=Cassette)

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Answer a request.

        Raises:
            Unrecorded: The request has no recording, and the model may not be asked.
            BackendError: The request failed, now or when it was recorded.
        """
        written = diffable(request)
        exchange = self.cassette.replay(written)
        if exchange is None:
            exchange = await self._ask(request, written)
        elif "error" in exchange:
            raise read_error(exchange["error"])
        # A new answer is read back as well, so that a test sees the same on a replay.
        response = read_response(exchange["response"]).replace(request=request)
        if emit is not None and response.text:
            await emit(response.text)
        return response

    async def embed(self, texts: Sequence[str], request: Request) -> Embeddings:
        """Return the embeddings of texts; see `send`."""
        written = diffable(request)
        exchange = self.cassette.replay(written)
        if exchange is None:
            with self._kept(written):
                result = await ask_backend(self.backend(), texts, request)
            exchange = {"embeddings": write_embeddings(result), "request": written}
            self.cassette.add(exchange)
        elif "error" in exchange:
            raise read_error(exchange["error"])
        return read_embeddings(exchange["embeddings"])

    async def _ask(self, request: Request, written: Any) -> Exchange:
        with self._kept(written):
            response = await self.backend().send(request)
        exchange = {"request": written, "response": write_response(response)}
        self.cassette.add(exchange)
        return exchange

    @contextmanager
    def _kept(self, written: Any) -> Iterator[None]:
        """Record the error of a request."""
        try:
            yield
        except BackendError as error:
            # The message may contain a key, so it is not stored.
            name = type(error).__name__
            self.cassette.add({"error": {"status": error.status, "type": name}, "request": written})
            raise


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording of one test.

    Attributes:
        model: The model that the test was run with.
        exchanges: The requests and their answers, in order.
    """

    model: str = ""
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Recordings:
    """The file with the recordings of one persona.

    Attributes:
        path: The path of the file, which need not exist.
    """

    path: Path

    @classmethod
    def of(cls, persona: str) -> Recordings:
        """Return the recordings of a persona's file.

        Raises:
            UsageError: The path is a link out of the folder of the persona's file.
        """
        file = Path(persona)
        stem = file.stem if file.suffix == ".yaml" else file.name
        name = f"{FOLDER}/{stem}.json"
        try:
            within(file.parent, name)
        except ValueError as error:
            raise UsageError(f"{persona}: recordings: {error}; replace the link") from None
        return cls(file.parent / name)

    def read(self) -> dict[str, Recording]:
        """Return the recordings by the names of their tests.

        Raises:
            UsageError: The file cannot be read or is invalid.
        """
        try:
            text = read_file(self.path, LARGEST).decode("utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path}: cannot be read: {error}") from None
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, found {data['format']!r}")
            return {name: _recording(entry) for name, entry in data["tests"].items()}
        except json.JSONDecodeError as error:
            fault = f"{self.path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}"
        except KeyError as error:
            fault = f"{self.path}: not a valid recordings file: key {error} is missing"
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            fault = f"{self.path}: not a valid recordings file: {str(error) or 'nested too deep'}"
        raise UsageError(f"{fault}; restore the file, or delete it and record again")

    def write(self, name: str, recording: Recording, tests: Iterable[str]) -> None:
        """Write the recording of a test, and delete those of tests that no longer exist.

        The file is replaced atomically.

        Args:
            name: The test's name.
            recording: The recording of the test.
            tests: The names of all tests of the persona.

        Raises:
            UsageError: The file cannot be written.
        """
        recordings = {**self.read(), name: recording}
        entries = {
            test: {"exchanges": list(recordings[test].exchanges), "model": recordings[test].model}
            for test in tests
            if test in recordings
        }
        text = pretty({"format": FORMAT, "tests": entries}) + "\n"
        try:
            self.path.parent.mkdir(exist_ok=True)
            private_files.replace(self.path, [text.encode()], mode=None)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from None


def _recording(entry: dict[str, Any]) -> Recording:
    """Return the recording of an entry, after checking that each exchange can be read.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: The entry is invalid.
    """
    for exchange in entry["exchanges"]:
        if not isinstance(exchange["request"], dict):
            raise TypeError("a request is not a mapping")
        if "error" in exchange:
            read_error(exchange["error"])
        elif "embeddings" in exchange:
            read_embeddings(exchange["embeddings"])
        else:
            read_response(exchange["response"])
    return Recording(str(entry["model"]), tuple(entry["exchanges"]))
