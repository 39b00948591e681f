"""What is recorded of tools, content, providers and errors, and what is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from personakit_otel import OTel

from personakit import (
    Config,
    PersonaError,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    UpstreamUnavailable,
    hookimpl,
)
from personakit.testing import MODES, Reply, Server, Upstream, check_plugin, in_mode, runner
from personakit.testing import persona as a_persona

if TYPE_CHECKING:
    from tests.conftest import Recorded


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
        body["usage"]["prompt_tokens_details"] = {"cached_tokens": 3, "cache_write_tokens": 2}
        body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 4}
        server.answers = [body]
        with closing(Runner(server.config(), plugins=[recorded.plugin()])) as running:
            running.run(a_persona(), "Hi")
    _, attributes = recorded.one()
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 3
    assert attributes["gen_ai.usage.cache_creation.input_tokens"] == 2
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
