"""The four ways to run a persona, with the types of their answers.

`output` decides the type of `Response.parsed`, so each way has three overloads. All other options
are in `Options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from personakit.messages import Request, Response
from personakit.persona import Persona
from personakit.pipeline.layers import Start
from personakit.pipeline.modes.drivers import Run, run_async, run_sync
from personakit.pipeline.modes.streams import AsyncStream, Stream
from personakit.pipeline.options import AllOptions, Options, keywords

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from personakit.journal import Resumption

T = TypeVar("T")


class Runs:
    """Runs personas: whole or streamed, sync or async."""

    def _start(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None,
        options: AllOptions,
    ) -> Start:
        """Return a run, after checking everything that can be checked before it starts."""
        raise NotImplementedError

    def _begin(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None,
        options: AllOptions,
        *,
        check: bool = False,
    ) -> Start:
        """Return a run for the async API; what it loads is loaded in a thread."""
        raise NotImplementedError

    # fmt: off
    @overload
    def run(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Response[object]: ...
    @overload
    def run(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    def run(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    def run(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
    # fmt: on
    @keywords
    def run(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Response[Any]:
        """Run a persona and return the whole answer.

        Args:
            persona: A name, the path of a file, or a persona.
            prompt: The user's message, a whole request, such as a changed result of `render`, or
                the answer that a suspended run goes on with: `Suspended.resume_with`.
            output: The type of the answer, instead of the persona's `output:`: a pydantic model, a
                dataclass, a TypedDict, another type that pydantic supports, or a JSON Schema as a
                mapping. `Response.parsed` is a value of it.
            options: The other keyword arguments; see `personakit.Options`.

        Raises:
            UsageError: The persona or an argument is invalid.
            RunError: The run started and failed.
        """
        return run_sync(self._start(persona, prompt, options))

    # fmt: off
    @overload
    async def arun(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Response[object]: ...
    @overload
    async def arun(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    async def arun(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Response[T]: ...
    @overload
    async def arun(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Response[Any]: ...
    # fmt: on
    @keywords
    async def arun(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Response[Any]:
        """Run a persona as `run` does, in the running event loop.

        The first run loads what it needs in a thread. Arguments and errors: see `run`.
        """
        return await run_async(self._begin(persona, prompt, options))

    # fmt: off
    @overload
    def stream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> Stream[Response[object]]: ...
    @overload
    def stream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
    @overload
    def stream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> Stream[Response[T]]: ...
    @overload
    def stream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> Stream[Response[Any]]: ...
    # fmt: on
    @keywords
    def stream(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> Stream[Response[Any]]:
        """Run a persona as `run` does and return an iterator of the answer's text.

        Arguments and errors: see `run`.
        """
        return Stream(Run(self._start(persona, prompt, options)))

    # fmt: off
    @overload
    def astream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: None = None, **options: Unpack[Options]) -> AsyncStream[Response[object]]: ...
    @overload
    def astream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: type[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
    @overload
    def astream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: TypeForm[T], **options: Unpack[Options]) -> AsyncStream[Response[T]]: ...
    @overload
    def astream(self, persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None, *,
        output: Mapping[str, Any], **options: Unpack[Options]) -> AsyncStream[Response[Any]]: ...
    # fmt: on
    @keywords
    def astream(
        self,
        persona: str | Path | Persona,
        prompt: str | Request | Resumption | None = None,
        **options: Unpack[AllOptions],
    ) -> AsyncStream[Response[Any]]:
        """Run a persona as `run` does and return an async iterator of the answer's text.

        The first time, see `warm`, the templates and plugins of a persona are loaded in a thread
        when the iteration starts; errors in them are raised then. Arguments and errors: see `run`.
        """
        return AsyncStream(Run(self._begin(persona, prompt, options, check=True)))
