"""Streams: the text of a run as it arrives, for `for` loops and for `async for` loops.

There is a class for each, because web frameworks and type checkers choose the loop by the methods
that an object has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from personakit.base import TextBuffer, brief_repr
from personakit.errors import UsageError
from personakit.hookspecs import Piece
from personakit.pipeline.modes.drivers import Run, adrive, drive

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from personakit.messages import Response

    T_co = DefaultTypeVar("T_co", covariant=True, default=Response[Any])
else:
    T_co = TypeVar("T_co", covariant=True)

_MIXED = (
    "a stream is read either as text, by iterating over it, or by its `pieces()`, not as both; "
    "text is among the pieces: `piece.text` where `piece.kind` is 'text'"
)


class _Reading(Generic[T_co]):
    """What both kinds of streams have: a run, its text so far, and its response at the end."""

    def __init__(self, run: Run[T_co]) -> None:
        self._run = run
        self._out = TextBuffer()

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield from (("text", self.text), ("ended", self._run.result is not None))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied: its answer arrives only once; "
            f"read it to its end, then use its `response`, which can be"
        )

    @property
    def text(self) -> str:
        """The text read so far."""
        return self._out.text

    @property
    def response(self) -> T_co:
        """The whole response, once the stream has ended.

        Raises:
            PersonakitError: The stream has not ended.
        """
        return self._run.finished()

    def _check_text(self) -> None:
        if self._run.by_pieces:
            raise UsageError(_MIXED)

    def _read_pieces(self) -> None:
        if self._run.begun and not self._run.by_pieces:
            raise UsageError(_MIXED)
        self._run.by_pieces = True

    def _kept(self, item: Any) -> Piece:
        """Return an item of the outbox as a piece; keep its text."""
        if isinstance(item, str):
            self._out.add(item)
            return Piece("text", item)
        piece: Piece = item
        return piece


class Stream(_Reading[T_co]):
    """The text of a run as it arrives, for a `for` loop; returned by `stream`.

    Closing it, leaving its `with` block or dropping it ends the request.

    Attributes:
        text: The text read so far.
        response: The whole response, once the stream has ended.
    """

    def __init__(self, run: Run[T_co]) -> None:
        super().__init__(run)
        self._items: Any = drive(run)

    def __iter__(self) -> Stream[T_co]:
        self._check_text()
        return self

    def __next__(self) -> str:
        if self._run.by_pieces:
            raise UsageError(_MIXED)
        text: str = next(self._items)
        self._out.add(text)
        return text

    def pieces(self) -> Iterator[Piece]:
        """Return an iterator of all pieces of the answer.

        The texts of its pieces of kind ``text`` are those of iterating over the stream itself. The
        others are reasoning, tool calls, annotations and, at the end of each model call, usage.

        Raises:
            UsageError: The stream is being read as text.
        """
        self._read_pieces()
        return map(self._kept, self._items)

    def close(self) -> None:
        """Close the stream and end its request."""
        self._items.close()

    def __enter__(self) -> Stream[T_co]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStream(_Reading[T_co]):
    """The text of a run as it arrives, for an `async for` loop; returned by `astream`.

    Closing it, leaving its `async with` block or dropping it ends the request. So does a task that
    reads it and fails or is cancelled, unless another task reads on.

    Attributes:
        text: The text read so far.
        response: The whole response, once the stream has ended.
    """

    def __init__(self, run: Run[T_co]) -> None:
        super().__init__(run)
        self._items: Any = adrive(run)

    def __aiter__(self) -> AsyncStream[T_co]:
        self._check_text()
        return self

    async def __anext__(self) -> str:
        keeper = self._run.keeper
        if keeper is None or keeper.reader is not keeper.current_task() or self._run.by_pieces:
            self._check_text()
            self._begin()
        text: str = await anext(self._items)
        self._out.add(text)
        return text

    def pieces(self) -> AsyncIterator[Piece]:
        """Return an async iterator of all pieces of the answer; see `Stream.pieces`.

        Raises:
            UsageError: The stream is being read as text.
        """
        self._read_pieces()
        return AsyncPieces(self)

    async def aclose(self) -> None:
        """Close the stream and end its request."""
        if self._run.keeper is not None:
            await self._run.keeper.closed()
        await self._items.aclose()

    async def __aenter__(self) -> AsyncStream[T_co]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._run.keeper is not None:
            self._run.keeper.drop()

    def _begin(self) -> None:
        """Note the task that reads on, so that the request ends if the task fails.

        Raises:
            PersonakitError: The stream was closed because the task that read it failed.
        """
        # Importing asyncio takes 16 ms, which commands without an event loop need not spend.
        from personakit.pipeline.modes.keeper import Keeper  # noqa: PLC0415

        if self._run.keeper is None:
            if self._items.ag_frame is None:
                return  # closed before it was read
            try:
                self._run.keeper = Keeper(self._items)
            except RuntimeError:
                return  # no loop of asyncio is running, which could close it
        self._run.keeper.begin()


class AsyncPieces:
    """The pieces of an async stream, which it keeps open; see `Stream.pieces`."""

    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncStream[Any]) -> None:
        self._stream = stream

    def __reduce__(self) -> NoReturn:
        self._stream.__reduce__()

    def __aiter__(self) -> AsyncPieces:
        return self

    async def __anext__(self) -> Piece:
        stream = self._stream
        keeper = stream._run.keeper
        if keeper is None or keeper.reader is not keeper.current_task():
            stream._begin()
        return stream._kept(await anext(stream._items))
