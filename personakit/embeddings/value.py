"""The value of `send.embed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personakit.base import brief_repr
from personakit.usage import Charge, Usage, total

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Texts as vectors: similar texts have vectors with a high cosine similarity.

    A vector of 1,536 numbers takes 50 kB. Of many texts, embed some hundred at a time and keep the
    vectors in a smaller form, such as ``array("f", vector)`` with 6 kB.

    Attributes:
        vectors: One vector for each text, in the order of the texts, all of the same length.
            Sequences of numbers are converted to tuples.
        model: The model that answered, as the upstream names it.
        usage: The tokens of the texts; None if the upstream did not report them.
        cost: US dollars; None if unknown. It is calculated from `usage` on first access.
    """

    vectors: tuple[Vector, ...] = ()
    model: str = ""
    usage: Usage | None = None
    cost: float | None = field(default=None, compare=False)
    _charges: tuple[Charge, ...] = field(default=(), repr=False, compare=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            vectors: Iterable[Iterable[float]] = (),
            model: str = "",
            usage: Usage | None = None,
            cost: float | None = None,
            _charges: tuple[Charge, ...] = (),
        ) -> None: ...

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield "vectors", f"{len(self.vectors)} of {self.dimensions} numbers"
        for name in ("model", "usage"):
            if (value := getattr(self, name)) not in (None, ""):
                yield name, value

    def __post_init__(self) -> None:
        vectors = tuple(
            vector if type(vector) is tuple else _tuple(vector) for vector in self.vectors
        )
        object.__setattr__(self, "vectors", vectors)
        if self.cost is None:
            # `__getattr__` fills the empty slot: importing the prices takes 240 ms.
            object.__delattr__(self, "cost")

    def __getattr__(self, name: str) -> Any:
        if name != "cost":
            raise AttributeError(f"'Embeddings' object has no attribute {name!r}")
        cost = total(self._charges) if self._charges else None
        object.__setattr__(self, "cost", cost)
        return cost

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 without vectors."""
        return len(self.vectors[0]) if self.vectors else 0

    def _given_cost(self) -> float | None:
        """Return the cost if it is set or already calculated, else None."""
        try:
            cost: float | None = object.__getattribute__(self, "cost")
        except AttributeError:
            return None
        return cost


def _tuple(vector: Iterable[Any]) -> Vector:
    return tuple(map(float, vector))
