"""What is recorded of whole runs: in all four modes, of streams that end early, side by side."""

import asyncio
import gc
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from personakit_otel import OTel

from personakit import (
    Blocked,
    Config,
    PersonaError,
    RateLimited,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    UpstreamUnavailable,
    Usage,
    hookimpl,
)
from personakit.testing import MODES, Reply, Server, Upstream, check_plugin, in_mode, runner
from personakit.testing import persona as a_persona


@dataclass
class Recorded:
    """What a plugin recorded, in memory."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("test")
        self.meters = MeterProvider([self.reader])

    def plugin(self, **options: Any) -> OTel:
        return OTel.using(self.tracers, self.meters, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def one(self) -> tuple[ReadableSpan, dict[str, Any]]:
        (span,) = self.spans
        return span, dict(span.attributes or {})

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {m.name: list(m.data.data_points) for scope in scopes for m in scope.metrics}


@pytest.fixture
def recorded(caplog: pytest.LogCaptureFixture) -> Iterator[Recorded]:
    """Fails the test if OpenTelemetry logs anything, such as "Failed to detach context"."""
    made = Recorded()
    yield made
    logged = [record.getMessage() for record in caplog.get_records("call")]
    assert logged == []
    assert context.get_current() == {}, "a span was left behind in the caller's context"
    made.tracers.shutdown()
    made.meters.shutdown()


PARAMETERS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 50,
    "seed": 7,
    "stop": ["END"],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
}


@pytest.mark.parametrize("mode", MODES)
def test_a_model_call_is_a_span(recorded: Recorded, mode: str) -> None:
    answer = Response(
        "Hello!", finish_reason="stop", model="m-2025", id="r1", usage=Usage(11, 22, 33)
    )
    running, _ = runner([answer], plugins=[recorded.plugin()])
    in_mode(mode, running, a_persona(version="1.2"), "Hi", parameters=PARAMETERS)
    span, attributes = recorded.one()
    streamed = mode.endswith("stream")
    assert (span.name, span.kind) == ("chat model", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None
    first = attributes.pop("gen_ai.response.time_to_first_chunk", None)
    assert (first is not None) == streamed
    assert attributes.pop("gen_ai.request.stream", False) == streamed
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "model",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.response.model": "m-2025",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 22,
        "personakit.persona": "test",
        "personakit.persona_version": "1.2",
    }


@pytest.mark.parametrize("mode", MODES)
def test_metrics(recorded: Recorded, mode: str) -> None:
    running, _ = runner([Response("Hi", usage=Usage(11, 22, 33))], plugins=[recorded.plugin()])
    in_mode(mode, running, a_persona(), "Hi")
    in_mode(mode, running, a_persona(), "Hi")
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "model",
    }
    found = recorded.metrics()
    (duration,) = found["gen_ai.client.operation.duration"]
    assert (dict(duration.attributes), duration.count) == (known, 2)
    boundaries = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
    assert duration.explicit_bounds == tuple(float(bound) for bound in boundaries.split())
    tokens = {
        dict(point.attributes)["gen_ai.token.type"]: point
        for point in found["gen_ai.client.token.usage"]
    }
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 22, "output": 44}
    assert dict(tokens["input"].attributes) == {**known, "gen_ai.token.type": "input"}
    assert tokens["input"].explicit_bounds[:3] == (1, 4, 16)
    assert tokens["input"].explicit_bounds[-1] == 67108864
    firsts = found.get("gen_ai.client.operation.time_to_first_chunk", [])
    assert [point.count for point in firsts] == ([2] if mode.endswith("stream") else [])
    assert all(point.sum <= duration.sum for point in firsts)


def test_usage_that_nobody_told_is_not_made_up(recorded: Recorded) -> None:
    running, _ = runner([Response("Hi")], plugins=[recorded.plugin()])
    running.run(a_persona(), "Hi")
    assert "gen_ai.client.token.usage" not in recorded.metrics()
    assert not [name for name in recorded.one()[1] if "usage" in name]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("error", "kind"),
    [(RateLimited("my secret is too long"), "RateLimited"), (Blocked("a secret"), "Blocked")],
)
@pytest.mark.parametrize("content", [False, True])
def test_failures(recorded: Recorded, mode: str, error: Any, kind: str, content: bool) -> None:
    running, _ = runner([error], plugins=[recorded.plugin(content=content)])
    with pytest.raises(type(error)):
        in_mode(mode, running, a_persona(), "Hi")
    span, attributes = recorded.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == (str(error) if content else None)
    assert attributes["error.type"] == kind
    assert span.events == ()
    (duration,) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert dict(duration.attributes)["error.type"] == kind


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_an_error_in_the_middle_of_a_stream(recorded: Recorded, mode: str) -> None:
    upstream = Upstream(["Hello!"], size=1, fail_after=3)
    config = Config(model="test/m", path=())
    running = Runner(config, plugins=[recorded.plugin()], backend=upstream)
    with pytest.raises(ConnectionError):
        in_mode(mode, running, a_persona(), "Hi")
    span, attributes = recorded.one()
    assert attributes["error.type"] == "ConnectionError"
    assert attributes["gen_ai.request.stream"] is True
    assert span.status.status_code is StatusCode.ERROR


def abandoned(recorded: Recorded) -> None:
    gc.collect()
    span, attributes = recorded.one()
    assert attributes["personakit.abandoned"] is True
    assert attributes["gen_ai.request.stream"] is True
    assert span.status.status_code is StatusCode.UNSET
    (duration,) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert dict(duration.attributes)["personakit.abandoned"] is True


def close(stream: Any) -> None:
    stream.close()


def drop(stream: Any) -> None:
    """The caller's variable is the last one: nothing to do."""


