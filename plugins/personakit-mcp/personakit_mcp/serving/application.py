"""The server: one object that speaks 2026-07-28 and 2025-11-25, over any transport."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from personakit import PersonakitError, __version__, front
from personakit_mcp.serving.asking import seal
from personakit_mcp.serving.changes import EVERY, Changes
from personakit_mcp.serving.completion import Completion
from personakit_mcp.serving.offer import Serving
from personakit_mcp.serving.prompts import Prompts
from personakit_mcp.serving.resources import Resources
from personakit_mcp.serving.tools import Tools
from personakit_mcp.serving.wording import FAILED, failure, invalid

NAME = "personakit"
TTL_MS = 5000
_CACHED = "prompts/list resources/list resources/read resources/templates/list tools/list".split()
_INSTRUCTIONS = (
    "Personas: each prompt is one, with its variables as arguments. persona://NAME is its file."
)
_log = logging.getLogger("personakit.mcp")


def server(serving: Serving, *, every: float | None = EVERY) -> Server[Any]:
    """Return the server of personas. Run it with `options` over the streams of a transport.

    Args:
        serving: What it offers, and to whom.
        every: Seconds between two looks for changed personas; None to tell clients of no change.
    """
    prompts, resources = Prompts(serving), Resources(serving)
    tools = Tools(serving) if serving.tools else None
    changes = None if every is None else Changes(serving, every)

    @asynccontextmanager
    async def lifespan(server: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            if changes is None:
                yield {}
                return
            async with changes.watched(server) as state:
                yield state
        finally:
            if tools is not None:
                tools.close()

    made: Server[Any] = Server(
        NAME,
        version=__version__,
        title="Personas of personakit",
        instructions=_INSTRUCTIONS,
        cache_hints={method: CacheHint(ttl_ms=TTL_MS) for method in _CACHED},  # type: ignore[misc]
        lifespan=lifespan,
    )
    handlers: dict[str, tuple[type[Any], Any]] = {
        "prompts/list": (types.PaginatedRequestParams, prompts.list),
        "prompts/get": (types.GetPromptRequestParams, prompts.get),
        "resources/list": (types.PaginatedRequestParams, resources.list),
        "resources/templates/list": (types.PaginatedRequestParams, resources.templates),
        "resources/read": (types.ReadResourceRequestParams, resources.read),
        "completion/complete": (types.CompleteRequestParams, Completion(serving).complete),
    }
    if tools is not None:
        handlers["tools/list"] = types.PaginatedRequestParams, tools.list
        handlers["tools/call"] = types.CallToolRequestParams, tools.call
    if changes is not None:
        listen = ListenHandler(changes.bus)
        handlers["subscriptions/listen"] = types.SubscriptionsListenRequestParams, listen
        made.add_notification_handler(
            "notifications/initialized", types.NotificationParams, changes.began
        )
    for method, (params, handler) in handlers.items():
        made.add_request_handler(method, params, handler)
    made.middleware.append(_guarded)
    if tools is not None:
        made.middleware.append(seal(serving.secrets, NAME, lambda ctx: serving.caller(ctx).name))
    return made


def options(server: Server[Any]) -> InitializationOptions:
    """Return what the server tells clients of 2025-11-25 and before when they begin."""
    changed = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    return server.create_initialization_options(changed)


def settle() -> None:
    """Collect garbage as a server needs it, in a process that serves and does nothing else.

    Each request of 2026-07-28 leaves a circle of objects of the library. Commands, which end soon,
    nearly never collect them. What is loaded is taken out of the collections.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 4)


async def _guarded(ctx: Any, call_next: Any) -> Any:
    """Answer a request; whatever fails becomes an error in the client's words."""
    try:
        if ctx.method == "prompts/get":
            _check_texts(ctx.params)
        with front("service"):
            return await call_next(ctx)
    except (MCPError, ValidationError):
        raise
    except PersonakitError as error:
        raise failure(error) from error
    except (asyncio.CancelledError, Exception) as error:
        # If the request itself is not cancelled, a task that was waited for was, such as one of a
        # plugin. The library would end the connection.
        task: Any = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task.cancelling():
            raise
        _log.exception("%s failed", ctx.method)
        raise MCPError(types.INTERNAL_ERROR, FAILED) from error


def _check_texts(params: Any) -> None:
    """Raise MCPError for an argument of a prompt that is no text, in more words than the schema."""
    given = (params or {}).get("arguments")
    if given is not None and not isinstance(given, dict):
        raise invalid("'arguments' must be an object of strings")
    for name, value in (given or {}).items():
        if not isinstance(value, str):
            raise invalid(
                f"argument {name[:80]!r} must be a string, found {type(value).__name__}: the "
                f'arguments of prompts are strings, such as "4" and "true"'
            )
