"""The chain: what a chat hook may do, in all four modes, and what comes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from helpers.chain import (
    KINDS,
    Breaks,
    Replace,
    adds_footer,
    answers_itself,
    changes_request,
    flows,
    forgets_return,
    in_modes,
    made,
    passes_on,
    plugin,
    replaces,
    replaces_again,
    run,
    sends_twice,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from personakit import (
    Persona,
    PluginError,
    Request,
    Response,
    Runner,
    Send,
)
from personakit.testing import (
    MODES,
    Server,
    check_filter,
    in_mode,
    persona,
    runner,
)


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
        (lambda: "text", "returned str; a chat hook must return None, a Request or a Response"),
        (persona, "returned Persona; a chat hook must return"),
        (request_after_send, r"returned a Request after calling send\(\)"),
        (sends_text, r"called send\(\) with str, expected Request"),
        (sends_text_live, r"called send\(\) with str, expected Request"),
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
        (request_after_failed_send, r"returned a Request after calling send\(\)"),
        (nothing_after_failed_send, "returned None after send.. failed"),
    ],
)
@in_modes
def test_after_a_failed_send_there_is_nothing_to_go_on_with(
    mode: str, chat: Callable[..., Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        run(mode, plugin(chat), answers=[ConnectionError("away")])