def close_in_thread(stream: Any) -> None:
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join()


@pytest.mark.parametrize("leave", [close, drop, close_in_thread])
def test_an_abandoned_stream(recorded: Recorded, leave: Callable[[Any], None]) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    stream = running.stream(a_persona(), "Hi")
    assert next(stream) == "H"
    assert recorded.spans == ()
    leave(stream)
    del stream
    abandoned(recorded)


async def in_another_task(stream: Any) -> None:
    token = context.attach(context.set_value("elsewhere", True))
    await asyncio.create_task(stream.aclose())
    assert context.get_value("elsewhere") is True
    context.detach(token)


@pytest.mark.parametrize("way", ["close", "drop", "task", "shutdown"])
def test_an_abandoned_async_stream(recorded: Recorded, way: str) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    kept: list[Any] = []

    async def read() -> None:
        stream = running.astream(a_persona(), "Hi")
        assert await anext(stream) == "H"
        assert recorded.spans == ()
        if way == "close":
            await stream.aclose()
        elif way == "task":
            await in_another_task(stream)
        elif way == "shutdown":
            kept.append(stream)  # the loop closes what is left when it ends

    asyncio.run(read())
    abandoned(recorded)


def test_a_stream_that_is_dropped_without_a_loop(recorded: Recorded) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    stream = running.astream(a_persona(), "Hi")
    with pytest.raises(StopIteration):
        stream.__anext__().send(None)
    with recorded.tracer.start_as_current_span("other") as other:
        del stream
        gc.collect()
        assert trace.get_current_span() is other
    assert [span.name for span in recorded.spans] == ["chat model", "other"]


class NeverAnswers:
    """A `send` whose answer does not come."""

    started = False

    async def live(self, request: Request, filter: object = None) -> Response:  # noqa: A002
        while True:
            await asyncio.sleep(0)


def test_a_run_that_is_closed_in_another_context(recorded: Recorded) -> None:
    send: Any = NeverAnswers()
    hook = recorded.plugin().chat(Request("test/m"), send, a_persona())
    copy_context().run(hook.send, None)
    with recorded.tracer.start_as_current_span("other") as other:
        hook.close()
        assert trace.get_current_span() is other
    assert [span.name for span in recorded.spans] == ["chat m", "other"]


