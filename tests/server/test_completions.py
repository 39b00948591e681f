"""Chat completions: what a client can ask for, what the upstream gets, and what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.serving import served

from personakit import (
    AuthenticationFailed,
    Blocked,
    ConfigError,
    IncompleteAnswer,
    QuotaExhausted,
    RateLimited,
    Response,
    Timeout,
    UpstreamUnavailable,
    Usage,
    hookimpl,
)
from personakit.server import Settings
from personakit.testing import Upstream, runner

CHEF = """
description: Cooks.
variables:
  guests: {type: integer, default: 2, maximum: 9}
  diets: {type: array, default: []}
parameters: {temperature: 0.2}
system: You cook for {{ guests }}. {{ diets | join(", ") }}
messages: [{user: Hello}, {assistant: "Yes?"}]
prompt: "Dish: {{ input }}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    (tmp_path / "chef.yaml").write_text(CHEF)
    return tmp_path


def serving(
    folder: Path, *answers: Any, plugins: Any = (), **settings: Any
) -> tuple[Any, Upstream]:
    running, upstream = runner(list(answers) or ["Hello!"], plugins=plugins, path=[folder])
    return served(running, Settings(open=True, **settings)), upstream


def said(upstream: Upstream) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in upstream.requests[-1].messages]


def test_the_messages_of_the_persona_come_first(folder: Path) -> None:
    context, upstream = serving(folder)
    with context as server:
        answer = server.chat(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Soup"},
            {"role": "assistant", "content": "Leek?"},
            {"role": "user", "content": [{"type": "text", "text": t} for t in ("No, ", "tomato")]},
            model="chef",
            variables={"guests": 4},
            temperature=0.5,
            seed=7,
        )  # fmt: skip
    assert answer.json["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello!", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert answer.json["model"] == "chef"
    assert said(upstream) == [
        ("system", "You cook for 4. "),
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Yes?"),
        ("user", "Soup"),
        ("assistant", "Leek?"),
        ("user", "Dish: No, tomato"),
    ]
    request = upstream.requests[-1]
    assert request.parameters == {"temperature": 0.5, "seed": 7}
    assert [message.text for message in request.history] == ["Soup", "Leek?"]


def test_images_stay_beside_the_text(folder: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    context, upstream = serving(folder)
    with context as server:
        content = [{"type": "text", "text": "This?"}, image]
        assert server.chat({"role": "user", "content": content}, model="chef").status == 200
    parts = upstream.requests[-1].messages[-1].content
    assert parts == ({"type": "text", "text": "Dish: This?"}, image)


def test_variables_come_from_the_body_the_header_and_the_metadata(folder: Path) -> None:
    context, upstream = serving(folder)
    with context as server:
        texts = {"guests": "5", "diets": "vegan, raw", "chat": "7"}
        assert server.chat(model="chef", metadata=texts).status == 200
        assert said(upstream)[0] == ("system", "You cook for 5. vegan, raw")
        header = {"x-personakit-variables": '{"guests": 6}'}
        assert server.chat(model="chef", metadata=texts, headers=header).status == 200
        assert said(upstream)[0] == ("system", "You cook for 6. vegan, raw")
        given = {"guests": 7, "diets": []}
        assert (
            server.chat(model="chef", metadata=texts, headers=header, variables=given).status == 200
        )
        assert said(upstream)[0] == ("system", "You cook for 7. ")


@pytest.mark.parametrize(
    ("body", "param", "part"),
    [
        ({"variables": {"gests": 1}}, "variables", "did you mean 'guests'"),
        ({"variables": {"guests": 12}}, "variables", "the maximum is 9"),
        ({"variables": [1]}, "variables", "must be an object"),
        ({"variables": {"diets": ["x" * 3000]}}, "variables", "more than 2,000 bytes"),
        ({"metadata": {"guests": "many"}}, "metadata.guests", "expected an integer"),
        ({"metadata": {"guests": 3}}, "metadata.guests", "write variables"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"n": 2}, "n", "one answer"),
        ({"model": 7}, "model", "name of a persona"),
        ({"messages": "Hi"}, "messages", "array"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "one of system"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "found null"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]},
         "messages[0].content[0].type", "one of text"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name", "1 to 64 letters"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "function or custom"),
        ({"stream": "yes"}, "stream", "true or false"),
    ],
)  # fmt: skip
def test_a_wrong_body(folder: Path, body: dict[str, Any], param: str, part: str) -> None:
    from personakit.server import Limits

    context, upstream = serving(folder, limits=Limits(variables=2000))
    with context as server:
        given = {"model": "chef", "messages": [{"role": "user", "content": "Hi"}], **body}
        answer = server.request("POST", "/v1/chat/completions", given)
    assert answer.status == 400
    assert (answer.error["type"], answer.error["param"]) == ("invalid_request_error", param)
    assert part in answer.error["message"]
    assert upstream.requests == []


