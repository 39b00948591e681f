"""The servers of this process: one per model file, started at the first request."""

from __future__ import annotations

import atexit
import os
import threading

from personakit import Endpoint
from personakit_local.models import check_runtime, locate, name_of
from personakit_local.server import Server
from personakit_local.settings import Settings


class Pool:
    """The servers of this process, ended at its exit. Threads may share a pool."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of a model; start its server if it is not running.

        Args:
            path: The path of a GGUF file, or ``""`` for the embedded weights.

        Raises:
            ConfigError: xllamacpp, the weights, the file or a setting is invalid or missing.
            BackendError: The server did not start.
        """
        return self._up(path) or self._start(path)

    def close(self) -> None:
        """End every server, even while it is answering."""
        while self._servers:
            self._servers.popitem()[1].close()

    def _up(self, path: str) -> Endpoint | None:
        server = self._servers.get(path)
        return server.endpoint if server is not None and server.alive else None

    def _start(self, path: str) -> Endpoint:
        with self._lock:
            # Another thread may have started it while this one waited.
            if endpoint := self._up(path):
                return endpoint
            if old := self._servers.pop(path, None):
                old.close()
            check_runtime()
            file, settings = locate(path), Settings.read(os.environ)
            server = Server(file, name_of(path), embedded=not path, settings=settings)
            # Register it before it is up: a fork must be able to close its copies of the pipes.
            self._servers[path] = server
            try:
                return server.wait()
            except BaseException:  # Ctrl-C while it loads, too
                self._servers.pop(path, None)
                server.close()
                raise

    def _forget(self) -> None:
        """Forget the parent's servers in a forked process."""
        self._lock = threading.Lock()  # another thread may have held it
        while self._servers:
            self._servers.popitem()[1].forget()
