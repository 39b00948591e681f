"""One call of a plugin's backend, which is held to its contract (docs/plugins/provider.md)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, TypeVar

from personakit.backend import api_errors
from personakit.backend.answers import finish_reasons
from personakit.backend.answers.checks import clean
from personakit.backend.embeddings.wire import without_embeddings
from personakit.base import Emit, TextBuffer, deadline, in_sync, scrub, shown, time_left
from personakit.embeddings import Embeddings
from personakit.errors import (
    BackendError,
    IncompleteAnswer,
    PersonakitError,
    PluginError,
    Timeout,
    UpstreamUnavailable,
)
from personakit.messages import Request, Response
from personakit.pipeline import Passed, needs_loop
from personakit.providers import Endpoint, Provider
from personakit.usage import Usage

T = TypeVar("T")
_FIELDS = (
    ("text", str, "a string"),
    ("finish_reason", str | None, "a string or None"),
    ("usage", Usage | None, "a personakit.Usage, or None if it is unknown"),
    ("reasoning", str, "a string"),
)


class Output:
    """The text that a backend emits, which ends at the deadline of the run.

    Attributes:
        error: What `emit` raised; a backend must let it pass.
        last: The time of the last text, by `time.monotonic`.
    """

    def __init__(self, emit: Emit, broken: Callable[[str], PluginError]) -> None:
        self._emit = emit
        self._broken = broken
        self._buffer = TextBuffer()
        self.error: BaseException | None = None
        self.last = time.monotonic()

    @property
    def text(self) -> str:
        """The text emitted so far."""
        return self._buffer.text

    async def __call__(self, text: str) -> None:
        """Emit text.

        Raises:
            Timeout: The deadline has passed.
            PluginError: It is not a string.
        """
        if self.error is not None:
            raise self.error
        try:
            if not isinstance(text, str):
                raise self._broken(f"it called emit() with {shown(text)[:60]}; expected a string")
            time_left()
            if kept := clean(text):
                self._buffer.add(kept)
                await self._emit(kept)
        except BaseException as error:
            self.error = error
            raise
        self.last = time.monotonic()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the backend of a provider.

    Attributes:
        request: The request.
        provider: Its provider.
        endpoint: The address, the key and the model.
        plugin: The plugin that contributes the provider; empty for none.
    """

    request: Request
    provider: Provider
    endpoint: Endpoint
    plugin: str

    async def send(self, backend: Any, emit: Emit | None) -> Response:
        """Send the request and return the answer.

        Raises:
            BackendError: The backend failed; `partial` is what it emitted before.
            PluginError: It broke its contract.
        """
        output = None if emit is None else Output(emit, self._broken)
        with self.failing(output):
            try:
                sent = backend.send(self.request, output)
            except TypeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                    raise
                raise self._broken(  # the call itself failed, not the code of `send`
                    f"{error}; write `async def send(self, request, emit)`"
                ) from error
            if not isinstance(sent, Coroutine):
                raise self._broken(
                    f"its `send` returned {type(sent).__name__}; write `async def send(self, "
                    f"request, emit)`, which returns a personakit.Response"
                )
            response = await (sent if in_sync() else self._limited(sent, output))
            if output is not None and output.error is not None:
                raise output.error  # the backend did not let it pass
            return self._checked(response, "" if output is None else output.text)

    async def embed(self, backend: Any) -> Embeddings:
        """Return the embeddings of the request's texts.

        Raises:
            BackendError: The backend failed.
            ConfigError: It has no embeddings.
            PluginError: It broke its contract.
        """
        if not callable(getattr(backend, "embed", None)):
            raise without_embeddings(self.provider)
        texts = [message.text for message in self.request.messages]
        with self.failing():
            sent = backend.embed(texts, self.request)
            if not isinstance(sent, Coroutine):
                raise self._broken("its `embed` is no `async def embed(self, texts, request)`")
            result = await (sent if in_sync() else self._limited(sent, None))
            if not isinstance(result, Embeddings):
                raise self._broken(
                    f"its `embed` returned {shown(result)[:60]}; it must return a "
                    f"personakit.Embeddings"
                )
            if len(result.vectors) != len(texts):
                raise self._broken(
                    f"its `embed` returned {len(result.vectors)} vectors for {len(texts)} texts"
                )
            return result

    def check_backend(self, backend: Any) -> None:
        """Check what the factory of a provider returned.

        Raises:
            PluginError: It is no backend.
        """
        if isinstance(backend, Coroutine):
            backend.close()
            raise self._broken("its factory is `async def`; write `def`")
        if not callable(getattr(backend, "send", None)):
            raise self._broken(
                f"its factory returned {shown(backend)[:60]}; it must return an object with "
                f"`async def send(self, request, emit)`"
            )

    @contextmanager
    def failing(self, output: Output | None = None) -> Iterator[None]:
        """Translate the errors of the block, without secrets."""
        outer = sys.exception()
        secrets = self.provider.secrets(self.endpoint)
        try:
            yield
        # sys.exit() in a backend ends only its run.
        except (Exception, SystemExit) as error:
            scrub(error, secrets, outer)
            failure = self._failure(error, output)
            scrub(failure, secrets, outer)
            if failure is error:
                raise
            raise failure from error
        except BaseException as error:
            scrub(error, (), outer)
            raise

    def _failure(self, error: BaseException, output: Output | None) -> PersonakitError:
        partial = "" if output is None else output.text
        if output is not None and isinstance(output.error, Exception):
            error = output.error
        if isinstance(error, PersonakitError) and not isinstance(error, BackendError):
            return error
        if in_sync() and needs_loop(error):
            return self._broken(
                f"{error}; in the sync API a backend can await only emit, personakit.io and "
                f"personakit.sleep: use these, or call arun() or astream()"
            )
        if isinstance(error, FrozenInstanceError):
            return self._broken(
                f"it tried to change an argument ({error}); requests and messages are read-only: "
                f"use a copy, as in `request.replace(model=…)`"
            )
        result = error if isinstance(error, BackendError) else None
        result = result or api_errors.of_exception(error, partial, innermost=False)
        if type(result) is UpstreamUnavailable and not result.advice:
            result.advice = api_errors.later()
        result.attempts = result.attempts or 1
        result.message = result.message.removesuffix("; increase `deadline`")  # the advice has it
        place = self._name + (f" at {self.endpoint.shown}" if self.endpoint.base_url else "")
        if result.message.startswith(f"{place}: "):  # the backend raised the same error before
            return result
        return api_errors.completed(result, place, partial)

    @property
    def _name(self) -> str:
        return "/".join(filter(None, (self.provider.name, self.endpoint.model)))

    def _broken(self, reason: str, response: Response | None = None) -> PluginError:
        owner = f" of plugin {self.plugin!r}" if self.plugin else ""
        return PluginError(
            f"the backend of provider {self.provider.name!r}{owner} broke its contract: {reason}",
            plugin=self.plugin,
            response=response,
        )

    def _checked(self, response: Any, emitted: str) -> Response:
        """Return a response that is complete and belongs to what was emitted."""
        if not isinstance(response, Response):
            raise self._broken(
                f"its `send` returned {shown(response)[:60]}; it must return a personakit.Response"
            )
        for name, kind, expected in _FIELDS:
            value = getattr(response, name)
            if not isinstance(value, kind):
                raise self._broken(
                    f"`{name}` of its response is {shown(value)[:60]}; expected {expected}"
                )
        for call in response.tool_calls:
            names = ("id", "name", "arguments")
            parts: list[Any] = [getattr(call, name, None) for name in names]
            if not all(isinstance(part, str) and part for part in parts):
                raise self._broken(
                    f"`tool_calls` of its response contains {shown(call)[:80]}; expected "
                    f"personakit.ToolCall with an id, a name and the JSON text of the arguments"
                )
        text = clean(response.text)
        if not text.startswith(emitted):
            raise self._broken(
                f"it emitted {_end(emitted)!r}, but the text of its response is {_end(text)!r}; "
                f"it must be what was emitted",
                response,
            )
        changes = {"text": text} if text != response.text else {}
        reason = finish_reasons.meaning(response.finish_reason)
        result = response.replace(request=self.request, finish_reason=reason, **changes)
        if error := self._unfinished(result):
            error.response = result
            error.partial = text
            raise error
        return result

    def _unfinished(self, response: Response) -> BackendError | None:
        """Return the error of an answer that is not whole, by the rules of every provider."""
        reason = response.finish_reason
        if reason is None and self.provider.finish_reason:
            error = IncompleteAnswer("the answer has no finish reason")
            error.advice = (
                "a backend returns Response(text, finish_reason='stop'), or its provider has "
                "finish_reason=False"
            )
            return error
        if reason is not None and (failure := finish_reasons.failure(reason)):
            return failure
        if response.text or response.tool_calls:
            return None
        return finish_reasons.without_answer(reason, self.request, response.reasoning)

    async def _limited(self, coroutine: Coroutine[Any, Any, T], output: Output | None) -> T:
        """Await a coroutine; cancel it at the deadline, or if it is silent for too long.

        The time is limited step by step: while the caller has a text, nothing is waited for, and
        the caller's task may be another one afterwards.
        """
        started = time.monotonic()
        action: Callable[..., Any] = coroutine.send
        argument: Any = None
        late: Timeout | None = None
        try:
            while True:
                try:
                    item = action(argument)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                except asyncio.CancelledError:
                    if late is None:
                        raise
                    raise late from None
                action, argument, timer = coroutine.send, None, None
                try:
                    if late is not None or not asyncio.isfuture(item):
                        argument = await Passed(item)
                        continue
                    async with asyncio.timeout(self._seconds(started, output)) as timer:
                        argument = await Passed(item)
                except BaseException as error:
                    action, argument = coroutine.throw, error
                    if timer is not None and timer.expired() and isinstance(error, TimeoutError):
                        argument = asyncio.CancelledError()
                        late = self._late()
        finally:
            coroutine.close()

    def _seconds(self, started: float, output: Output | None) -> float | None:
        """Return how long the next wait may take."""
        silent = self.request.timeout
        if silent is not None:
            last = started if output is None else max(started, output.last)
            silent = max(0.001, last + silent - time.monotonic())
        return deadline.shorter(silent)

    def _late(self) -> Timeout:
        limit = deadline.current()
        if limit is not None and limit.left <= api_errors.NEAR:
            return Timeout(f"no answer within {limit}")
        return Timeout(f"timed out waiting for data (`timeout` is {self.request.timeout:g} s)")


def _end(text: str) -> str:
    return text if len(text) <= 60 else f"…{text[-60:]}"
