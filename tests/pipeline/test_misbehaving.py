"""Plugins that misbehave: the message names the plugin, its package, the hook and the mend."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from personakit import (
    Blocked,
    PluginError,
    Registry,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
    hookimpl,
)
from personakit.testing import MODES, Server, Upstream, in_mode, persona, runner

Install = Callable[..., None]
in_modes = pytest.mark.parametrize("mode", MODES)
in_streams = pytest.mark.parametrize("mode", ["stream", "astream"])
WHO = "plugin 'bad' (of acme 1.0)"


def run(install: Install, mode: str, plugin: Any, answers: Any = ("Hello!",)) -> Response:
    install(bad=plugin)
    running, _ = runner(answers)
    return in_mode(mode, running, persona(plugins=["bad"]), "Hi!")


def failure(install: Install, mode: str, plugin: Any, answers: Any = ("Hello!",)) -> PluginError:
    with pytest.raises(PluginError) as caught:
        run(install, mode, plugin, answers)
    assert caught.value.plugin == "bad"
    return caught.value


# --- what is wrong before it runs ----------------------------------------------------------------


class WrongName:
    @hookimpl
    def chatt(self, request: Request) -> None: ...


class WrongArgument:
    @hookimpl
    def chat(self, request: Request, response: Response) -> None: ...


class Generator:
    @hookimpl
    def chat(self, request: Request) -> Iterator[Request]:
        yield request


class AsyncGenerator:
    @hookimpl
    async def chat(self, request: Request) -> AsyncIterator[Request]:
        yield request


class Wrapper:
    @hookimpl(wrapper=True)
    def chat(self, request: Request) -> Any:
        return (yield)


class SetupNeedsSelf:
    @hookimpl
    def setup(self, registry: Registry) -> None: ...


class NoHook:
    def chat(self, request: Request) -> None: ...


class Ordered:
    @hookimpl(tryfirst=True)
    def chat(self, request: Request) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (WrongName, "unknown hook 'chatt'; did you mean 'chat'? (hooks: setup, run, chat, tool, "),
        (WrongArgument, "has unknown arguments; expected chat(request, send, persona, state)"),
        (Generator, "write `async def chat(request, send)` and `await send(request)`"),
        (AsyncGenerator, "write `async def chat(request, send)` and `await send(request)`"),
        (Wrapper, "write `async def chat(request, send)` and `await send(request)`"),
        (SetupNeedsSelf, "put @staticmethod above its @hookimpl"),
        (NoHook, "it has no hook; mark one of setup, run, chat, tool, observe with @hookimpl"),
        (Ordered, "the order is that of the persona's list; remove tryfirst from its @hookimpl"),
        ("no_such_module:It", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("personakit:NoSuchName", "AttributeError"),
    ],
)
def test_what_is_wrong_when_it_is_loaded(install: Install, plugin: Any, said: str) -> None:
    error = failure(install, "run", plugin)
    assert str(error).startswith(f"{WHO} is broken: ")
    assert said in str(error)
    assert "personakit plugins" in str(error)
    assert runner()[0].run(persona(), "Hi!").text == "Hello!"  # nobody else is hurt


class Exits:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        sys.exit(3)


def test_one_that_exits_when_it_is_loaded(install: Install) -> None:
    assert "SystemExit: 3" in str(failure(install, "run", Exits))


class First:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.tool(len, name="count")


def test_two_that_contribute_one_name(install: Install) -> None:
    install("acme", bad=First)
    install("zeta", worse=First)
    worse = {plugin.name: plugin.error for plugin in runner()[0].plugins.all()}["worse"]
    assert "plugin 'worse' contributes the tool 'count', and so does plugin 'bad'" in worse
    assert "uninstall one, or select plugins with PERSONAKIT_PLUGINS" in worse


# --- what goes wrong in a run ------------------------------------------------------------------


class RaisesBefore:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        raise KeyError("colour")


class RaisesAfter:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send(request)
        raise KeyError("colour")


class ExitsInRun:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send(request)
        sys.exit("enough")


class ReturnsText:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        return (await send(request)).text


class ReturnsRequestAfterSend:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        await send(request)
        return request


class ForgetsAwait:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        send(request)
        return None


class SendsText:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Any:
        return await send("Hi!")  # type: ignore[arg-type]


class Mutates:
    @hookimpl
    def chat(self, request: Request) -> Request:
        request.model = "other"  # type: ignore[misc]
        return request


class MutatesParameters:
    @hookimpl
    def chat(self, request: Request) -> Request:
        request.parameters["temperature"] = 1  # type: ignore[index]
        return request


class EmitsWhileLive:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        class Filter:
            def feed(self, text: str) -> str:
                return text

            def flush(self) -> str:
                return 5  # type: ignore[return-value]

        return await send.live(request, filter=Filter())


class EmitsOther:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send.emit("mine")
        return Response("other")


@pytest.mark.parametrize(
    ("plugin", "said", "paid"),
    [
        (RaisesBefore, "KeyError: 'colour'", False),
        (RaisesAfter, "KeyError: 'colour'", True),
        (ExitsInRun, "SystemExit: enough", True),
        (
            ReturnsText,
            "it returned str; a chat hook must return None, a Request or a Response",
            True,
        ),
        (ReturnsRequestAfterSend, "after calling send(); return the response", True),
        (ForgetsAwait, "without awaiting it; write `await send(...)`", False),
        (SendsText, "it called send() with str, expected Request", False),
        (Mutates, "return a copy, as in `request.replace(model=…)`", False),
        (MutatesParameters, "this mapping is read-only: create a new one", False),
        (EmitsWhileLive, "its filter returned int, expected str", True),
        (EmitsOther, "use a filter with `send.live`, or wait with `await send(request)`", None),
    ],
)
@in_modes
def test_what_goes_wrong_in_a_run(
    install: Install, mode: str, plugin: Any, said: str, paid: bool | None
) -> None:
    error = failure(install, mode, plugin)
    assert str(error).startswith(f"{WHO} ")
    assert "chat hook" in str(error)
    assert said in str(error)
    if paid is not None:
        assert (error.response is not None and error.response.text == "Hello!") == paid


class ForgetsReturn:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> None:
        await send(request)


@in_modes
def test_a_forgotten_return_costs_nothing(install: Install, mode: str) -> None:
    assert run(install, mode, ForgetsReturn, ["once", "twice"]).text == "once"


class ChangesWhatWentOut:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        return (await send.live(request)).replace(text="other")


@in_modes
def test_text_changed_after_it_went_out(install: Install, mode: str) -> None:
    error = failure(install, mode, ChangesWhatWentOut)
    message = "returned text from its chat hook that does not begin with the text already emitted; "
    assert message in str(error)
    assert error.response is not None


class SendsAgain:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await send.live(request)
        return await send.live(request)


@in_streams
def test_sending_twice_after_text_went_out(install: Install, mode: str) -> None:
    with pytest.raises(StreamStarted) as caught:
        run(install, mode, SendsAgain)
    assert str(caught.value).startswith(
        f"{WHO} sent again in its chat hook after text had been emitted"
    )
    assert "`await send(request)` instead of `send.live`" in str(caught.value)


class Blocks:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        await asyncio.sleep(0.001)
        return await send(request)


@pytest.mark.parametrize("mode", ["run", "stream"])
def test_a_blocking_await_in_the_sync_api(install: Install, mode: str) -> None:
    error = failure(install, mode, Blocks)
    assert "personakit.io and personakit.sleep: use these, or call arun() or astream()" in str(
        error
    )


class Late:
    """Fails when half of the text has gone through."""

    left = 2

    def feed(self, text: str) -> str:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("of the filter")
        return text

    def flush(self) -> str:
        raise RuntimeError("of the filter")


class FilterBreaks:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        return await send.live(request, filter=Late())


@in_modes
def test_a_filter_that_raises(install: Install, mode: str) -> None:
    assert "RuntimeError: of the filter" in str(failure(install, mode, FilterBreaks))


class Opinion:
    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        raise Blocked("not today")


@in_modes
def test_a_refusal_is_not_wrapped(install: Install, mode: str) -> None:
    with pytest.raises(Blocked, match=r"^not today$"):
        run(install, mode, Opinion)


@dataclasses.dataclass
class Equal:
    """A dataclass that compares by its fields, and so has no hash."""

    words: list[str] = dataclasses.field(default_factory=list)

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_system(f"{len(self.words)} words")


@in_modes
def test_a_dataclass_without_eq_false(install: Install, mode: str) -> None:
    install(bad=Equal)
    upstream = Upstream(["Hello!"])
    running = Runner(runner()[0].config, plugins=[Equal(["a"]), Equal(["a"])], backend=upstream)
    who = persona("S", plugins=["bad", {"bad": {"words": ["x", "y"]}}])
    assert in_mode(mode, running, who, "Hi!").text == "Hello!"
    said = ["1 words", "1 words", "0 words", "2 words"]
    assert upstream.requests[0].system == "\n\n".join(["S", *said])


@in_modes
def test_an_answer_that_was_paid_for_reaches_the_caller_of_the_real_client(
    install: Install, mode: str
) -> None:
    install(bad=RaisesAfter)
    with Server(["A long answer."]) as server:
        running = Runner(server.config())
        with pytest.raises(PluginError) as caught:
            in_mode(mode, running, persona(plugins=["bad"]), "Hi!")
        running.close()
    assert caught.value.response is not None
    assert caught.value.response.text == "A long answer."


HUNDRED = """
from personakit import hookimpl
from personakit.testing import MODES, in_mode, persona, runner

class Deep:
    @hookimpl
    async def chat(self, request, send):
        return await send.live(request)

for mode in MODES:
    running, _ = runner(["Hello!"], plugins=[Deep() for _ in range(100)], size=1)
    print(in_mode(mode, running, persona(), "Hi!").text)
"""


def test_a_hundred_layers() -> None:
    # In a process of its own: measuring coverage doubles the depth of every await.
    env = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", HUNDRED],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["Hello!"] * 4, done.stderr
