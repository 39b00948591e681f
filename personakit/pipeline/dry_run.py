"""The backend of `Runner.prepare` and `--dry-run`, which sends nothing."""

from __future__ import annotations

from personakit.base import Emit
from personakit.messages import Request, Response


class Leaving(BaseException):
    """Carries a request out through the plugins, past any `except Exception`."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class DryRun:
    """A backend that sends nothing."""

    def leave(self, request: Request) -> None:
        """Raise `Leaving` with the request of a hook that asks for embeddings."""
        raise Leaving(request)

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Raise `Leaving` with the request."""
        raise Leaving(request)
