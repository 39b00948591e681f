"""What a server offers, and to whom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from personakit import Persona, PersonakitError, Request, Runner
from personakit_mcp.serving.rows import Row
from personakit_mcp.serving.shelf import Shelf

_NOTHING: AbstractAsyncContextManager[None] = contextlib.nullcontext()


class Caller:
    """Who sends a request: everybody may use everything. A transport with keys has subclasses."""

    @property
    def name(self) -> str:
        """What tells the caller from others; empty if there are no others."""
        return ""

    def allows(self, persona: str) -> bool:
        """Return whether the caller may use a persona.

        Args:
            persona: The name.
        """
        del persona
        return True

    def counting(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which a prompt is rendered for the caller.

        Raises:
            Refused: When it is entered: the caller has sent too many requests.
        """
        return _NOTHING

    def running(self, persona: str) -> AbstractAsyncContextManager[Counted]:
        """Return the context in which a persona is run for the caller, such as with its budget.

        Args:
            persona: The name.

        Raises:
            Refused: The caller may not run it now, or the run failed.
        """
        del persona
        return contextlib.nullcontext(Counted())

    def limited(self, request: Request) -> Request:
        """Return a request within the limits of the caller."""
        return request


class Refused(PersonakitError):
    """What a caller asked for is refused, or has failed; the message is for the caller.

    Attributes:
        has_run: Whether it is a run that has failed.
    """

    def __init__(self, message: str, *, has_run: bool = False) -> None:
        super().__init__(message)
        self.has_run = has_run


@dataclass(slots=True)
class Counted:
    """What is counted of a run.

    Attributes:
        spent: What its model calls used.
    """

    spent: Any = None


EVERYBODY = Caller()


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server offers.

    Attributes:
        runner: Loads, renders and runs the personas.
        personas: Names and patterns of the personas that are offered.
        tools: Names and patterns of the personas that are also offered as tools.
        one_tool: Whether there is one tool for all of these instead of one each.
        caller: Returns who sends a request, given its `ServerRequestContext`.
        secrets: Keys, each of at least 32 bytes, that seal what a client keeps for the server
            between two requests: the first seals, all open. Processes that answer the same clients
            share them. Empty for one that only this process knows.
        shelf: The personas.
    """

    runner: Runner
    personas: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ()
    one_tool: bool = False
    caller: Callable[[Any], Caller] = field(default=lambda ctx: EVERYBODY, repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    shelf: Shelf = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shelf", Shelf(self.runner, self.personas))

    async def offered(self, caller: Caller) -> Mapping[str, Row]:
        """Return the rows of the personas that a caller may use, by name."""
        known = await self.shelf.read()
        if caller is EVERYBODY:
            return known
        return {name: row for name, row in known.items() if caller.allows(name)}

    async def find(self, caller: Caller, name: str) -> Persona | None:
        """Return a persona without reading others; None if the caller may not use it."""
        if not caller.allows(name):
            return None
        return await asyncio.to_thread(self.shelf.find, name)

    async def as_tools(self, caller: Caller) -> Mapping[str, Row]:
        """Return the rows of the personas that a caller may run as tools, by name."""
        offered = await self.offered(caller)
        return {name: each for name, each in offered.items() if self.is_tool(name)}

    def is_tool(self, name: str) -> bool:
        """Return whether a persona is offered as a tool."""
        return any(fnmatchcase(name, pattern) for pattern in self.tools)


def answer(**keys: Any) -> dict[str, Any]:
    """Return a whole result, without the keys that have no value."""
    given = {key: value for key, value in keys.items() if value is not None}
    return {"resultType": "complete", **given}


def after(names: Iterator[str], cursor: str | None, most: int) -> tuple[list[str], str | None]:
    """Return a page of names, and the cursor of the next one; None after the last.

    Args:
        names: The names, sorted.
        cursor: The last name of the page before; None for the first page.
        most: The most names of a page.
    """
    page: list[str] = []
    for name in names:
        if cursor is not None and name <= cursor:
            continue
        if len(page) == most:
            return page, page[-1]
        page.append(name)
    return page, None
