"""Connected: a catalog, and what its runs go out through: the backend and the run log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from personakit.base import io
from personakit.catalog import Catalog
from personakit.config import Config

if TYPE_CHECKING:
    from personakit.log import Recorder, RunLog
    from personakit.run import SendsRequests


class Connected(Catalog):
    """A catalog whose personas can be run. What it holds open, it opens when it is needed.

    Args:
        config: The user's set-up.
        path: Folders of personas to search before all others.
        outer: Plugins around those of the config and of every persona: names or objects.
        backend: What sends the requests; None for the openai client.
        log: As in `Runner`.
    """

    def __init__(
        self,
        config: Config,
        path: tuple[Path, ...],
        outer: tuple[Any, ...],
        backend: SendsRequests | None,
        log: RunLog | Recorder | bool | None,
    ) -> None:
        super().__init__(config, path, outer)
        self._backend = backend
        self._recorder: Recorder | None = None
        if config.log.on and (config.log.python if log is None else log is not False):
            from personakit.log import Recorder  # noqa: PLC0415

            self._recorder = Recorder.of(log, config, self.router.keys.known)

    def _connect(self) -> SendsRequests:
        """Return the backend, made when there is none."""
        from personakit.backend import Backend, Clients  # noqa: PLC0415

        # A second one would keep its connections to itself, and nobody would close them.
        with self._lock:
            if self._backend is None:
                self._backend = Backend(self.router, Clients())
            return self._backend

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the connections of the sync API, and the run log; a later run opens new ones."""
        if self._recorder is not None:
            self._recorder.close()
        clients = getattr(self._backend, "clients", None)
        if clients is not None:
            clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and the run log."""
        if self._recorder is not None:
            await io(self._recorder.close)()
        clients = getattr(self._backend, "clients", None)
        if clients is not None:
            await clients.aclose()
