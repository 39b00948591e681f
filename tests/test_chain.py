"""The chain: what a chat hook may do, in all four modes, and what comes of it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import personakit
from personakit import (
    Blocked,
    Config,
    Persona,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
    StreamStarted,
    hookimpl,
)
from personakit.persona import PluginUse
from personakit.testing import (
    MODES,
    Server,
    Upstream,
    check_filter,
    check_plugin,
    in_mode,
    persona,
    runner,
)

in_modes = pytest.mark.parametrize("mode", MODES)
in_streams = pytest.mark.parametrize("mode", ["stream", "astream"])


def plugin(chat: Callable[..., Any], name: str = "it") -> Any:
    return SimpleNamespace(__name__=name, chat=hookimpl(chat))


def run(mode: str, *plugins: Any, answers: Any = ("Hello!",)) -> tuple[Response, Upstream]:
    running, upstream = runner(answers, plugins=plugins)
    return in_mode(mode, running, persona(), "Hi!"), upstream


# --- the invariant -----------------------------------------------------------------------------


class Replace:
    """A filter that replaces a word, also one that is cut in two."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new, self.held = old, new, ""

    def feed(self, text: str) -> str:
        *done, rest = (self.held + text).split(self.old)
        ends = (n for n in range(len(self.old) - 1, 0, -1) if rest.endswith(self.old[:n]))
        cut = len(rest) - next(ends, 0)
        self.held = rest[cut:]
        return self.new.join([*done, rest[:cut]])

    def flush(self) -> str:
        held, self.held = self.held, ""
        return held


class Breaks:
    """Fails before it has sent anything; to be used with `on_error: skip`."""

    @hookimpl
    def chat(self, request: Request, send: Send) -> None:
        raise RuntimeError("before send")


def changes_request(request: Request) -> Request:
    return request.with_system("one")


async def changes_request_later(request: Request) -> Request:
    await personakit.sleep(0)
    return request.with_system("two")


def does_nothing() -> None:
    return None


async def shouts(request: Request, send: Send) -> Response:
    response = await send(request.with_system("three"))
    return response.replace(text=response.text.upper())


def flows(request: Request, send: Send) -> Any:
    return send.live(request)


async def replaces(request: Request, send: Send) -> Response:
    return await send.live(request, filter=Replace("ab", "<b>"))


async def replaces_again(request: Request, send: Send) -> Response:
    response = await send.live(request, Replace("ba", ""))
    return response.replace(metadata={"done": True})


async def adds_footer(request: Request, send: Send) -> Response:
    response = await send.live(request)
    return response.replace(text=response.text + "\n-- ab")


async def adds_header(request: Request, send: Send) -> Response:
    response = await send(request)
    return response.replace(text="# " + response.text)


def answers_itself(request: Request) -> Response:
    return Response("cached ab a")


async def sends_twice(request: Request, send: Send) -> Response:
    await send(request)
    return await send(request.with_system("again"))


async def sends_then_flows(request: Request, send: Send) -> Response:
    await send(request)
    return await send.live(request)


def passes_on(request: Request, send: Send) -> Any:
    return send(request)


async def reads(send: Send, request: Request) -> Response:
    async def later() -> str:
        return "four"

    return await send.live(request.with_system(await personakit.io(lambda: "four", later)()))


async def forgets_return(request: Request, send: Send) -> None:
    await send(request)


def same(text: str) -> str:
    return text


# Each plugin with what it makes of the text, so that the right text is known without a chain.
KINDS: dict[Callable[..., Any] | None, Callable[[str], str]] = {
    changes_request: same,
    changes_request_later: same,
    does_nothing: same,
    shouts: str.upper,
    flows: same,
    replaces: lambda text: text.replace("ab", "<b>"),
    replaces_again: lambda text: text.replace("ba", ""),
    adds_footer: lambda text: text + "\n-- ab",
    adds_header: lambda text: "# " + text,
    answers_itself: lambda text: "cached ab a",
    sends_twice: same,
    sends_then_flows: same,
    passes_on: same,
    reads: same,
    forgets_return: same,
    None: same,  # the one that breaks and is skipped
}


def made(kind: Callable[..., Any] | None) -> Any:
    return plugin(kind) if kind else PluginUse("breaks", on_error="skip")


