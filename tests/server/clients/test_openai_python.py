"""The openai package against `personakit serve`: what its user sees, and what the upstream gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from helpers.served import Served, call, cut, failing, streamed_call
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
HI: Any = [{"role": "user", "content": "Hi"}]
BRIEF: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Zoë"}]
GREETED = [
    ("system", "You greet people in French."),
    ("system", "Be brief."),
    ("user", "Greet this person: Zoë"),
]
FRENCH = {"variables": {"language": "French"}}


class Rating(BaseModel):
    """A rated dish."""

    dish: str
    stars: int


@pytest.fixture
def client(site: Served) -> OpenAI:
    return OpenAI(base_url=site.base_url, api_key=site.token, max_retries=0)


def test_create(site: Served, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="greeter", messages=BRIEF, temperature=0.9, extra_body=FRENCH
    )
    done = raw.parse()
    assert done.choices[0].message.content == "Hello!"
    assert (done.model, done.choices[0].finish_reason) == ("greeter", "stop")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (5, 6)
    assert raw.headers["x-personakit-run"]
    assert done._request_id == raw.headers["x-request-id"]
    (sent,) = site.sent
    assert site.texts() == GREETED
    # The client's parameter is over the persona's; the persona's others stay.
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("test-model", 0.9, 100)
    assert "variables" not in sent
    (received,) = site.upstream.requests
    assert received.headers["authorization"] == "Bearer upstream-secret"


def test_create_async(site: Served) -> None:
    async def main() -> Any:
        async with AsyncOpenAI(base_url=site.base_url, api_key=site.token) as client:
            many = (client.chat.completions.create(model="plain", messages=HI) for _ in range(8))
            return await asyncio.gather(*many)

    assert [done.choices[0].message.content for done in asyncio.run(main())] == ["Hello!"] * 8
    assert len(site.sent) == 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_completion_tokens": 50}, {"max_completion_tokens": 50}),
        ({"max_tokens": 50}, {"max_tokens": 50}),
        ({"max_tokens": 60, "max_completion_tokens": 50}, {"max_completion_tokens": 50}),
    ],
)
def test_a_limit_of_tokens_is_sent_once(
    site: Served, client: OpenAI, given: Any, expected: Any
) -> None:
    """The persona has a `max_tokens`; OpenAI refuses both."""
    client.chat.completions.create(model="greeter", messages=HI, **given)
    (sent,) = site.sent
    limits = {name: sent[name] for name in ("max_tokens", "max_completion_tokens") if name in sent}
    assert limits == expected


@pytest.mark.parametrize("where", ["metadata", "header"])
def test_variables_elsewhere(site: Served, client: OpenAI, where: str) -> None:
    values = FRENCH["variables"]
    given: Any = {"metadata": values}
    if where == "header":
        given = {"extra_headers": {"x-personakit-variables": json.dumps(values)}}
    client.chat.completions.create(model="greeter", messages=BRIEF, **given)
    assert site.texts() == GREETED


def test_an_invalid_variable_is_named(site: Served, client: OpenAI) -> None:
    wrong: Any = {"variables": {"language": "Frensh"}}
    with pytest.raises(openai.BadRequestError, match="did you mean 'French'") as caught:
        client.chat.completions.create(model="greeter", messages=HI, extra_body=wrong)
    assert caught.value.param == "variables"
    assert site.sent == []


def test_stream_with_usage(site: Served, client: OpenAI) -> None:
    with client.chat.completions.create(
        model="greeter", messages=BRIEF, stream=True, extra_body=FRENCH,
        stream_options={"include_usage": True},
    ) as stream:  # fmt: skip
        chunks = list(stream)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == "Hello!"
    assert [one.finish_reason for one in choices if one.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"greeter"}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 11
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert site.sent[0]["stream"] is True
    assert site.texts() == GREETED


def test_the_helper_of_streams(site: Served, client: OpenAI) -> None:
    with client.chat.completions.stream(model="plain", messages=HI) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(pieces) == final.choices[0].message.content == "Hello!"
    assert site.texts() == [("system", "Answer in one sentence."), ("user", "Hi")]


@pytest.mark.parametrize("streamed", [False, True])
def test_parse(site: Served, client: OpenAI, streamed: bool) -> None:
    site.answers('{"dish": "soup", "stars": 4}')
    given: Any = {"model": "plain", "messages": HI, "response_format": Rating}
    if streamed:
        with client.chat.completions.stream(**given) as stream:
            done = stream.get_final_completion()
    else:
        done = client.chat.completions.parse(**given)
    assert done.choices[0].message.parsed == Rating(dish="soup", stars=4)
    form = site.sent[0]["response_format"]["json_schema"]
    assert (form["name"], form["strict"]) == ("Rating", True)
    assert set(form["schema"]["properties"]) == {"dish", "stars"}


def test_a_persona_with_a_schema(site: Served, client: OpenAI) -> None:
    site.answers('{"dish": "soup", "stars": 4}')
    done = client.chat.completions.create(model="judge", messages=HI)
    assert json.loads(done.choices[0].message.content or "") == {"dish": "soup", "stars": 4}
    assert site.sent[0]["response_format"]["type"] == "json_schema"


def loop(client: OpenAI, model: str, create: Callable[..., Any]) -> tuple[list[Any], str]:
    """Run the tool calls of a model until it answers."""
    messages: list[Any] = [*HI]
    calls: list[Any] = []
    while True:
        said = create(client, model=model, messages=messages, tools=[WEATHER])
        messages.append(said)
        if not said.tool_calls:
            return calls, said.content
        for one in said.tool_calls:
            calls.append([one.function.name, json.loads(one.function.arguments)])
            result = {"role": "tool", "tool_call_id": one.id, "content": "sun"}
            messages.append(result)


def whole(client: OpenAI, **given: Any) -> Any:
    return client.chat.completions.create(**given).choices[0].message


def streamed(client: OpenAI, **given: Any) -> Any:
    with client.chat.completions.stream(**given) as stream:
        return stream.get_final_completion().choices[0].message


@pytest.mark.parametrize(("create", "calls"), [(whole, call), (streamed, streamed_call)])
def test_tools_of_the_client(site: Served, client: OpenAI, create: Any, calls: Any) -> None:
    site.answers(calls("weather", {"city": "Lyon"}), "Sun.")
    assert loop(client, "plain", create) == ([["weather", {"city": "Lyon"}]], "Sun.")
    first, second = site.sent
    assert first["tools"][0]["function"]["name"] == "weather"
    roles = ["system", "user", "assistant", "tool"]
    assert [message["role"] for message in second["messages"]] == roles
    assert second["messages"][-1] == {"role": "tool", "content": "sun", "tool_call_id": "call_1"}


@pytest.mark.parametrize(("create", "calls"), [(whole, call), (streamed, streamed_call)])
def test_tools_of_the_persona(site: Served, client: OpenAI, create: Any, calls: Any) -> None:
    site.answers(calls("fridge", {"shelf": "top"}), "Leeks.")
    said = create(client, model="cook", messages=HI)
    assert (said.content, said.tool_calls) == ("Leeks.", None)
    assert site.texts(1)[-1] == ("tool", "top: two leeks")


def test_a_round_with_tools_of_both(site: Served, client: OpenAI) -> None:
    both = call("fridge", {"shelf": "top"})
    message = both["choices"][0]["message"]
    theirs = call("weather", {"city": "Lyon"}, "call_2")["choices"][0]["message"]
    message["tool_calls"] += theirs["tool_calls"]
    site.answers(both, "Leek soup in the sun.")
    calls, text = loop(client, "cook", whole)
    # The client neither sees the call of the persona's tool nor has to answer it.
    assert (calls, text) == ([["weather", {"city": "Lyon"}]], "Leek soup in the sun.")
    results = {
        one["tool_call_id"]: one["content"]
        for one in site.sent[1]["messages"]
        if one["role"] == "tool"
    }
    assert results == {"call_1": "top: two leeks", "call_2": "sun"}


def test_an_image(site: Served, client: OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content: Any = [{"type": "text", "text": "What is it?"}, image]
    client.chat.completions.create(model="plain", messages=[{"role": "user", "content": content}])
    assert site.texts()[-1] == ("user", content)


def test_another_model_of_the_upstream(site: Served, client: OpenAI) -> None:
    other = {"x-personakit-model": "work/other-model"}
    client.chat.completions.create(model="plain", messages=HI, extra_headers=other)
    assert site.sent[0]["model"] == "other-model"


def test_models(site: Served, client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"plain", "greeter", "judge", "cook"} <= set(listed)
    shown = client.models.retrieve("greeter")
    assert (shown.id, shown.object, shown.owned_by) == ("greeter", "model", "personakit")
    schema = shown.to_dict()["personakit"]["variables"]  # type: ignore[index]
    assert schema["properties"]["language"]["enum"] == ["English", "French"]


def test_a_wrong_key(site: Served) -> None:
    client = OpenAI(base_url=site.base_url, api_key="pk-wrong")
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="plain", messages=HI)
    assert "pk-wrong" not in str(caught.value)
    assert site.sent == []


def test_an_unknown_model(site: Served, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="did you mean 'greeter'") as caught:
        client.chat.completions.create(model="greter", messages=HI)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert site.sent == []


def test_a_rate_limit_of_the_upstream(site: Served, client: OpenAI) -> None:
    site.answers(failing(429, "Slow down.", retry_after="1"))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="plain", messages=HI)
    assert caught.value.response.headers["retry-after"] == "1"
    assert "upstream-secret" not in str(caught.value)


def test_a_request_that_the_upstream_rejects(site: Served, client: OpenAI) -> None:
    """What the upstream says helps the client; its address and hints for operators do not."""
    site.answers(failing(400, "Invalid schema for function 'weather'."))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="plain", messages=HI, tools=[WEATHER])
    assert caught.value.code == "upstream_rejected"
    message = caught.value.body["message"]  # type: ignore[index]
    assert message.endswith("status 400: Invalid schema for function 'weather'")
    assert "127.0.0.1" not in message
    assert len(site.sent) == 1


def test_a_refused_key_of_the_server(site: Served, client: OpenAI) -> None:
    """The client must not think that its own key is wrong."""
    site.answers(failing(401, "Incorrect API key provided: upstream-secret."))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="plain", messages=HI)
    assert caught.value.status_code == 502
    assert "upstream-secret" not in str(caught.value)


@pytest.mark.parametrize("event", [None, b'data: {"error": {"message": "overloaded"}}\n\n'])
def test_an_error_in_a_stream(site: Served, client: OpenAI, event: bytes | None) -> None:
    site.answers(cut("Hel", event))
    pieces: list[str] = []
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(model="plain", messages=HI, stream=True) as stream,
    ):
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(pieces) == "Hel"
    assert "127.0.0.1" not in str(caught.value)


def test_a_key_that_has_no_budget_left(site: Served) -> None:
    token = site.commands.key("poor", "--tokens-day", "1", "--max-tokens", "50")
    client = OpenAI(base_url=site.base_url, api_key=token)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="plain", messages=HI)
    assert caught.value.code == "budget_exceeded"
    # The client would send it again twice otherwise.
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert site.sent == []


def test_a_key_with_a_rate(site: Served) -> None:
    client = OpenAI(base_url=site.base_url, api_key=site.commands.key("slow", "--rpm", "1"))
    client.chat.completions.create(model="plain", messages=HI)
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="plain", messages=HI)
    assert 1 <= float(caught.value.response.headers["retry-after"]) <= 60
    assert len(site.sent) == 1


def test_a_key_for_one_persona(site: Served) -> None:
    token = site.commands.key("anna", "--personas", "greeter")
    client = OpenAI(base_url=site.base_url, api_key=token)
    assert [model.id for model in client.models.list()] == ["greeter"]
    with pytest.raises(openai.NotFoundError, match="plain"):
        client.chat.completions.create(model="plain", messages=HI)
