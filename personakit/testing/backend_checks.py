"""Check a backend of a plugin against its contract (docs/plugins/provider.md)."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from personakit.base import Emit
from personakit.codec import compact, write_request
from personakit.config import Config
from personakit.errors import BackendError, Timeout
from personakit.messages import Request, Response
from personakit.providers import Endpoint, Provider
from personakit.runner import Runner
from personakit.testing.checks import MODES, in_mode
from personakit.testing.fake_backend import persona

_NAME = "checked"
_GRACE = 5.0
"""Seconds that a backend has to end after it was cancelled."""
_ENDED = 1e-9
"""A deadline that has passed when the backend is called."""
_SLOW = 0.5
"""Seconds; of a faster answer, nobody notices that it comes after the deadline."""
_SAME = ("text", "tool_calls", "finish_reason", "reasoning")


def check_backend(
    backend: Any,
    prompts: Sequence[str] = ("Hi!", "Good morning!"),
    *,
    failing: str | None = None,
    model: str = "test",
    **features: Any,
) -> Response:
    """Run a backend in the four modes and check that it keeps its contract.

    The modes must give the same text, so a model that samples needs a seed. It must serve several
    event loops and threads, keep calls apart, and end when it is cancelled, when its stream is
    closed and when the deadline has passed.

    Args:
        backend: The factory, as for `Registry.provider`, or a backend.
        prompts: At least two user messages. If the answers differ, calls that mix are noticed.
        failing: A user message for which the backend raises an error.
        model: The name of the model, as the factory gets it.
        features: Other fields of the provider, as for `Registry.provider`, such as `base_url` or
            `api_key`.

    Returns:
        The answer to the first prompt.

    Raises:
        AssertionError: The backend breaks its contract; the message says which rule and how.
    """
    if isinstance(prompts, str) or len(prompts) < 2:
        raise TypeError("check_backend(backend, prompts): `prompts` must be two or more strings")
    watched = _Watched(_factory(backend))
    provider = Provider(_NAME, backend=watched.create, **features)
    config = Config(model=f"{_NAME}/{model}", path=(), providers={_NAME: provider})
    with Runner(config, log=False) as running:
        checks = _Checks(running, watched)
        answers = {prompt: checks.in_every_mode(prompt) for prompt in prompts}
        checks.in_a_thread(prompts[0], answers[prompts[0]])
        checks.apart(answers)
        checks.at_the_deadline(prompts[0])
        checks.closed_early(prompts[0])
        checks.cancelled(prompts[0])
        if failing is not None:
            checks.failing(failing)
    return answers[prompts[0]]


def _factory(backend: Any) -> Callable[[Endpoint], Any]:
    if not inspect.isclass(backend) and hasattr(backend, "send"):
        return lambda _: backend
    if not callable(backend):
        raise TypeError(
            f"check_backend(backend): expected a factory or an object with `send`, found "
            f"{type(backend).__name__}"
        )
    factory: Callable[[Endpoint], Any] = backend
    return factory


@dataclass(slots=True)
class _Watched:
    """Creates the backend, and records its calls.

    Attributes:
        factory: The factory.
        running: The number of calls that have begun and not ended.
        begun: The number of calls that have begun.
        late: The number of texts that were emitted after `emit` had raised an error.
        faults: What was noticed inside of a call.
    """

    factory: Callable[[Endpoint], Any]
    running: int = 0
    begun: int = 0
    late: int = 0
    faults: list[str] = field(default_factory=list)

    def create(self, endpoint: Endpoint) -> Any:
        backend = self.factory(endpoint)
        has_send = callable(getattr(backend, "send", None)) and not isinstance(backend, Coroutine)
        return _Wrapped(self, backend) if has_send else backend


def _written(request: Request) -> str:
    return compact([write_request(request), request.persona, request.variables])


@dataclass(slots=True)
class _Wrapped:
    watched: _Watched
    backend: Any

    def send(self, request: Request, emit: Emit | None) -> Any:
        sent = self.backend.send(request, None if emit is None else self._emit(emit))
        return self._send(request, sent) if isinstance(sent, Coroutine) else sent

    async def _send(self, request: Request, sent: Coroutine[Any, Any, Response]) -> Response:
        before = _written(request)
        self.watched.running += 1
        self.watched.begun += 1
        try:
            response = await sent
        finally:
            self.watched.running -= 1
            if _written(request) != before:
                self.watched.faults.append(
                    "it changed the request, which other plugins and the log read; use a copy, as "
                    "in `request.replace(model=…)`"
                )
        usage = getattr(response, "usage", None)
        if usage is not None and usage.total_tokens == 0:
            self.watched.faults.append(
                "the usage of its response is zero tokens; if it is not known, it must be None"
            )
        return response

    def _emit(self, emit: Emit) -> Emit:
        failed = False

        async def emitting(text: str) -> None:
            nonlocal failed
            self.watched.late += failed
            try:
                await emit(text)
            except BaseException:
                failed = True
                raise

        return emitting

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


@dataclass(frozen=True, slots=True)
class _Checks:
    """The checks, in the order in which their messages help most."""

    running: Runner
    watched: _Watched
    seconds: dict[str, float] = field(default_factory=dict)

    def in_every_mode(self, prompt: str) -> Response:
        """Run a prompt in the four modes, async ones in an event loop each."""
        first: Response | None = None
        for mode in MODES:
            start = time.monotonic()
            with self._at(f"{mode}({prompt!r})"):
                response = self._answer(mode, prompt)
            self.seconds.setdefault(mode, time.monotonic() - start)
            first = first or response
            _same(response, first, mode, MODES[0])
        assert first is not None
        return first

    def in_a_thread(self, prompt: str, expected: Response) -> None:
        """Run a prompt in another thread than the one that created the backend."""
        results: list[Any] = []

        def work() -> None:
            try:
                results.append(self._answer("run", prompt))
            except Exception as error:
                results.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with self._at("run() in another thread; one backend serves all threads"):
            if isinstance(results[0], Exception):
                raise results[0]
        _same(results[0], expected, "run() in another thread", "run()")

    def apart(self, answers: dict[str, Response]) -> None:
        """Run several prompts at once, in the sync API as streams that are read in turns."""
        prompts = list(answers)
        with self._at("streams that are read in turns"):
            streams = [self.running.stream(persona(), prompt) for prompt in prompts]
            for _ in itertools.zip_longest(*streams):
                pass
        self._unmixed([stream.response for stream in streams], answers, "streams read in turns")

        async def together(whole: bool) -> list[Response]:
            async def one(prompt: str) -> Response:
                if whole:
                    return await self.running.arun(persona(), prompt)
                stream = self.running.astream(persona(), prompt)
                async for _ in stream:
                    pass
                return stream.response

            return await asyncio.gather(*map(one, prompts))

        for whole, name in ((True, "arun()"), (False, "astream()")):
            with self._at(f"concurrent calls of {name}"):
                responses = asyncio.run(together(whole))
            self._unmixed(responses, answers, f"concurrent calls of {name}")

    def _unmixed(self, responses: list[Response], answers: dict[str, Response], where: str) -> None:
        for prompt, response in zip(answers, responses, strict=True):
            if response.text != answers[prompt].text:
                _fail(
                    f"{where}: the answer to {prompt!r} is {response.text!r}, alone it is "
                    f"{answers[prompt].text!r}; keep what belongs to a call in local variables of "
                    f"`send`"
                )

    def at_the_deadline(self, prompt: str) -> None:
        """Run with a deadline that has passed: it must not work on, nor emit anything."""
        for mode in MODES:
            self.watched.late = 0
            start = time.monotonic()
            try:
                self._answer(mode, prompt, deadline=_ENDED)
            except Timeout:
                pass
            except Exception as error:
                _fail(f"{mode}() after the deadline: expected Timeout, {_raised(error)}", error)
            if self.watched.late:
                _fail(
                    f"{mode}() after the deadline: it went on after emit() had raised Timeout; let "
                    f"the errors of emit() pass"
                )
            seconds, usual = time.monotonic() - start, self.seconds[mode]
            if usual > _SLOW and seconds > usual / 2:
                _fail(
                    f"{mode}() after the deadline: it went on for {seconds:.1f} s, and takes "
                    f"{usual:.1f} s without a deadline; call `personakit.time_left()` in its "
                    f"loops, which raises Timeout"
                )

    def closed_early(self, prompt: str) -> None:
        """Read one text of a stream and close it."""
        where = "a stream that is closed after its first text"
        self.watched.late = 0
        with self._at(where):
            stream = self.running.stream(persona(), prompt)
            next(stream, None)
            stream.close()

        async def leave() -> None:
            async with self.running.astream(persona(), prompt) as stream:
                await anext(stream, None)

        self._ended(where)
        with self._at(where):
            asyncio.run(_within_grace(leave()))
        self._ended(where)

    def _ended(self, where: str) -> None:
        if self.watched.late:
            _fail(
                f"{where}: it went on after emit() had raised GeneratorExit or CancelledError; let "
                f"the errors of emit() pass"
            )
        if self.watched.running:
            _fail(f"{where}: its `send` has not ended")

    def cancelled(self, prompt: str) -> None:
        """Cancel a task while the backend waits, if it waits for anything."""
        where = "a cancelled arun()"

        async def cancel() -> str:
            before = self.watched.begun
            task = asyncio.create_task(self.running.arun(persona(), prompt))
            while self.watched.begun == before and not task.done():
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            if task.done():
                return ""  # it answers without waiting
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=_GRACE)
            if not done:
                return f"it has not ended {_GRACE:g} s after it was cancelled"
            if not task.cancelled():
                return "it caught CancelledError; let it pass, and release what is open in finally"
            return ""

        with self._at(where):
            fault = asyncio.run(_within_grace(cancel()))
        if fault:
            _fail(f"{where}: {fault}")
        self._ended(where)

    def failing(self, prompt: str) -> None:
        """Run a prompt that the backend fails on."""
        for mode in MODES:
            try:
                response = self._answer(mode, prompt)
            except BackendError:
                continue
            except Exception as error:
                _fail(f"{mode}({prompt!r}): expected a BackendError, {_raised(error)}", error)
            _fail(
                f"{mode}({prompt!r}): expected a BackendError, but it answered {response.text!r}; "
                f"raise errors, so that other plugins can try again"
            )

    def _answer(self, mode: str, prompt: str, **options: Any) -> Response:
        """Run a prompt in a mode; in an async one, check that no task is left."""
        if mode in ("run", "stream"):
            return in_mode(mode, self.running, persona(), prompt, **options)

        async def read() -> Response:
            response: Response
            if mode == "arun":
                response = await self.running.arun(persona(), prompt, **options)
                return response
            stream = self.running.astream(persona(), prompt, **options)
            text, response = "".join([piece async for piece in stream]), stream.response
            assert text == response.text, f"{text!r} != {response.text!r}"
            return response

        return asyncio.run(_without_tasks(read(), mode))

    @contextmanager
    def _at(self, where: str) -> Iterator[None]:
        """Turn the errors of the block, and what was noticed in it, into an AssertionError."""
        try:
            yield
        except AssertionError:
            raise
        except Exception as error:
            _fail(f"{where}: {_raised(error)}", error)
        if self.watched.faults:
            _fail(f"{where}: {self.watched.faults[0]}")


async def _without_tasks(reading: Coroutine[Any, Any, Response], mode: str) -> Response:
    try:
        return await reading
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=0.1)  # those that are about to end
        left = [task for task in others if not task.done()]
        if left:
            _fail(f"{mode}(): it left a task running: {left[0].get_coro()!r}; await or cancel it")


async def _within_grace(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await _without_tasks(coroutine, "astream")


def _same(response: Response, first: Response, mode: str, other: str) -> None:
    for name in _SAME:
        value, expected = getattr(response, name), getattr(first, name)
        if value != expected:
            _fail(f"`{name}` differs: {mode} gave {value!r}, {other} gave {expected!r}")


def _raised(error: Exception) -> str:
    return f"it raised {type(error).__name__}: {error}"


def _fail(message: str, cause: Exception | None = None) -> NoReturn:
    raise AssertionError(f"the backend breaks its contract: {message}") from cause
