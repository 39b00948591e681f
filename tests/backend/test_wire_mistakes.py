"""What a wire can get wrong or leave to the core: keys, errors of its API, places and ends."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from helpers.backend import WHO, in_modes, in_streams

from personakit import (
    Answer,
    BackendError,
    BadRequest,
    Config,
    IncompleteAnswer,
    PluginError,
    Provider,
    RateLimited,
    Request,
    Runner,
    SchemaSubset,
    Wire,
    hookimpl,
)
from personakit.backend import Router, list_models
from personakit.testing import Reply, Server, in_mode

KEY = "k3y-of-the-harbor"
EVENTS = {"content-type": "text/event-stream"}


class Berth(Answer):
    """An answer of blocks: texts and seals."""

    def read(self, data: dict[str, Any]) -> None:
        assert "blocks" in data, data
        for block in data["blocks"]:
            if "seal" in block:
                self.keep(block)
            else:
                self.add_text(block["text"])
                if not block.get("more"):
                    self.place_text()
        self.finish_reason = data.get("end")

    def read_event(self, data: dict[str, Any], name: str) -> None:
        self.read(data)
        self.done = bool(data.get("last"))


class Harbor(Wire):
    name, title, answers = "harbor", "the harbor API", Berth
    parameters = frozenset({"max_tokens"})
    schemas = SchemaSubset()
    features: ClassVar[Any] = {"tools": False}

    def path(self, endpoint: Any, *, stream: bool) -> str:
        return "berths"

    def headers(self, key: Any) -> dict[str, str | None]:
        return {"Authorization": None, "Harbor-Key": key.reveal()}

    def body(self, request: Any, endpoint: Any, provider: Any, *, stream: bool) -> dict[str, Any]:
        form = request.parameters.get("response_format", {}).get("json_schema", {})
        return {"schema": form.get("schema")}

    def error(self, status: int, data: Any) -> BackendError | None:
        fault = data["fault"]
        return RateLimited(fault["says"]) if fault["code"] == "full" else None


class Plugin:
    @staticmethod
    @hookimpl
    def setup(registry: Any) -> None:
        registry.provider("harbor", base_url_env="HARBOR_URL", key_env="HARBOR_KEY")
        registry.wire("harbor", Harbor())


def runner(server: Server) -> Runner:
    environ = {"HARBOR_URL": server.base_url, "HARBOR_KEY": KEY}
    return Runner(Config(model="harbor/m", path=(), environ=environ), plugins=[Plugin], log=False)


def play(mode: str, *answers: Any, **options: Any) -> Any:
    with Server(answers) as server, runner(server) as running:
        return in_mode(mode, running, WHO, "Hi!", **options)


def events(*data: Any) -> Reply:
    return Reply(b"".join(b"data: %s\n\n" % json.dumps(d).encode() for d in data), headers=EVENTS)


@in_modes
def test_an_upstream_that_repeats_the_key_does_not_bring_it_into_an_error(mode: str) -> None:
    body: Any = {"echo": KEY}
    with pytest.raises(PluginError, match=r"cannot read the answer.*\*\*\*") as caught:
        play(mode, events(body) if "stream" in mode else body)
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error} {error.args}"
        error = error.__cause__


@in_modes
def test_an_error_in_the_form_of_the_api(mode: str) -> None:
    full = {"fault": {"code": "full", "says": "no berth is free"}}
    again = {"retry-after": "0"}
    reply = Reply(json.dumps(full).encode(), status=460, headers=again)
    with pytest.raises(RateLimited, match=r"m at .*: no berth is free; wait") as caught:
        play(mode, *[reply] * 3)
    assert (caught.value.status, caught.value.retry_after) == (460, 0)
    other = {"fault": {"code": "sunk", "says": "gone"}}
    with pytest.raises(BadRequest, match="status 418"):
        play(mode, Reply(json.dumps(other).encode(), status=418))


def test_a_mistake_in_the_error_of_a_wire_names_it() -> None:
    with pytest.raises(PluginError, match="wire 'harbor' cannot read an error: KeyError: 'fault'"):
        play("run", Reply(b"{}", status=418))


@in_modes
def test_a_last_event_without_a_reason_is_no_whole_answer(mode: str) -> None:
    last = {"blocks": [{"text": "half"}], "last": True}
    with pytest.raises(IncompleteAnswer, match="no finish reason"):
        play(mode, events(last) if "stream" in mode else last)


@in_streams
def test_the_place_of_a_text_that_is_cut_in_a_character(mode: str) -> None:
    start = {"blocks": [{"text": "\ud83d", "more": True}]}
    middle = {"blocks": [{"text": "\ude42!"}, {"seal": "s"}]}
    response = play(mode, events(start, middle, {"blocks": [{"text": "Yes"}], "end": "stop",
                                                 "last": True}))  # fmt: skip
    assert response.text == "🙂!Yes"
    parts = Harbor().parts(response.message, Request("harbor/m"), Provider("harbor"))
    assert list(parts) == ["🙂!", {"seal": "s"}, "Yes"]


def test_a_subset_of_schemas_is_enough_for_a_structured_answer() -> None:
    answer = {"blocks": [{"text": '{"n": 3}'}], "end": "stop"}
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}},
        "additionalProperties": False,
    }
    with Server([answer]) as server, runner(server) as running:
        assert running.run(WHO, "Hi!", output=schema).parsed == {"n": 3}
        sent = server.requests[0].body["schema"]
    assert sent["properties"] == {"n": {"type": "integer", "description": '{"minimum": 1}'}}


def test_models_are_listed_with_the_headers_of_the_wire() -> None:
    with Server() as server, runner(server) as running:
        provider = running.router.provider("harbor")
        router: Router = running.router
        (listed,) = list_models(router, [provider])
        assert [model.name for model in listed.models or ()] == ["test-model"]
        (asked,) = server.requests
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert headers["harbor-key"] == KEY
    assert "authorization" not in headers