def test_a_cancelled_task(recorded: Recorded) -> None:
    class Slow:
        @hookimpl
        async def chat(self, request: Request) -> None:
            await asyncio.sleep(60)

    running, _ = runner(plugins=[recorded.plugin(), Slow()])

    async def read() -> None:
        async with asyncio.timeout(0.01):
            await running.arun(a_persona(), "Hi")

    with pytest.raises(TimeoutError):
        asyncio.run(read())
    assert recorded.one()[1]["personakit.abandoned"] is True


class Inner:
    """Stands for an instrumented HTTP client."""

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    @hookimpl
    def chat(self, request: Request) -> None:
        with self.recorded.tracer.start_as_current_span("POST"):
            pass


@pytest.mark.parametrize("mode", MODES)
def test_spans_nest(recorded: Recorded, mode: str) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)])
    with recorded.tracer.start_as_current_span("caller") as caller:
        in_mode(mode, running, a_persona(), "Hi")
        assert trace.get_current_span() is caller
    post, chat, _ = recorded.spans
    assert chat.parent == caller.get_span_context()
    assert post.parent == chat.context


def test_the_caller_does_not_see_the_span_of_a_stream(recorded: Recorded) -> None:
    running, _ = runner(["Hello!"], plugins=[recorded.plugin()], size=1)
    for _ in running.stream(a_persona(), "Hi"):
        assert not trace.get_current_span().get_span_context().is_valid


def test_tasks_have_their_own_traces(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)], size=1)

    async def one(number: int) -> str:
        if number % 2:
            return (await running.arun(a_persona(), "Hi")).text
        return "".join([text async for text in running.astream(a_persona(), "Hi")])

    async def every() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert asyncio.run(every()) == ["Hello!"] * 20
    check_traces(recorded, 20)


def test_threads_have_their_own_traces(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin(), Inner(recorded)], size=1)

    def read() -> None:
        list(running.stream(a_persona(), "Hi"))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_traces(recorded, 8)


def check_traces(recorded: Recorded, count: int) -> None:
    chats = {s.context.trace_id: s.context for s in recorded.spans if s.name == "chat model"}
    posts = [span for span in recorded.spans if span.name == "POST"]
    assert len(chats) == len(posts) == count
    assert all(span.parent == chats[span.context.trace_id] for span in posts)


def weather(city: str) -> str:
    if city == "Atlantis":
        raise ValueError("it is under water")
    return f"Rain in {city}"


def calls(*cities: str) -> Response:
    made = (
        ToolCall(f"c{at}", "weather", json.dumps({"city": city})) for at, city in enumerate(cities)
    )
    return Response("", tuple(made), finish_reason="tool_calls")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("content", [False, True])
def test_tools(recorded: Recorded, mode: str, content: bool) -> None:
    class Tools:
        @hookimpl
        def chat(self, request: Request) -> Request:
            return request.with_tools(Tool.of(weather))

    asks = calls("Oslo", "Atlantis")
    running, _ = runner([asks, "Wet."], plugins=[recorded.plugin(content=content), Tools()])
    with recorded.tracer.start_as_current_span("caller") as caller:
        assert in_mode(mode, running, a_persona(), "Where does it rain?").text == "Wet."
    assert [span.parent for span in recorded.spans[:-1]] == [caller.get_span_context()] * 4
    names = [span.name for span in recorded.spans]
    assert names == ["chat model", *["execute_tool weather"] * 2, "chat model", "caller"]
    tools = sorted(
        recorded.spans[1:3], key=lambda s: str((s.attributes or {})["gen_ai.tool.call.id"])
    )
    good, bad = (dict(span.attributes or {}) for span in tools)
    said = {
        "gen_ai.tool.call.arguments": '{"city": "Oslo"}',
        "gen_ai.tool.call.result": "Rain in Oslo",
    }
    assert good == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "weather",
        "gen_ai.tool.call.id": "c0",
        "gen_ai.tool.type": "function",
        "personakit.persona": "test",
        **(said if content else {}),
    }
    assert tools[0].kind is SpanKind.INTERNAL
    assert tools[0].status.status_code is StatusCode.UNSET
    assert bad["error.type"] == "tool_error"
    assert tools[1].status.status_code is StatusCode.ERROR
    assert bool(tools[1].status.description) == content