def right_text(kinds: list[Callable[..., Any] | None], text: str) -> str:
    for kind in reversed(kinds):
        text = KINDS[kind](text)
    return text


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), max_size=5),
    text=st.text(alphabet="ab \n€😀", max_size=12),
    size=st.integers(0, 4),
)
@example(kinds=list(KINDS), text="", size=1)
@example(kinds=[k for k in KINDS if k is not answers_itself], text="abab a\u2028b", size=1)
@example(kinds=[replaces, replaces_again, adds_footer, replaces], text="aabb", size=1)
def test_all_modes_and_chunkings_give_one_text(
    install: Callable[..., None],
    kinds: list[Callable[..., Any] | None],
    text: str,
    size: int,
) -> None:
    install(breaks=Breaks)
    sent = []
    for mode in MODES:
        running, upstream = runner([text], plugins=map(made, kinds), size=size)
        # in_mode checks that what was streamed is the text of the response.
        assert in_mode(mode, running, persona(), "Hi!").text == right_text(kinds, text)
        sent.append(upstream.requests)
    assert sent.count(sent[0]) == len(MODES)


@in_modes
@pytest.mark.parametrize(("size", "cut"), [(1, 0), (3, 1), (2, 7), (50, 11)])
def test_over_http_all_modes_and_cuts_give_one_text(mode: str, size: int, cut: int) -> None:
    text = "ab a\u2028b €😀 aab"
    kinds: list[Callable[..., Any] | None] = [changes_request, replaces, adds_footer, flows]
    with Server([text], size=size, cut=cut) as server:
        running = Runner(server.config(), plugins=map(made, kinds))
        assert in_mode(mode, running, persona()).text == right_text(kinds, text)
        running.close()


def test_the_filter_of_this_test_is_one() -> None:
    check_filter(lambda: Replace("aab", "<b>"), "aaabaab a€", "a<b><b> a€")


# --- arguments and order -----------------------------------------------------------------------


@in_modes
def test_a_hook_takes_only_the_arguments_it_names_in_any_order(mode: str) -> None:
    seen: list[Any] = []

    def nothing() -> None:
        seen.append("nothing")

    def swapped(persona: Persona, request: Request) -> None:
        seen.append((persona.name, type(request)))

    async def every(send: Send, persona: Persona, request: Request) -> Response:
        seen.append((persona.name, type(request)))
        return await send(request)

    run(mode, plugin(nothing), plugin(swapped), plugin(every))
    assert seen == ["nothing", ("test", Request), ("test", Request)]


@in_modes
def test_the_first_is_the_outermost(mode: str) -> None:
    def wrap(mark: str) -> Any:
        async def chat(request: Request, send: Send) -> Response:
            response = await send(request.with_system(mark))
            return response.replace(text=f"{mark}({response.text})")

        return plugin(chat)

    response, upstream = run(mode, wrap("a"), wrap("b"), answers=["x"])
    assert response.text == "a(b(x))"
    assert upstream.requests[0].system.split()[-2:] == ["a", "b"]


# --- what a hook returns -----------------------------------------------------------------------


def returns_none(request: Request) -> None:
    return None


@pytest.mark.parametrize(
    ("chat", "text", "sent"),
    [
        (returns_none, "Hello!", 1),
        (changes_request, "Hello!", 1),
        (answers_itself, "cached ab a", 0),
        (passes_on, "Hello!", 1),
        (forgets_return, "Hello!", 1),
        (sends_twice, "again", 2),
    ],
)
@in_modes
def test_none_goes_on_a_request_goes_on_a_response_answers(
    mode: str, chat: Callable[..., Any], text: str, sent: int
) -> None:
    response, upstream = run(mode, plugin(chat), answers=["Hello!", "again"])
    assert (response.text, len(upstream.requests)) == (text, sent)


async def request_after_send(request: Request, send: Send) -> Request:
    await send(request)
    return request


async def request_after_failed_send(request: Request, send: Send) -> Request:
    with contextlib.suppress(ConnectionError):
        await send(request)
    return request


async def nothing_after_failed_send(request: Request, send: Send) -> None:
    with contextlib.suppress(ConnectionError):
        await send(request)


async def sends_text(request: Request, send: Any) -> None:
    await send(request.system)


async def sends_text_live(request: Request, send: Any) -> None:
    await send.live(request.system)


def forgets_await(request: Request, send: Send) -> None:
    send(request)


async def forgets_await_live(request: Request, send: Send) -> None:
    send.live(request)


async def returns_unawaited(request: Request, send: Send) -> Any:
    return send(request)


