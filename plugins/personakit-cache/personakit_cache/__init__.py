"""A personakit plugin that answers repeated requests from a local store."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from personakit import Persona, Request, Response, Send, UserOption, hookimpl, io
from personakit_cache.entries import key_of, read, write

if TYPE_CHECKING:
    from personakit_cache.store import Store

__all__ = ["Cache"]

MIN_SIZE = 1_000_000
_WORD = re.compile(r"\S+\s*|\s+")


@dataclass(eq=False)
class Cache:
    """A local response cache that answers repeated requests.

    Attributes:
        ttl: Seconds that a stored answer stays valid; null keeps it as long as there is room.
        max_size: The most bytes of the store, at least 1000000; beyond it, the least recently
            used answers are deleted.
        folder: The folder of the store, "" for the user's cache folder; ~ and $VARIABLES are
            expanded.

    Raises:
        ValueError: `ttl` or `max_size` is out of range.
    """

    ttl: float | None = 86_400.0
    max_size: int = 256_000_000
    folder: Annotated[str, UserOption("folder")] = ""

    def __post_init__(self) -> None:
        if self.ttl is not None and not 0 < self.ttl < math.inf:
            raise ValueError(
                f"ttl is {self.ttl:g}; use the seconds that an answer stays valid, above 0, "
                f"or null for no limit"
            )
        if self.max_size < MIN_SIZE:
            raise ValueError(
                f"max_size is {self.max_size}; use the most bytes of the store, at least {MIN_SIZE}"
            )
        self._store: Store | None = None

    @hookimpl
    async def chat(self, request: Request, send: Send, persona: Persona) -> Response:
        """Answer from the store, or send the request and store the answer."""
        key = key_of(request, persona)
        usable, answer = await io(self._load)(key) if key else (False, None)
        if answer is not None:
            for word in _WORD.findall(answer.text):
                await send.emit(word)
            return _marked(answer.replace(request=request), "hit")
        response = await send.live(request)
        # If reading failed, do not wait for the store a second time.
        entry = write(response, request) if usable else None
        if key and entry:
            await io(self._save)(key, entry)
        return _marked(response, "miss")

    def _load(self, key: str) -> tuple[bool, Response | None]:
        entry = self._local_store().get(key)
        return entry is not None, read(entry or "null")

    def _save(self, key: str, entry: str) -> None:
        self._local_store().set(key, entry, self.ttl)

    def _local_store(self) -> "Store":
        if self._store is None:
            from personakit_cache.store import Store, expanded  # noqa: PLC0415

            self._store = Store(expanded(self.folder), self.max_size)
        return self._store


def _marked(response: Response, status: str) -> Response:
    return response.replace(metadata={**response.metadata, "cache": status})
