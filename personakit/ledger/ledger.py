"""The ledger: keys, budgets, limits and kept values, in one SQLite file for all processes."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from personakit.base import in_sync, io
from personakit.config import state_folder
from personakit.database import WAIT, Database, Format
from personakit.errors import Blocked
from personakit.ledger import admission, budgets
from personakit.ledger.amounts import Account, Amount, Reservation, Total
from personakit.ledger.errors import LedgerError, explained
from personakit.ledger.keys import fields, imports, stored
from personakit.ledger.keys.key import Key, hashed, new_token
from personakit.ledger.tables import MARK, MIGRATIONS
from personakit.ledger.together import Failed, Together, apart
from personakit.ledger.worker import Worker

if TYPE_CHECKING:
    from personakit.database import Connection

P = ParamSpec("P")
T = TypeVar("T")
_AT_ONCE = 0.0005
_SEVERAL = 4  # model calls; with fewer, a turn of the event loop takes longer than a transaction

EXPIRES = 3600.0
"""Seconds after which a reservation that was not settled stops counting."""


def _default() -> Path:
    try:
        return state_folder(os.environ) / "ledger.db"
    except RuntimeError:  # a user without a home folder, such as in a container
        raise LedgerError(
            "there is no folder for the ledger: the user has no home folder; set XDG_STATE_HOME, "
            "or name a file for the ledger"
        ) from None


class Ledger:
    """Keys, budgets and limits of a service, shared by all its processes. Threads can share it.

    What is decided is in the file alone, so it holds for all processes. Each method is one
    transaction. After a crash of a process, nothing is lost; after a loss of power, the last moment
    may be.

    Args:
        path: The file; the first write creates it and its folder. None for ``ledger.db`` in
            personakit's folder in the user's state folder.
        patience: Seconds to wait while another process writes.
        earlier: Called for a file with the tables of an earlier program, in the transaction that
            creates those of the ledger, with the connection of `sqlite3`: returns what they count,
            pairs of an account and the total of its bucket, and reservations; or None if they are
            not known.

    Attributes:
        running: The number of model calls that `metered` has under way.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        patience: float = WAIT,
        earlier: Callable[[Any], Iterable[tuple[Account, Total] | Reservation] | None]
        | None = None,
    ) -> None:
        self.path = _default() if path is None else Path(path)
        self.patience = patience

        def take_over(connection: Connection) -> bool:
            entries = None if earlier is None else earlier(connection)
            for entry in entries or ():
                budgets.enter(connection, entry)
            return entries is not None

        form = Format(
            MARK, MIGRATIONS, LedgerError, explained, take_over if earlier else None, apart=True
        )
        self._database = Database(self.path, form)
        self._worker = Worker(self._beat)
        self._thread = threading.local()
        self._together = Together(lambda action: self._database.write(action, _AT_ONCE))
        self.running = 0

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self._database.close()

    async def soon(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method from a coroutine: at once if the file is free, else in a thread.

        Calling it in a thread each time would take longer than the call. The event loop waits half
        a millisecond at most. It can be awaited in a hook under the sync API as well. While several
        model calls run, those of a turn of the event loop are one transaction.

            await ledger.soon(ledger.admit, key, request)

        Args:
            method: A method of this ledger, or a function whose first effect is to call one: it is
                called again if it raises a `LedgerError` that says that the file is locked.
            args: Its arguments.
            kwargs: Its named arguments.
        """
        return await self._soon(functools.partial(method, *args, **kwargs))

    async def surely(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method as `soon` does, also if the caller is cancelled before."""
        it = functools.partial(method, *args, **kwargs)
        return await self._soon(it, functools.partial(apart, it))

    async def _soon(self, method: Callable[[], T], missed: Callable[[], None] | None = None) -> T:
        if self._database.is_quick and not in_sync():
            try:
                if self.running >= _SEVERAL:
                    return await self._together.call(method, self._revoke, missed)
                self._thread.patience = _AT_ONCE
                return method()
            except Failed:
                pass
            except LedgerError as error:
                if not error.locked:
                    raise
            except Blocked as error:
                if not getattr(error.__cause__, "locked", False):
                    raise
            finally:
                self._thread.patience = None
        return await io(method)()

    # --- keys -----------------------------------------------------------------------------------

    def new_key(self, name: str, **limits: Any) -> tuple[Key, str]:
        """Create a key and return it with its token, which is stored nowhere.

        Args:
            name: The name, of 1 to 100 printable characters.
            limits: Other attributes of `Key`, except `created` and `revoked`.

        Raises:
            UsageError: The name is taken, or a value is wrong.
            LedgerError: The ledger cannot be written.
        """
        token, now = new_token(), time.time()
        key = fields.key(name, limits, now)
        self._write(lambda connection: stored.insert(connection, key, hashed(token)))
        return key, token

    def key(self, token: str) -> Key | None:
        """Return the key of a token, also an expired or revoked one; None for an unknown token.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        found = hashed(token)
        return self._read(lambda connection: stored.find(connection, found))

    def keys(self) -> list[Key]:
        """Return all keys, sorted by name, also expired and revoked ones.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return self._read(stored.every)

    def revoke(self, name: str) -> None:
        """Revoke a key: it is refused from now on.

        Raises:
            UsageError: No key that is not revoked has this name.
            LedgerError: The ledger cannot be written.
        """
        self._write(lambda connection: stored.revoke(connection, name, time.time()))

    def import_keys(self, path: str | Path) -> list[Key]:
        """Import the keys of a YAML file, all or none; a key of the same name is replaced.

        Args:
            path: The file, with a list `keys:`. Each has a `name`, either ``hash: sha256:…`` or
                `token_env`, the environment variable with the token, and attributes of `Key`.

        Returns:
            The keys of the file.

        Raises:
            UsageError: The file is wrong; the message has a line for each mistake, with its place.
            LedgerError: The ledger cannot be written.
        """
        listed = imports.read(Path(path), os.environ, time.time())
        return self._write(lambda connection: imports.store(connection, listed, time.time()))

    def version(self) -> int:
        """Return a number that changes whenever a key does.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return self._read(stored.version)

    # --- admission ------------------------------------------------------------------------------

    def admit(self, key: Key, request: str) -> None:
        """Count a request of a key and take one of its slots, until `leave`.

        A slot of a process that ended without `leave` is free after 15 seconds.

        Args:
            key: The key.
            request: The id of the request.

        Raises:
            TooMany: The key has no slot, or has sent too many requests; nothing is counted.
            LedgerError: The ledger cannot be written.
        """
        if key.rpm is None and key.concurrent is None:
            return
        worker, clock = self._worker, time.monotonic()
        slot = None if key.concurrent is None else worker.take(key.name, request)
        try:
            self._write(lambda it: admission.admit(it, key, slot, worker, clock, time.time()))
        except BaseException:
            if slot is not None:
                worker.drop(slot)
            raise
        if slot is not None:
            slot.stored = True
            worker.beaten(clock)
            if self._together.connection is not None:
                self._together.on_failure(lambda: worker.undo(slot))

    def leave(self, request: str) -> None:
        """Give back the slot of a request that this object has admitted: once, and no other.

        Raises:
            LedgerError: The ledger cannot be written; the slot is given back a few seconds later.
        """
        slot = self._worker.leave(request)
        if slot is not None:
            self._write(lambda connection: admission.free(connection, slot.number))

    def _beat(self) -> None:
        clock = time.monotonic()
        # The next beat tries again.
        with contextlib.suppress(LedgerError):
            self._write(lambda connection: admission.renew(connection, self._worker, clock))
            self._worker.beaten(clock)

    # --- budgets --------------------------------------------------------------------------------

    def reserve(
        self,
        accounts: Sequence[Account],
        decide: Callable[[Sequence[Total]], Amount],
        *,
        seconds: float = EXPIRES,
        now: float | None = None,
    ) -> Reservation:
        """Reserve what a call may use, in one transaction.

        Args:
            accounts: The accounts that the call counts for.
            decide: Returns the amount to reserve, given what each account has spent. If it raises,
                nothing is changed. It may be called again.
            seconds: The time after which the reservation stops counting, if it is not settled.
            now: The Unix time in seconds; None for that of the clock.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        moment = time.time() if now is None else now
        key = secrets.token_hex(16)

        def reserve(connection: Connection) -> Reservation:
            amount = decide(budgets.spent(connection, accounts, moment))
            reservation = Reservation(key, tuple(accounts), amount, moment + seconds)
            budgets.reserve(connection, reservation)
            budgets.forget_old(connection, moment)
            return reservation

        return self._write(reserve)

    def settle(
        self,
        reservation: Reservation,
        amount: Amount,
        *,
        sums: bool = True,
        now: float | None = None,
    ) -> list[Total]:
        """Replace a reservation by what the call has used; return what each account has spent.

        It counts, too, if the reservation has expired meanwhile.

        Args:
            reservation: The reservation.
            amount: What the call has used.
            sums: False to return nothing, which is quicker.
            now: The Unix time in seconds; None for that of the clock.

        Raises:
            LedgerError: The ledger cannot be written; the reservation counts until it expires.
        """
        moment = time.time() if now is None else now

        def settle(connection: Connection) -> list[Total]:
            budgets.settle(connection, reservation, amount)
            return budgets.spent(connection, reservation.accounts, moment) if sums else []

        return self._write(settle)

    def release(self, reservation: Reservation) -> None:
        """Remove the reservation of a call that has used nothing.

        Raises:
            LedgerError: The ledger cannot be written; the reservation counts until it expires.
        """
        self._write(lambda connection: budgets.settle(connection, reservation, None))

    def spent(self, account: str, since: float = 0, *, now: float | None = None) -> Total:
        """Return what an account has spent since a Unix time, with what is reserved.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        moment = time.time() if now is None else now
        return self._read(lambda connection: budgets.total(connection, account, since, moment))

    def totals(
        self, prefix: str = "", since: float = 0, *, now: float | None = None
    ) -> dict[str, Total]:
        """Return what accounts have spent since a Unix time, with what is reserved, by name.

        Args:
            prefix: The beginning of the names of the accounts.
            since: The Unix time in seconds of the first bucket.
            now: The Unix time in seconds at which reservations are looked at; None for that of the
                clock.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        moment = time.time() if now is None else now
        return self._read(lambda connection: budgets.by_account(connection, prefix, since, moment))

    # --- kept values ----------------------------------------------------------------------------

    def hold(self, owner: str, id: str, value: str, seconds: float) -> list[str]:  # noqa: A002
        """Keep a value for an owner, under an id, for a time in seconds.

        Returns:
            The values that have expired, which are removed.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        now = time.time()

        def hold(connection: Connection) -> list[str]:
            removed = "DELETE FROM held WHERE expires <= ? RETURNING value"
            expired = connection.execute(removed, (now,)).fetchall()
            row = (id, owner, value, now + seconds)
            connection.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", row)
            return [value for (value,) in expired]

        return self._write(hold)

    def held(self, owner: str, id: str) -> str | None:  # noqa: A002
        """Return a kept value; None for another owner, an unknown id or an expired value.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = "SELECT value FROM held WHERE id = ? AND owner = ? AND expires > ?"
        at = (id, owner, time.time())
        row = self._read(lambda connection: connection.execute(query, at).fetchone())
        return None if row is None else str(row[0])

    def forget(self, id: str) -> None:  # noqa: A002
        """Remove a kept value.

        Raises:
            LedgerError: The ledger cannot be written.
        """

        def forget(connection: Connection) -> None:
            connection.execute("DELETE FROM held WHERE id = ?", (id,))

        self._write(forget)

    def _revoke(self, result: object) -> None:
        """Remove a reservation whose caller was cancelled; else it counts until it expires."""
        if isinstance(result, Reservation):
            self._thread.patience = _AT_ONCE
            try:
                with contextlib.suppress(LedgerError):
                    self.release(result)
            finally:
                self._thread.patience = None

    @property
    def waits(self) -> bool:
        """Whether a method that is called in this thread now waits while another process writes."""
        return getattr(self._thread, "patience", None) is None

    def _wait(self) -> float:
        wait: float | None = getattr(self._thread, "patience", None)
        return self.patience if wait is None else wait

    def _write(self, action: Callable[[Connection], T]) -> T:
        if (connection := self._together.connection) is not None:
            return action(connection)
        return self._database.write(action, self._wait())

    def _read(self, action: Callable[[Connection], T]) -> T:
        if (connection := self._together.connection) is not None:
            return action(connection)
        return self._database.read(action, self._wait())