def test_a_body_that_is_not_json(folder: Path) -> None:
    context, _ = serving(folder)
    with context as server:
        for body in (b"", b"{", b"\xff", b"[" * 100_000, b"NaN"):
            answer = server.request("POST", "/v1/chat/completions", body)
            assert (answer.status, answer.error["code"]) == (400, "invalid_json"), body[:9]


def test_a_number_that_is_too_long_and_a_body_that_is_compressed(folder: Path) -> None:
    context, _ = serving(folder)
    with context as server:
        long = server.request("POST", "/v1/chat/completions", b"[1%s]" % (b"0" * 5000))
        assert (long.status, "sys." in long.error["message"]) == (400, False)
        packed = server.request(
            "POST", "/v1/chat/completions", b"\x1f\x8b", {"content-encoding": "gzip"}
        )
        assert (packed.status, packed.error["code"]) == (415, "unsupported_encoding")


def test_a_persona_that_takes_no_message(folder: Path) -> None:
    text = "variables: {topic: rain}\nprompt: Tell me about {{ topic }}.\n"
    (folder / "joke.yaml").write_text(text)
    context, upstream = serving(folder)
    with context as server:
        body = {"model": "joke", "messages": [], "variables": {"topic": "snow"}}
        assert server.request("POST", "/v1/chat/completions", body).status == 200
        assert said(upstream) == [("user", "Tell me about snow.")]
        refused = server.chat("Hi", model="joke")
        assert (refused.status, refused.error["param"]) == (400, "messages")
        assert "messages" in refused.error["message"]


def test_an_unknown_model_and_a_broken_persona(folder: Path) -> None:
    (folder / "bad.yaml").write_text("sytem: Hi\n")
    context, _ = serving(folder)
    with context as server:
        answer = server.chat(model="chfe")
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert "did you mean 'chef'?" in answer.error["message"]
        for name in (
            "../p",
            str(folder / "p.yaml"),
            "p.yaml",
            "p@../x",
            "gh:x/y",
            "CON",
            "",
            "p@9",
        ):
            assert server.chat(model=name).status in (400, 404), name
        bad = server.chat(model="bad")
        assert (bad.status, bad.error["code"]) == (400, "invalid_persona")
        assert "sytem" in bad.error["message"]
        names = [each["id"] for each in server.get("/v1/models").json["data"]]
        assert "chef" in names
        assert "bad" not in names


def test_a_changed_persona_is_served_from_the_next_request(folder: Path) -> None:
    context, upstream = serving(folder)
    with context as server:
        for text in ("You help.", "You nap.", "sytem"):
            (folder / "p.yaml").write_text(f"system: {text}\n" if " " in text else f"{text}: x\n")
            status = server.chat().status
            assert status == (200 if " " in text else 400)
            assert status == 400 or said(upstream)[0] == ("system", text)
        (folder / "p.yaml").write_text("system: Again.\n")
        assert server.chat().status == 200
    assert said(upstream)[0] == ("system", "Again.")


@pytest.mark.parametrize(
    ("mode", "roles"),
    [("append", ["system", "system", "user"]), ("user", ["system", "user", "user"])],
)
def test_the_system_message_of_a_client(folder: Path, mode: str, roles: list[str]) -> None:
    context, upstream = serving(folder, client_system=mode)
    with context as server:
        server.chat({"role": "developer", "content": "Be brief."}, "Hi")
    assert [r.replace("developer", "system") for r, _ in said(upstream)] == roles


def test_the_prompt_is_for_the_user_not_for_a_system_message_after_it(folder: Path) -> None:
    context, upstream = serving(folder, client_system="user")
    with context as server:
        server.chat("Soup", {"role": "system", "content": "Be brief."}, model="chef")
    assert said(upstream)[-2:] == [("user", "Dish: Soup"), ("user", "Be brief.")]


def test_system_messages_can_be_refused_and_ignored_keys_too(folder: Path) -> None:
    context, _ = serving(folder, client_system="refuse", strict=True)
    with context as server:
        assert server.chat({"role": "system", "content": "Be brief."}, "Hi").status == 400
        answer = server.chat("Hi", service_tier="auto")
        assert (answer.status, answer.error["param"]) == (400, "service_tier")
    context, _ = serving(folder)
    with context as server:
        answer = server.chat("Hi", service_tier="auto", user="u", store=False, n=1)
        assert (answer.status, answer.headers["x-personakit-ignored"]) == (200, "service_tier")


