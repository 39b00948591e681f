"""What the headers of an answer say about the limits of a provider."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Mapping

from personakit.rate.buckets import Told

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?\Z", re.ASCII)

# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers, and the same names of
# Groq, Azure, Mistral, Together and others.
_OPENAI = "x-ratelimit-{part}-{kind}"
# https://docs.claude.com/en/api/rate-limits#response-headers
_ANTHROPIC = "anthropic-ratelimit-{kind}-{part}"


def told(headers: Mapping[str, str], kind: str, now: float | None = None) -> Told | None:
    """Return what headers say about a limit; None if they say nothing, or nothing that is clear.

    Args:
        headers: The headers by their names in lower case.
        kind: ``requests`` or ``tokens``.
        now: The Unix time; None for now.
    """
    for form in (_OPENAI, _ANTHROPIC):
        limit, remaining, reset = (
            headers.get(form.format(part=part, kind=kind))
            for part in ("limit", "remaining", "reset")
        )
        if limit is None or remaining is None or reset is None:
            continue
        if not (_NUMBER.match(limit) and _NUMBER.match(remaining)):
            continue
        seconds = _seconds(reset, time.time() if now is None else now)
        if seconds is not None and 0 < float(limit) >= float(remaining):
            return Told(float(limit), float(remaining), seconds)
    return None


def _seconds(text: str, now: float) -> float | None:
    """Return seconds from now for ``6m0s``, ``120ms``, ``1.5`` or a time of RFC 3339."""
    if _NUMBER.match(text):
        return float(text)
    if _DURATION.match(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        time_ = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if time_.tzinfo is None:
        return None
    return max(0.0, time_.timestamp() - now)