async def awaits_one_of_two(request: Request, send: Send) -> Response:
    send(request)
    return await send(request)


def forgets_await_and_breaks(request: Request, send: Send) -> None:
    send(request)
    raise KeyError("key")


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (lambda: "text", "returned str; a chat hook returns None, a Request or a Response"),
        (persona, "returned Persona; a chat hook returns"),
        (request_after_send, "returned a Request after it had sent one"),
        (sends_text, r"send\(\) takes a Request, not str"),
        (sends_text_live, r"send\(\) takes a Request, not str"),
        (forgets_await, r"without awaiting it; write `await send\(...\)`"),
        (forgets_await_live, "without awaiting it"),
        (returns_unawaited, "without awaiting it"),
        (awaits_one_of_two, "without awaiting it"),
        (forgets_await_and_breaks, "KeyError: 'key'"),
    ],
)
@in_modes
def test_a_broken_contract_is_an_error_that_names_plugin_and_mistake(
    mode: str, chat: Callable[..., Any], message: str, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(PluginError, match=f"'culprit'.*{message}") as caught:
        run(mode, plugin(returns_none), plugin(chat, "culprit"))
    assert caught.value.plugin == "culprit"
    assert not recwarn.list


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (request_after_failed_send, "returned a Request after it had sent one"),
        (nothing_after_failed_send, "returned nothing although send.. had failed"),
    ],
)
@in_modes
def test_after_a_failed_send_there_is_nothing_to_go_on_with(
    mode: str, chat: Callable[..., Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        run(mode, plugin(chat), answers=[ConnectionError("away")])


# --- errors ------------------------------------------------------------------------------------


@in_modes
def test_a_failure_of_its_own_carries_the_name_the_cause_and_the_paid_answer(mode: str) -> None:
    own = ValueError("mine")

    async def chat(request: Request, send: Send) -> Response:
        await send(request)
        raise own

    with pytest.raises(
        PluginError, match="plugin 'it' failed in its chat hook: ValueError: mine"
    ) as e:
        run(mode, plugin(chat), answers=["paid"])
    assert e.value.__cause__ is own
    assert e.value.response is not None
    assert e.value.response.text == "paid"


@pytest.mark.parametrize(
    "error", [ConnectionError("away"), personakit.RateLimited("slow"), KeyError()]
)
@in_modes
def test_what_send_raises_passes_all_plugins_unchanged(mode: str, error: Exception) -> None:
    async def watches(request: Request, send: Send) -> Response:
        try:
            return await send(request)
        except Exception:
            await personakit.sleep(0)
            raise

    with pytest.raises(type(error)) as caught:
        run(mode, plugin(flows), plugin(watches), plugin(passes_on), answers=[error])
    assert caught.value is error


@in_modes
def test_the_error_of_an_inner_plugin_passes_the_outer_ones_unchanged(mode: str) -> None:
    with pytest.raises(PluginError) as caught:
        run(
            mode,
            plugin(passes_on, "outer"),
            plugin(flows, "middle"),
            plugin(lambda: 1 / 0, "inner"),
        )
    assert caught.value.plugin == "inner"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("after_send", [False, True])
@in_modes
def test_blocked_reaches_the_caller_as_it_is(mode: str, after_send: bool) -> None:
    refusal = Blocked("not here")

    async def guard(request: Request, send: Send) -> None:
        if after_send:
            await send(request)
        raise refusal

    async def catches(request: Request, send: Send) -> Response:
        try:
            return await send.live(request)
        except Exception:
            raise

    with pytest.raises(Blocked) as caught:
        run(mode, plugin(catches), plugin(guard))
    assert caught.value is refusal
    assert caught.value.reason == "not here"


@in_modes
def test_a_plugin_may_answer_instead_of_an_error(mode: str) -> None:
    async def falls_back(request: Request, send: Send) -> Response:
        try:
            return await send(request)
        except ConnectionError:
            return await send(request.replace(model="test/other"))

    response, upstream = run(mode, plugin(falls_back), answers=[ConnectionError(), "second"])
    assert response.text == "second"
    assert [request.model for request in upstream.requests] == ["test/model", "test/other"]


class Sends:
    """Fails after it has sent; `on_error: skip` must not help."""

    @hookimpl
    async def chat(self, request: Request, send: Send) -> None:
        await send(request)
        raise RuntimeError("after send")


class NeverAwaits:
    """Fails before anything was sent, with a send that it made and did not await."""

    @hookimpl
    def chat(self, request: Request, send: Send) -> None:
        send(request)


class Refuses:
    @hookimpl
    def chat(self) -> None:
        raise Blocked("no")


@in_modes
def test_skip_helps_only_before_something_was_sent(mode: str, install: Callable[..., None]) -> None:
    install(breaks=Breaks, sends=Sends, refuses=Refuses, neverawaits=NeverAwaits)
    for name in ("breaks", "neverawaits"):
        response, upstream = run(mode, PluginUse(name, on_error="skip"))
        assert (response.text, len(upstream.requests)) == ("Hello!", 1)
    for name, error in (("sends", PluginError), ("refuses", Blocked)):
        with pytest.raises(error):
            run(mode, PluginUse(name, on_error="skip"))
    with pytest.raises(PluginError):
        run(mode, PluginUse("breaks"))


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request.parameters.update(temperature=1),
        lambda request: request.parameters["stop"].append("x"),
        lambda request: request.variables.clear(),
        lambda request: request.messages.append(None),
        lambda request: setattr(request.messages[0], "content", "x"),
        lambda request: setattr(request, "model", "x"),
    ],
)
def test_a_request_cannot_be_changed_in_place(change: Callable[[Request], Any]) -> None:
    who = persona(parameters={"stop": ["a"]}, variables={"x": 1})
    running, upstream = runner(plugins=[plugin(lambda request: change(request) and None)])
    with pytest.raises(PluginError, match=r"read-only|replace|no attribute 'append'|cannot assign"):
        running.run(who)
    clean, upstream = runner()
    clean.run(who)
    assert upstream.requests[0].parameters == {"stop": ("a",)}
    assert upstream.requests[0].variables == {"x": 1}


