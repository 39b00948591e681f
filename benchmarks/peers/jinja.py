"""Jinja2 by itself: the least that a render can cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def render(job: dict[str, Any]) -> Callable[[], str]:
    """Render a compiled template in the plain environment; nothing is checked."""
    from jinja2 import Environment

    template, fresh = Environment().from_string(job["template"]), job["fresh"]

    def once() -> str:
        return template.render(fresh())

    return once


def sandboxed(job: dict[str, Any]) -> Callable[[], str]:
    """Render a compiled template in the environment that personakit and others render in."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    template, fresh = environment.from_string(job["template"]), job["fresh"]

    def once() -> str:
        return template.render(fresh())

    return once
