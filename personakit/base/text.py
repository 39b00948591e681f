"""A text that grows piece by piece."""

from __future__ import annotations


class Pieces:
    """Takes pieces of a text; adding each to a str would copy the whole every time."""

    __slots__ = ("_pieces", "add")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.add = self._pieces.append

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def text(self) -> str:
        """What has come so far."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""