@pytest.mark.parametrize("mode", MODES)
def test_content_is_recorded_on_demand(recorded: Recorded, mode: str) -> None:
    class Asks:
        @hookimpl
        def chat(self, request: Request) -> Request:
            asked = calls("Oslo").message
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
            parts = ({"type": "text", "text": "Ça va?"}, image)
            return request.with_messages(
                asked,
                type(asked)("tool", "Rain", tool_call_id="c0"),
                type(asked)("user", parts),  # type: ignore[arg-type]
            )

    answer = Response("Bye", (ToolCall("c1", "weather", "{broken"),), finish_reason="stop")
    running, _ = runner([answer], plugins=[Asks(), recorded.plugin(content=True)])
    in_mode(mode, running, a_persona("Be brief."), "Hi")
    _, attributes = recorded.one()
    assert json.loads(attributes["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Be brief."}
    ]
    arguments = {"city": "Oslo"}
    call = {"type": "tool_call", "id": "c0", "name": "weather", "arguments": arguments}
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]},
        {"role": "assistant", "parts": [call]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c0", "response": "Rain"}],
        },
        {
            "role": "user",
            "parts": [{"type": "text", "content": "Ça va?"}, {"type": "image_url"}],
        },
    ]
    broken = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": "{broken"}
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "Bye"}, broken],
            "finish_reason": "stop",
        }
    ]


@pytest.mark.parametrize("mode", MODES)
def test_no_content_by_default(recorded: Recorded, mode: str) -> None:
    running, _ = runner(["my secret"], plugins=[recorded.plugin()])
    in_mode(mode, running, a_persona("A secret."), "Another secret")
    assert "secret" not in str(recorded.one())


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("gpt-4o", "openai", "gpt-4o"),
        ("azure/x", "azure.ai.openai", "x"),
        ("gemini/x", "gcp.gemini", "x"),
        ("mistral/x", "mistral_ai", "x"),
        ("xai/grok", "x_ai", "grok"),
        ("openrouter/meta/llama:free", "openrouter", "meta/llama:free"),
    ],
)
def test_providers(recorded: Recorded, model: str, provider: str, name: str) -> None:
    running, _ = runner(plugins=[recorded.plugin()])
    running.run(a_persona(), "Hi", model=model)
    span, attributes = recorded.one()
    assert span.name == f"chat {name}"
    assert attributes["gen_ai.provider.name"] == provider
    assert attributes["gen_ai.request.model"] == name


@pytest.mark.parametrize(
    ("parameters", "name", "value"),
    [
        ({"stop": "END"}, "gen_ai.request.stop_sequences", ("END",)),
        ({"max_completion_tokens": 9}, "gen_ai.request.max_tokens", 9),
        ({"response_format": {"type": "json_object"}}, "gen_ai.output.type", "json"),
    ],
)
def test_parameters(recorded: Recorded, parameters: Any, name: str, value: Any) -> None:
    running, _ = runner(["{}"], plugins=[recorded.plugin()])
    running.run(a_persona(), "Hi", parameters=parameters)
    assert recorded.one()[1][name] == value


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens_details": 1}])
def test_odd_usage_of_an_upstream(recorded: Recorded, usage: Any) -> None:
    running, _ = runner([Response("Hi", raw={"usage": usage})], plugins=[recorded.plugin()])
    assert running.run(a_persona(), "Hi").text == "Hi"
    assert len(recorded.spans) == 1


