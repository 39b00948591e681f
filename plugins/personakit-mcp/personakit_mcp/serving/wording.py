"""What a client is told of an error: in its own words, without folders of the server and keys."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from personakit import PersonakitError, UsageError, told

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
    return invalid(f"unknown {kind} {name[:80]!r}{near(name, known) or f'; see {listing}'}")


def near(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of the first 1,000 names, or ``""``."""
    names = list(itertools.islice(known, 1000))
    close = difflib.get_close_matches(word[:100], names, n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else ""


def failure(error: PersonakitError) -> MCPError:
    """Return the error of a request that personakit refused."""
    code = INVALID_PARAMS if isinstance(error, UsageError) else INTERNAL_ERROR
    return MCPError(code, encodable(told(error)))
