"""The slots of this process, and the thread that shows the other processes that it lives."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

BEAT = 5.0
"""Seconds between two beats."""


@dataclass(slots=True, eq=False)
class Slot:
    """A slot of a key that a request has taken, or is about to take.

    Attributes:
        number: Its number in the table.
        key: The name of the key.
        request: The id of the request.
        stored: Whether it is in the table, or was.
    """

    number: int
    key: str
    request: str
    stored: bool = False


class Worker:
    """The slots of this process. Threads can share it.

    What is in the table and not here was left, and is removed with the next beat: so is a slot that
    is stored by a thread after the request that wanted it has gone.

    Args:
        beat: Called every few seconds, in a thread, while there are slots and once afterwards.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._begin()

    def _begin(self) -> None:
        """Reset the state: at first, and in a forked process, whose parent owns the slots."""
        self._pid = os.getpid()
        self._id = f"{self._pid}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._slots: dict[str, list[Slot]] = {}
        self._beating = False
        self._beaten = -BEAT  # when, by the clock of the machine

    def _mine(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    @property
    def id(self) -> str:
        """The id of this process."""
        self._mine()
        return self._id

    def is_due(self, clock: float) -> bool:
        """Return whether it has to beat again, at a time of the clock of the machine."""
        self._mine()
        return clock - self._beaten > 1

    def beaten(self, clock: float) -> None:
        """Note that it has beaten, or had just done so."""
        if self.is_due(clock):
            self._beaten = clock

    def take(self, key: str, request: str) -> Slot:
        """Return a new slot, before it is stored."""
        self._mine()
        slot = Slot(secrets.randbits(62), key, request)
        with self._lock:
            self._slots.setdefault(request, []).append(slot)
            start, self._beating = not self._beating, True
        if start:
            threading.Thread(target=self._run, name="personakit-ledger", daemon=True).start()
        return slot

    def drop(self, slot: Slot) -> None:
        """Remove a slot that could not be stored."""
        with self._lock:
            slots = self._slots.get(slot.request, [])
            if slot in slots:
                slots.remove(slot)
            if not slots:
                self._slots.pop(slot.request, None)

    def undo(self, slot: Slot) -> None:
        """Remove a slot whose transaction failed, and with it perhaps the beat of this process."""
        self.drop(slot)
        self._beaten = -BEAT

    def leave(self, request: str) -> Slot | None:
        """Remove and return the slot of a request; None if it has none here."""
        self._mine()
        with self._lock:
            slots = self._slots.get(request)
            slot = slots.pop() if slots else None
            if not slots:
                self._slots.pop(request, None)
        return slot

    def slots(self) -> list[Slot]:
        """Return the slots that are taken or about to be."""
        with self._lock:
            return [slot for slots in self._slots.values() for slot in slots]

    def _run(self) -> None:
        while True:
            time.sleep(BEAT)
            self._beat()
            with self._lock:
                if not self._slots:
                    self._beating = False
                    return
