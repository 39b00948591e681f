"""A backend that only looks at a request: `Runner.prepare` and `--dry-run` send nothing."""

from __future__ import annotations

from personakit.base import Emit
from personakit.messages import Request, Response


class Leaving(BaseException):
    """Carries a request out through the plugins; no `except Exception` of theirs stops it."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


class DryRun:
    """A backend that sends nothing."""

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Leave with the request."""
        raise Leaving(request)