def test_a_stream_has_the_text_the_reason_and_the_tokens(folder: Path) -> None:
    usage = Usage(5, 2, 7)
    given = Response("Tomato soup", reasoning="Hm", finish_reason="length", usage=usage, cost=0.25)
    context, _ = serving(folder, given)
    with context as server:
        answer = server.chat(stream=True, stream_options={"include_usage": True})
        whole = server.chat()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "Tomato soup"
    assert answer.is_done
    first, *_, reason, last = answer.events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert reason["choices"][0]["finish_reason"] == "length"
    thought = "".join(
        each["choices"][0]["delta"].get("reasoning_content", "") for each in answer.events[:-1]
    )
    assert thought == "Hm"
    assert (last["choices"], last["usage"]["total_tokens"], last["usage"]["cost"]) == ([], 7, 0.25)
    assert last["id"] == first["id"] == f"chatcmpl-{answer.headers['x-personakit-run']}"
    assert whole.json["choices"][0]["message"]["reasoning_content"] == "Hm"
    assert float(whole.headers["x-personakit-cost-usd"]) == 0.25


ERRORS = [
    (RateLimited("busy", retry_after=7), 429, "rate_limit_exceeded", "7"),
    (Timeout("late"), 504, "upstream_timeout", None),
    (UpstreamUnavailable("down at http://10.0.0.1"), 502, "upstream_unavailable", None),
    (IncompleteAnswer("half"), 502, "upstream_incomplete", None),
    (AuthenticationFailed("sk-secret"), 502, "upstream_rejected_key", None),
    (QuotaExhausted("empty"), 502, "upstream_quota", None),
    (Blocked("not this"), 400, "content_filter", None),
    (ConfigError("no key in /home/x"), 500, "server_misconfigured", None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "code", "wait"), ERRORS)
def test_errors(
    folder: Path, error: Exception, status: int, code: str, wait: str | None, stream: bool
) -> None:
    context, _ = serving(folder, error)
    with context as server:
        answer = server.chat(stream=stream)
        metrics = server.get("/metrics").body.decode()
    assert (answer.status, answer.error["code"]) == (status, code)
    assert 'reason=""' not in metrics
    assert answer.headers.get("retry-after") == wait
    assert answer.headers["x-request-id"]
    if status != 400:
        assert str(error) not in answer.body.decode()


def test_an_error_after_the_first_event(folder: Path) -> None:
    running, upstream = runner(["Hello, world!"], path=[folder])
    upstream.fail_after = 6
    with served(running, Settings(open=True)) as server:
        answer = server.chat(stream=True)
    assert answer.status == 200
    assert (answer.text, answer.is_done) == ("Hello,", False)
    assert answer.events[-1]["error"]["type"] == "server_error"


class Guard:
    """Refuses an answer in the middle of its stream."""

    @hookimpl
    async def chat(self, request: Any, send: Any) -> Any:
        class Filter:
            def feed(self, text: str) -> str:
                if "x" in text:
                    raise Blocked("an x")
                return text

            def flush(self) -> str:
                return ""

        return await send.live(request, filter=Filter())


