"""The calls of one turn of an event loop in one transaction, which costs more than a call in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from personakit.database import SQLError

if TYPE_CHECKING:
    import asyncio

    from personakit.database import Connection

T = TypeVar("T")
_NONE: tuple[asyncio.AbstractEventLoop | None, list[Any]] = (None, [])


class Failed(Exception):
    """The transaction of a call failed, so the call has no effect and can be made alone."""


def apart(action: Callable[[], object]) -> None:
    """Call an action in a thread; its errors are dropped."""

    def run() -> None:
        with contextlib.suppress(Exception):
            action()

    # The process is exiting, or has reached its limit of threads.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=run, name="personakit-late").start()


class _Call(NamedTuple):
    action: Callable[[], Any]
    context: Context
    future: asyncio.Future[Any]


class _Undone(Exception):
    """Undoes a transaction for a call that failed after it had written something."""

    def __init__(self, call: _Call, error: Exception) -> None:
        super().__init__()
        self.call, self.error = call, error


class Together:
    """Collects calls, and makes those of a turn of the event loop in one transaction.

    Each has its own result. If one raises an error after it has written something, nothing is
    written, and the others have to be made alone. An error of the file is that of all.

    Args:
        write: Calls a function with a connection, in a transaction that does not wait.
    """

    def __init__(self, write: Callable[[Callable[[Connection], Any]], Any]) -> None:
        self._write = write
        self._thread = threading.local()

    @property
    def connection(self) -> Connection | None:
        """The connection of the transaction in which a call of this thread is being made."""
        connection: Connection | None = getattr(self._thread, "connection", None)
        return connection

    def on_failure(self, undo: Callable[[], None]) -> None:
        """Have a function called if the transaction fails in which a call is being made."""
        self._thread.undo.append(undo)

    async def call(
        self,
        action: Callable[[], T],
        revoke: Callable[[T], None] | None = None,
        missed: Callable[[], None] | None = None,
    ) -> T:
        """Return the result of an action that is part of the next transaction.

        Args:
            action: The action. It is not made if the caller is cancelled before.
            revoke: Called with the result if the caller is cancelled afterwards.
            missed: Called if the caller is cancelled before.

        Raises:
            Failed: The transaction failed, such as for a file that is locked.
        """
        # Commands that use the ledger need no event loop, whose import takes 16 ms.
        import asyncio  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # A loop that was stopped may have left some.
        of, waiting = getattr(self._thread, "waiting", _NONE)
        if of is not loop:
            waiting = []
            self._thread.waiting = loop, waiting
            loop.call_soon(self._run, waiting)
        waiting.append(_Call(action, copy_context(), future))
        try:
            return await future
        except BaseException:
            is_made = not future.cancel() and not future.cancelled() and not future.exception()
            if is_made and revoke is not None:
                revoke(future.result())
            elif missed is not None and future.cancelled():
                missed()
            raise

    def _run(self, waiting: list[_Call]) -> None:
        self._thread.waiting = _NONE
        self._thread.undo = []
        calls = [call for call in waiting if not call.future.cancelled()]
        try:
            results = self._write(lambda connection: self._results(calls, connection))
        except _Undone as undone:
            self._take_back()
            for call in calls:
                call.future.set_exception(undone.error if call is undone.call else Failed())
            return
        except Exception:  # whatever it is: each call made alone says what is wrong with it
            self._take_back()
            for call in calls:
                call.future.set_exception(Failed())
            return
        except BaseException:  # Ctrl-C, after which a notebook uses the loop again
            self._take_back()
            for call in calls:
                call.future.set_exception(Failed())
            raise
        for call, (result, failure) in zip(calls, results, strict=True):
            if failure is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(failure)

    def _take_back(self) -> None:
        undo, self._thread.undo = self._thread.undo, []
        for function in undo:
            function()

    def _results(
        self, calls: list[_Call], connection: Connection
    ) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = []
        self._take_back()  # of an attempt that failed
        self._thread.connection = connection
        try:
            for call in calls:
                before = connection.total_changes
                try:
                    results.append((call.context.run(call.action), None))
                except SQLError:
                    raise
                except Exception as error:
                    # A savepoint for each call would cost more: refusals write nothing.
                    if connection.total_changes != before:
                        raise _Undone(call, error) from error
                    results.append((None, error))
        finally:
            self._thread.connection = None
        return results
