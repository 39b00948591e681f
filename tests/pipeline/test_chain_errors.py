"""Errors of plugins in a chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from helpers.chain import (
    Breaks,
    flows,
    in_modes,
    passes_on,
    plugin,
    run,
)

import personakit
from personakit import (
    Blocked,
    ConfigError,
    PluginError,
    Request,
    Response,
    Send,
    hookimpl,
)
from personakit.persona import PluginUse
from personakit.testing import (
    persona,
    runner,
)

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
    "error", [ConfigError("mcp.json: unknown key"), PluginError("no answer", plugin="it")]
)
@in_modes
def test_an_error_whose_message_is_for_the_user_is_not_wrapped(mode: str, error: Exception) -> None:
    async def chat(request: Request) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run(mode, plugin(chat), answers=["not asked"])
    assert caught.value is error


@in_modes
def test_an_error_of_another_plugin_is_wrapped(mode: str) -> None:
    async def chat(request: Request) -> None:
        raise PluginError("no answer", plugin="other")

    with pytest.raises(PluginError, match="plugin 'it' failed in its chat hook: PluginError: no"):
        run(mode, plugin(chat), answers=["not asked"])


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