def test_a_guard_ends_a_stream_as_openai_does(folder: Path) -> None:
    context, _ = serving(folder, "Hello x", plugins=[Guard()])
    with context as server:
        answer = server.chat(stream=True)
    assert (answer.text, answer.is_done) == ("Hello ", True)
    assert answer.events[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_other_paths(folder: Path) -> None:
    context, _ = serving(folder)
    with context as server:
        assert server.get("/health").json == {"status": "alive"}
        assert server.get("/ready").json == {"status": "ready"}
        variables = server.get("/v1/models/chef").json["personakit"]["variables"]["properties"]
        assert variables["guests"] == {"type": "integer", "maximum": 9, "default": 2}
        assert server.get("/v1/models/nobody").status == 404
        assert server.request("POST", "/v1/embeddings", {}).error["code"] == "unsupported"
        assert server.get("/").error["code"] == "not_found"
        refused = server.request("DELETE", "/v1/chat/completions")
        assert (refused.status, refused.headers["allow"]) == (405, "POST")
        assert server.request("HEAD", "/health").status == 200
        assert "personakit_requests_total" in server.get("/metrics").body.decode()
        assert server.get("/openapi.json").json["openapi"].startswith("3.1")


def test_request_ids_go_in_and_out(folder: Path) -> None:
    context, _ = serving(folder)
    with context as server:
        assert server.get("/health", x_request_id="abc-1").headers["x-request-id"] == "abc-1"
        assert len(server.get("/health", x_request_id="a b").headers["x-request-id"]) == 32


def test_pages_of_allowed_origins_can_call(folder: Path) -> None:
    context, _ = serving(folder, cors=("https://chat.example.com",))
    with context as server:
        asking = {"origin": "https://chat.example.com", "access-control-request-method": "POST"}
        asked = server.request("OPTIONS", "/v1/chat/completions", headers=asking)
        assert asked.status == 204
        assert asked.headers["access-control-allow-origin"] == "https://chat.example.com"
        other = {**asking, "origin": "https://evil.example.com"}
        refused = server.request("OPTIONS", "/v1/chat/completions", headers=other)
        assert "access-control-allow-origin" not in refused.headers


def test_without_keys_a_page_of_another_origin_cannot_run_a_persona(folder: Path) -> None:
    context, upstream = serving(folder)
    with context as server:
        body = {"model": "chef", "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"origin": "https://evil.example", "content-type": "text/plain"}
        refused = server.request("POST", "/v1/chat/completions", body, headers)
        assert (refused.status, refused.json["error"]["code"]) == (403, "origin_not_allowed")
        assert upstream.requests == []
        headers["origin"] = "http://localhost:3000"
        assert server.request("POST", "/v1/chat/completions", body, headers).status == 200


def test_a_persona_keeps_only_so_much_of_the_history(folder: Path) -> None:
    (folder / "short.yaml").write_text("system: You help.\nhistory: {keep: 2}\n")
    context, upstream = serving(folder)
    with context as server:
        turns = [
            {"role": r, "content": f"{r}{n}"} for n in (1, 2, 3) for r in ("user", "assistant")
        ]
        assert server.chat(*turns, "And?", model="short").status == 200
    assert [text for _, text in said(upstream)] == ["You help.", "user3", "assistant3", "And?"]


def test_a_failed_request_is_sent_again_once_and_tools_stay_strict(folder: Path) -> None:
    context, upstream = serving(folder)
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}}
        for name, strict in (("a", True), ("b", False))
    ]
    with context as server:
        assert server.chat(tools=tools).status == 200
    request = upstream.requests[0]
    assert request.max_retries == 1
    assert [tool.to_api()["function"].get("strict") for tool in request.tools] == [True, None]


def test_logprobs_are_in_whole_answers_alone(folder: Path) -> None:
    given = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    raw = {"choices": [{"index": 0, "logprobs": given}]}
    context, _ = serving(folder, Response("Hi", raw=raw, finish_reason="stop"))
    with context as server:
        assert server.chat(logprobs=True).json["choices"][0]["logprobs"] == given
        answer = server.chat(logprobs=True, top_logprobs=2, stream=True)
        assert answer.headers["x-personakit-ignored"] == "logprobs, top_logprobs"


def test_a_request_that_a_proxy_passes_on_needs_a_key(folder: Path) -> None:
    context, upstream = serving(folder)
    with context as server:
        for headers in ({"x-forwarded-for": "10.0.0.7"}, {"forwarded": "for=10.0.0.7"}):
            answer = server.chat(headers=headers)
            assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")
    assert upstream.requests == []


def test_an_answer_that_is_not_in_the_form_of_the_output(folder: Path) -> None:
    schema = "{type: object, properties: {dish: {type: string}}, required: [dish]}"
    (folder / "dish.yaml").write_text(f"system: You cook.\noutput: {schema}\n")
    context, _ = serving(folder, "No JSON.")
    with context as server:
        answer = server.chat(model="dish")
    assert (answer.status, answer.error["code"]) == (502, "invalid_output")


def test_another_version_of_a_persona_is_named(folder: Path) -> None:
    (folder / "v.yaml").write_text("system: Hi\nversion: '1.0'\n")
    context, _ = serving(folder)
    with context as server:
        assert server.chat(model="v@1.0").status == 200
        answer = server.chat(model="v@2")
    assert answer.status == 404
    assert "'v' is there with another version" in answer.error["message"]


def test_the_operator_reads_of_a_broken_persona_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "p.yaml").write_text("sytem: Hi\n")
    context, _ = serving(folder)
    with context as server:
        assert [server.chat().status for _ in range(3)] == [400] * 3
    assert len([each for each in caplog.records if "p.yaml" in each.getMessage()]) == 1