# --- streams -----------------------------------------------------------------------------------


def read(mode: str, running: Runner) -> tuple[str, BaseException | None]:
    """Return what came out of a stream, and what ended it."""
    made = running.stream if mode == "stream" else running.astream
    stream = made(persona(), "Hi!")

    async def read_async() -> None:
        async for _ in stream:
            pass

    try:
        asyncio.run(read_async()) if mode == "astream" else collections.deque(stream, maxlen=0)
    except Exception as error:
        return stream.text, error
    return stream.text, None


@in_streams
def test_a_hook_without_send_and_live_let_text_flow_and_send_holds_it(mode: str) -> None:
    def out_before_the_end(*plugins: Any) -> str:
        out = []

        async def watches(request: Request, send: Send) -> Response:
            response = await send.live(request, filter=Notes())
            out.append("the end")
            return response

        class Notes(Replace):
            def __init__(self) -> None:
                super().__init__("never", "")

            def feed(self, text: str) -> str:
                out.append(text)
                return super().feed(text)

        running, _ = runner(["abcdef"], plugins=[plugin(watches), *plugins], size=2)
        read(mode, running)
        return " ".join(out)

    assert out_before_the_end() == "ab cd ef the end"
    assert out_before_the_end(plugin(changes_request), plugin(flows)) == "ab cd ef the end"
    assert out_before_the_end(plugin(flows), plugin(passes_on)) == "abcdef the end"


@in_streams
def test_a_caller_gets_text_before_the_answer_has_ended(mode: str) -> None:
    upstream = Upstream(["abcdef"], size=1, fail_after=4)
    running = Runner(Config(model="test/x", path=()), plugins=[plugin(flows)], backend=upstream)
    text, error = read(mode, running)
    assert text == "abcd"
    assert isinstance(error, ConnectionError)


@in_streams
def test_a_guard_that_waits_cannot_be_bypassed_by_streaming(mode: str) -> None:
    async def guard(request: Request, send: Send) -> None:
        raise Blocked((await send(request)).text)

    plugins = [plugin(flows), plugin(guard), plugin(flows)]
    running, _ = runner(["secret"], plugins=plugins, size=1)
    text, error = read(mode, running)
    assert text == ""
    assert isinstance(error, Blocked)


async def flows_then_sends(request: Request, send: Send) -> Response:
    await send.live(request)
    return await send(request)


async def flows_then_flows(request: Request, send: Send) -> Response:
    await send.live(request)
    return await send.live(request, filter=Replace("a", "b"))


async def retries_live(request: Request, send: Send) -> Response:
    try:
        return await send.live(request)
    except ConnectionError:
        return await send.live(request)


