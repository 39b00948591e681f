"""The four ways to run a turn of a conversation, with the types of their answers; see `Runs`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, overload

from personakit.base import Emit
from personakit.messages import Message, Request, Response
from personakit.pipeline import (
    AllOptions,
    AsyncStream,
    Options,
    Run,
    Stream,
    keywords,
    run_async,
    run_sync,
)

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from personakit.journal import Resumption

Said: TypeAlias = "str | Message | Request | Resumption | None"
"""The user's message: a text for the persona's `prompt:`, or a message that is sent unchanged; or
the results of the caller's tools, as `Response.continue_with` returns them; or the answer that a
suspended turn goes on with, see `Suspended.resume_with`."""

Turn = Callable[[Emit | None], Coroutine[Any, Any, Any]]

T = TypeVar("T")


class Turns:
    """Runs turns: whole or streamed, sync or async."""

    def _turn(self, prompt: Said, options: AllOptions) -> Turn:
        """Return the run of a turn, which starts when it is called."""
        raise NotImplementedError

    # fmt: off
    @overload
    def run(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Response[object]: ...
    @overload
    def run(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    def run(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    def run(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
    # fmt: on
    @keywords
    def run(
        self,
        prompt: str | Message | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Response[Any]:
        """Run a turn and return the whole response.

        Args:
            prompt: The user's message: a text, or a message that is sent unchanged. None sends no
                user message, or the persona's `prompt:` if that needs no input. After a turn that
                ended with calls of the caller's tools, ``response.continue_with(results)``
                continues it; any other prompt drops these calls.
            options: The options of `Runner.run`; variables and parameters override those of the
                conversation.

        Raises:
            UsageError: Another turn is running, the prompt is missing, or `Runner.render` raised
                it.
            RunError: The turn failed. If the upstream rejected its length, the message contains
                remedies.
        """
        return run_sync(self._turn(prompt, options))

    # fmt: off
    @overload
    async def arun(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Response[object]: ...
    @overload
    async def arun(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    async def arun(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    async def arun(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
    # fmt: on
    @keywords
    async def arun(
        self,
        prompt: str | Message | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Response[Any]:
        """Run a turn like `run`, awaited."""
        return await run_async(self._turn(prompt, options))

    # fmt: off
    @overload
    def stream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Stream[Response[object]]: ...
    @overload
    def stream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
    @overload
    def stream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
    @overload
    def stream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Stream[Response[Any]]: ...
    # fmt: on
    @keywords
    def stream(
        self,
        prompt: str | Message | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Stream[Response[Any]]:
        """Run a turn like `run`, but return an iterator of the text; iterating starts the turn."""
        return Stream(Run(self._turn(prompt, options)))

    # fmt: off
    @overload
    def astream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> AsyncStream[Response[object]]: ...
    @overload
    def astream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
    @overload
    def astream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
    @overload
    def astream(self, prompt: str | Message | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> AsyncStream[Response[Any]]: ...
    # fmt: on
    @keywords
    def astream(
        self,
        prompt: str | Message | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> AsyncStream[Response[Any]]:
        """Run a turn like `stream`, for `async for`."""
        return AsyncStream(Run(self._turn(prompt, options)))