@pytest.mark.parametrize("mode", MODES)
def test_over_http(recorded: Recorded, mode: str) -> None:
    with (
        Server(["Good day"], cut=7) as server,
        closing(Runner(server.config(), plugins=[recorded.plugin()])) as running,
    ):
        assert in_mode(mode, running, a_persona(), "Hi").text == "Good day"
    span, attributes = recorded.one()
    assert span.name == "chat test-model"
    assert attributes["gen_ai.response.id"] == "chatcmpl-test"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["gen_ai.usage.input_tokens"] == 5


@pytest.mark.parametrize("mode", MODES)
def test_errors_over_http(recorded: Recorded, mode: str) -> None:
    with (
        Server([Reply(b"{}", status=503)]) as server,
        closing(Runner(server.config(), plugins=[recorded.plugin()])) as running,
    ):
        request = running.render(a_persona(), "Hi").replace(max_retries=0)
        with pytest.raises(UpstreamUnavailable):
            in_mode(mode, running, a_persona(), request)
    assert recorded.one()[1]["error.type"] == "UpstreamUnavailable"


def test_what_the_upstream_tells_of_tokens(recorded: Recorded) -> None:
    with Server() as server:
        body = server.whole("Hi")
        body["usage"]["prompt_tokens_details"] = {"cached_tokens": 3}
        body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 4}
        server.answers = [body]
        with closing(Runner(server.config(), plugins=[recorded.plugin()])) as running:
            running.run(a_persona(), "Hi")
    _, attributes = recorded.one()
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 3
    assert attributes["gen_ai.usage.reasoning.output_tokens"] == 4


def test_text_flows_on_unchanged(recorded: Recorded) -> None:
    assert check_plugin(recorded.plugin(), "Hi", ["One two three"]).text == "One two three"
    running, _ = runner(["abc"], plugins=[recorded.plugin()], size=1)
    assert list(running.stream(a_persona(), "Hi")) == ["a", "b", "c"]


def test_the_scope_is_that_of_the_package(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin()])
    running.run(a_persona(), "Hi")
    scope = recorded.one()[0].instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("personakit_otel", version("personakit-otel"))


def test_a_dry_run_is_not_recorded(recorded: Recorded) -> None:
    running, _ = runner(plugins=[recorded.plugin()])
    assert running.prepare(a_persona(), "Hi").messages[-1].text == "Hi"
    assert recorded.spans == ()
    assert recorded.metrics() == {}


SCRIPT = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from personakit.testing import persona, runner

running, _ = runner(["first", "second"])
clerk = persona(plugins=[{"otel": {"content": True}}])
running.run(clerk, "before anything is set up")
spans, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
running.run(clerk, "afterwards")
(span,) = spans.get_finished_spans()
print("second" in span.attributes["gen_ai.output.messages"])
print(len(reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics))
"""


def test_the_global_providers_may_be_set_later() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "2"]
    assert done.stderr == ""


@pytest.mark.parametrize("mode", MODES)
def test_it_is_listed_by_name(mode: str) -> None:
    running = Runner(Config(model="test/m", path=()), backend=Upstream(["Hi"]))
    who = a_persona(plugins=["otel", {"otel": {"content": True}}])
    assert in_mode(mode, running, who, "Hi").text == "Hi"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contents": True}, "no option 'contents'.*did you mean 'content'"),
        ({"content": "much"}, "option 'content'"),
        ({"tracer_provider": 1}, "no option 'tracer_provider'"),
    ],
)
def test_wrong_options(options: Any, message: str) -> None:
    running, upstream = runner()
    with pytest.raises(PersonaError, match=message):
        running.run(a_persona(plugins=[{"otel": options}]), "Hi")
    assert upstream.requests == []


README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_readme_lists_the_options_and_runs(tmp_path: Path) -> None:
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [f.name for f in fields(OTel)]
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "clerk.yaml").write_text(block)
    running, _ = runner(["On its way."])
    assert running.run(tmp_path / "clerk.yaml", "Where?").text == "On its way."


def test_listing_the_plugins_does_not_load_opentelemetry() -> None:
    code = (
        "import sys, personakit_otel; print([m for m in sys.modules if m.startswith('opentelem')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