@pytest.mark.parametrize("chat", [flows_then_sends, flows_then_flows])
@in_modes
def test_sending_again_after_text_went_out(mode: str, chat: Callable[..., Any]) -> None:
    running, upstream = runner(["one", "two"], plugins=[plugin(flows), plugin(chat)])
    if mode in ("run", "arun"):
        assert in_mode(mode, running, persona()).text == "two"
        return
    text, error = read(mode, running)
    assert text == "one"
    assert isinstance(error, StreamStarted)
    assert "plugin 'it' sent again in its chat hook after text had gone out" in str(error)
    assert len(upstream.requests) == 1


@in_streams
def test_a_retry_may_flow_as_long_as_nothing_went_out(mode: str) -> None:
    running, _ = runner([ConnectionError(), "second"], plugins=[plugin(retries_live)])
    assert read(mode, running) == ("second", None)
    upstream = Upstream(["abcdef"], size=1, fail_after=2)
    broken = Runner(
        Config(model="test/x", path=()), plugins=[plugin(retries_live)], backend=upstream
    )
    text, error = read(mode, broken)
    assert (text, type(error)) == ("ab", StreamStarted)


@pytest.mark.parametrize("text", ["other", "", "Hell"])
@in_modes
def test_other_text_after_text_went_out(mode: str, text: str) -> None:
    async def changes(request: Request, send: Send) -> Response:
        return (await send.live(request)).replace(text=text)

    running, _ = runner(plugins=[plugin(flows), plugin(changes, "culprit")])
    if mode in ("run", "arun"):
        with pytest.raises(PluginError) as caught:
            in_mode(mode, running, persona())
        error: BaseException | None = caught.value
    else:
        went_out, error = read(mode, running)
        assert went_out == "Hello!"
    assert isinstance(error, PluginError)
    assert "plugin 'culprit' returned other text from its chat hook than had gone out" in str(error)
    assert error.plugin == "culprit"
    assert error.response is not None


class BreaksInFeed(Replace):
    def feed(self, text: str) -> str:
        raise ValueError("in the filter")


class BreaksInFlush(Replace):
    def flush(self) -> str:
        raise ValueError("in the filter")


class ReturnsNothing(Replace):
    def feed(self, text: str) -> Any:
        super().feed(text)


async def retries(request: Request, send: Send) -> Response:
    try:
        return await send.live(request)
    except Exception:
        return await send.live(request)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (BreaksInFeed, "ValueError: in the filter"),
        (BreaksInFlush, "ValueError: in the filter"),
        (ReturnsNothing, "its filter returned NoneType, not a text"),
    ],
)
@in_modes
def test_a_filter_that_fails_is_its_plugin_s_failure(
    mode: str, broken: type[Replace], message: str
) -> None:
    async def chat(request: Request, send: Send) -> Response:
        return await send.live(request, filter=broken("a", "b"))

    plugins = [flows, chat, replaces, retries]
    running, upstream = runner(plugins=[plugin(it, it.__name__) for it in plugins])
    with pytest.raises(PluginError, match=message) as caught:
        in_mode(mode, running, persona())
    assert caught.value.plugin == "chat"
    assert isinstance(caught.value.__cause__, ValueError | TypeError)
    assert len(upstream.requests) == 1  # an inner retry must not take it for the upstream's


@in_modes
def test_a_plugin_may_end_an_answer_that_broke_off(mode: str) -> None:
    async def ends(request: Request, send: Send) -> Response:
        flow = Keeps()
        try:
            return await send.live(request, filter=flow)
        except ConnectionError:
            return Response(flow.text + " [broken off]")

    class Keeps:
        text = ""

        def feed(self, text: str) -> str:
            self.text += text
            return text

        def flush(self) -> str:
            return ""

    upstream = Upstream(["abcdef"], size=1, fail_after=4)
    running = Runner(Config(model="test/x", path=()), plugins=[plugin(ends)], backend=upstream)
    partial = "abcd" if "stream" in mode else ""
    assert in_mode(mode, running, persona()).text == partial + " [broken off]"


@pytest.mark.parametrize("chat", [k for k in KINDS if k not in (None, sends_then_flows)])
def test_each_of_the_plugins_holds_by_the_check_for_authors(chat: Callable[..., Any]) -> None:
    check_plugin(plugin(chat), "Hi!", ["aab ab€"])
