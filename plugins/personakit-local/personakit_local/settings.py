"""The settings of a server, read from the environment when it starts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from personakit import ConfigError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a server.

    Attributes:
        threads: Computing threads; default: half the usable CPUs, at least 1, at most 4.
        parallel: The most requests that are answered at the same time; default 4.
        context: The most tokens of a request, prompt and answer together; default 4096.
        start_timeout: Seconds within which a server must be ready; default 120.
    """

    threads: int
    parallel: int
    context: int
    start_timeout: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read ``PERSONAKIT_LOCAL_THREADS``, ``_PARALLEL``, ``_CONTEXT`` and ``_START_TIMEOUT``.

        Args:
            environ: Usually `os.environ`.

        Raises:
            ConfigError: A variable is not a number greater than zero.
        """
        return cls(
            threads=_number(environ, "THREADS", default_threads(), int),
            parallel=_number(environ, "PARALLEL", 4, int),
            context=_number(environ, "CONTEXT", 4096, int),
            start_timeout=_number(environ, "START_TIMEOUT", 120.0, float),
        )


def default_threads() -> int:
    """Return the default number of threads, 1 to 4: half the usable CPUs.

    Two logical CPUs usually share a core, and llama.cpp's threads spin while they wait for each
    other. On an idle machine with two cores, two threads generate 85 tokens per second and one
    generates 50; on a busy one, two generate 5 and one generates 26.
    """
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        usable = os.cpu_count() or 1
    return max(1, int(min(4, usable // 2, _quota())))


def _quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Return the CPUs that the container may use; infinity without a limit."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _number(
    environ: Mapping[str, str], name: str, default: Number, kind: Callable[[str], Number]
) -> Number:
    name = f"PERSONAKIT_LOCAL_{name}"
    text = environ.get(name, "")
    if not text:
        return default
    try:
        number = kind(text)
    except ValueError:
        number = kind("0")
    if not 0 < number < math.inf:
        what = "a whole number" if kind is int else "a number of seconds"
        raise ConfigError(
            f"{name}={text!r} is not {what} greater than 0; unset it for the default, {default}"
        )
    return number
