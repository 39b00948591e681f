"""What a client is told of an error: in its own words, without folders of the server and keys."""

from __future__ import annotations

from collections.abc import Iterable

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from personakit import PersonakitError, UsageError, did_you_mean, told

FAILED = "the server failed; its log has the reason"


def encodable(text: str) -> str:
    """Return a text that can be sent, without halves of surrogate pairs.

    The JSON of a model can have such a half, and the library ends the connection for it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def invalid(message: str) -> MCPError:
    """Return the error of a request whose parameters are wrong."""
    return MCPError(INVALID_PARAMS, encodable(message))


def unknown(kind: str, name: str, known: Iterable[str], listing: str) -> MCPError:
    """Return the error of a name that nothing has.

    Args:
        kind: What has names, such as ``prompt``.
        name: The name.
        known: The names that the caller may use.
        listing: The method that lists them.
    """
    return invalid(f"unknown {kind} {name[:80]!r}{did_you_mean(name, known) or f'; see {listing}'}")


def failure(error: PersonakitError) -> MCPError:
    """Return the error of a request that personakit refused."""
    code = INVALID_PARAMS if isinstance(error, UsageError) else INTERNAL_ERROR
    return MCPError(code, encodable(told(error)))
