"""`/mcp` of `personakit serve`: its keys, allow-lists, budgets and limits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import PromptReference
from served_mcp import Place, asked, connected, post, text
from serving_clients import MODES, run

from personakit import Request, Response
from personakit.server import Limits


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_a_key_sees_and_uses_its_personas_alone(place: Place, mode: str) -> None:
    anna = place.key("anna", personas=("cook", "plain"))

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            prompts = [each.name for each in (await client.list_prompts()).prompts]
            tools = [each.name for each in (await client.list_tools()).tools]
            uris = [str(each.uri) for each in (await client.list_resources()).resources]
            assert (prompts, tools) == (["cook", "plain"], ["cook", "plain"])
            assert [uri for uri in uris if "secret" in uri] == []
            errors = []
            for name in ("secret", "nosuch"):
                for call in (
                    client.call_tool(name, {"input": "x"}),
                    client.get_prompt(name, {}),
                    client.read_resource(f"persona://{name}"),
                ):
                    with pytest.raises(MCPError) as caught:
                        await call
                    errors.append(str(caught.value).replace(name, "NAME"))
            assert errors[:3] == errors[3:]
            got: Any = await client.get_prompt("cook", {"tone": "kind", "input": "soup"})
            assert "kind tone" in got.messages[0].content.text

    with place.serving() as server:
        run(work)
    assert place.model.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_one_tool_and_completion_know_the_personas_of_the_key_alone(
    tmp_path: Path, mode: str
) -> None:
    place = Place(tmp_path, mcp_one_tool=True)
    anna = place.key("anna", personas=("cook", "plain"))

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            (tool,) = (await client.list_tools()).tools
            assert tool.input_schema["properties"]["persona"]["enum"] == ["cook", "plain"]
            assert "secret" not in str(tool)
            given = {"persona": "plain", "input": "Hi"}
            assert text(await client.call_tool("ask", given)) == "Hello!"
            errors = []
            for name in ("secret", "nosuch"):
                called = await client.call_tool("ask", {"persona": name})
                assert called.is_error
                errors.append(text(called).replace(name, "NAME"))
                with pytest.raises(MCPError) as caught:
                    await client.complete(PromptReference(name=name), {"name": "tone", "value": ""})
                errors.append(str(caught.value).replace(name, "NAME"))
            assert errors[:2] == errors[2:]

    with place.serving() as server:
        run(work)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_is_a_run_of_the_key(place: Place, mode: str) -> None:
    anna = place.key("anna", max_tokens=7)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            assert text(await client.call_tool("plain", {"input": "Hi"})) == "Hello!"
            wrong = await client.call_tool("cook", {"tone": "loud", "input": "Hi"})
            assert wrong.is_error

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert place.model.requests[0].parameters["max_tokens"] == 7
    assert 'requests_total{key="anna",persona="plain",status="ok"} 1.0' in metrics
    assert 'tokens_total{kind="completion"} 7.0' in metrics
    assert "personakit_in_flight 0.0" in metrics
    assert [row.persona for row in place.rows()] == ["plain"]


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_that_is_used_up_is_an_error_result_that_says_so(place: Place, mode: str) -> None:
    anna = place.key("anna", tokens_day=1)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            result = await client.call_tool("plain", {"input": "Hi"})
            assert result.is_error
            assert "budget tokens_day of key 'anna'" in text(result)

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert 'refused_total{reason="budget_exceeded"} 1.0' in metrics
    assert place.model.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_prompts_and_calls_count_for_the_requests_a_minute(place: Place, mode: str) -> None:
    anna = place.key("anna", rpm=2)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            await client.list_prompts()
            await client.get_prompt("plain", {})
            assert not (await client.call_tool("plain", {"input": "Hi"})).is_error
            result = await client.call_tool("plain", {"input": "Hi"})
            assert "2 requests a minute" in text(result)
            with pytest.raises(MCPError, match="2 requests a minute"):
                await client.get_prompt("plain", {})

    with place.serving() as server:
        run(work)
        metrics = server.get("/metrics").body.decode()
    assert 'refused_total{reason="rate_limited"} 2.0' in metrics


def test_calls_share_the_places_of_the_server(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=Limits(concurrent=1, queue=0))
    place.model.held = True
    anna = place.key("anna")

    async def work() -> None:
        async with connected(server, anna, MODES[0]) as client:
            first = asyncio.create_task(client.call_tool("plain", {"input": "Hi"}))
            while not place.model.requests:
                await asyncio.sleep(0.01)
            second = await client.call_tool("plain", {"input": "Hi"})
            assert "as many requests as it may" in text(second)
            place.model.go.set()
            assert text(await first) == "Hello!"

    with place.serving() as server:
        run(work)
        assert 'refused_total{reason="full"} 1.0' in server.get("/metrics").body.decode()


@pytest.mark.parametrize("mode", MODES)
def test_progress_arrives_while_a_call_runs(place: Place, mode: str) -> None:
    anna = place.key("anna")
    seen: list[Any] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    async def work() -> None:
        async with connected(server, anna, mode) as client:
            result = await client.call_tool("plain", {"input": "x"}, progress_callback=on_progress)
            assert text(result) == "Hello!"

    with place.serving() as server:
        run(work)
    assert seen[0] == "Hel"


def test_another_worker_goes_on_where_one_has_asked(tmp_path: Path) -> None:
    first = Place(tmp_path, secret=b"s" * 32)
    anna, bob = ({"authorization": f"Bearer {first.key(name)}"} for name in ("anna", "bob"))
    second = Place(tmp_path, secret=b"s" * 32)
    third = Place(tmp_path, secret=b"t" * 32)
    asks: dict[str, Any] = {
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}
    }
    call: dict[str, Any] = {"name": "cook", "arguments": {"input": "soup"}, "_meta": asks}
    with first.serving() as one, second.serving() as two, third.serving() as other:
        body, headers = asked("tools/call", call)
        required = post(one, body, {**headers, **anna}).json["result"]
        assert required["resultType"] == "input_required"
        ((key, request),) = required["inputRequests"].items()
        assert list(request["params"]["requestedSchema"]["properties"]) == ["tone"]
        said = {"action": "accept", "content": {"tone": "kind"}}
        again = {"inputResponses": {key: said}, "requestState": required["requestState"]}
        body, headers = asked("tools/call", {**call, **again})
        assert "error" in post(two, body, {**headers, **bob}).json
        assert "error" in post(other, body, {**headers, **anna}).json
        result = post(two, body, {**headers, **anna}).json["result"]
        assert result["content"][0]["text"] == "Hello!"
    assert len(second.model.requests) == 1


def test_a_failure_of_the_server_tells_nothing_of_it(place: Place) -> None:
    anna = place.key("anna")

    async def fail(request: Request, emit: Any = None) -> Response:
        raise RuntimeError("sk-secret1234567890 in /etc/secret")

    place.model.send = fail  # type: ignore[method-assign]

    async def work() -> str:
        async with connected(server, anna, MODES[0]) as client:
            try:
                return text(await client.call_tool("plain", {"input": "Hi"}))
            except MCPError as error:
                return str(error)

    with place.serving() as server:
        message = run(work)
    assert "secret" not in message
    assert "log" in message


def test_many_calls_at_the_same_time(place: Place) -> None:
    anna = place.key("anna")

    async def work() -> None:
        async with connected(server, anna, MODES[0]) as client:
            calls = [client.call_tool("plain", {"input": str(n)}) for n in range(100)]
            assert {text(each) for each in await asyncio.gather(*calls)} == {"Hello!"}

    with place.serving() as server:
        run(work)
    assert len(place.rows()) == 100
