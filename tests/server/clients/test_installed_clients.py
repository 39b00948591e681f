"""Clients in environments of their own: what their user sees, and what the upstream gets.

PERSONAKIT_CLIENTS is `smoke` for one call of each client (`just serve-clients`), or `all`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.client_envs import node_program, python_program, python_script, run
from helpers.served import Served, call, cut, failing, streamed_call

if os.environ.get("PERSONAKIT_CLIENTS") not in ("smoke", "all"):
    pytest.skip("installs other clients: just serve-clients", allow_module_level=True)
full = pytest.mark.full
RATING = '{"dish": "soup", "stars": 4}'
SOUP = {"dish": "soup", "stars": 4}
LYON = {"city": "Lyon"}
GREETED = [
    ("system", "You greet people in French."),
    ("system", "Be brief."),
    ("user", "Greet this person: Zoë"),
]
PLAIN = ("system", "Answer in one sentence.")


def greeted(site: Served) -> None:
    """Check a request of the persona `greeter`: messages, parameters and the upstream's model."""
    (sent,) = site.sent
    assert site.texts() == GREETED
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("test-model", 0.9, 100)


def looped(site: Served, *, streamed: bool = False) -> None:
    """Check the two requests of a tool loop."""
    first, second = site.sent
    assert [tool["function"]["name"] for tool in first["tools"]] == ["weather"]
    assert [bool(one.get("stream")) for one in site.sent] == [streamed, streamed]
    assert site.texts()[0] == site.texts(1)[0] == PLAIN
    assert second["messages"][-1] == {
        "role": "tool", "content": "Lyon: sun", "tool_call_id": "call_1",
    }  # fmt: skip


# --- LangChain -----------------------------------------------------------------------------------


def langchain(site: Served, scenario: str) -> Any:
    return python_program("langchain_chat.py", site.base_url, site.token, scenario)


def test_langchain(site: Served) -> None:
    seen = langchain(site, "invoke")
    assert (seen["text"], seen["model_name"], seen["finish_reason"]) == (
        "Hello!",
        "greeter",
        "stop",
    )
    assert seen["usage"]["total_tokens"] == 11
    greeted(site)


@full
def test_langchain_streams(site: Served) -> None:
    seen = langchain(site, "stream")
    assert "".join(seen["pieces"]) == "Hello!"
    assert (seen["usage"]["total_tokens"], seen["finish_reason"]) == (11, "stop")
    assert site.texts() == [PLAIN, ("user", "Hi")]


@full
def test_langchain_with_structured_output(site: Served) -> None:
    site.answers(RATING)
    assert langchain(site, "structured") == SOUP
    assert site.sent[0]["response_format"]["json_schema"]["name"] == "Rating"


@full
def test_langchain_with_tools(site: Served) -> None:
    site.answers(call("weather", LYON), "Sun.")
    assert langchain(site, "tools") == {"calls": [["weather", LYON]], "text": "Sun."}
    looped(site)


@full
def test_langchain_with_an_unknown_model(site: Served) -> None:
    seen = langchain(site, "refused")
    assert "NotFound" in seen["error"]
    assert "'nobody' does not exist" in seen["message"]
    assert site.sent == []


# --- pydantic-ai ---------------------------------------------------------------------------------


def pydantic_ai(site: Served, scenario: str) -> Any:
    return python_program("pydantic_ai_agent.py", site.base_url, site.token, scenario)


def test_pydantic_ai(site: Served) -> None:
    assert pydantic_ai(site, "run") == {"text": "Hello!", "output_tokens": 6}
    greeted(site)


@full
def test_pydantic_ai_with_a_schema(site: Served) -> None:
    site.answers(RATING)
    assert pydantic_ai(site, "native") == SOUP
    assert site.sent[0]["response_format"]["json_schema"]["name"] == "Rating"


@full
def test_pydantic_ai_with_its_usual_output(site: Served) -> None:
    """It asks for an output with a tool that the model has to call."""
    site.answers(call("final_result", SOUP))
    assert pydantic_ai(site, "tool_output") == SOUP
    assert site.sent[0]["tool_choice"] == "required"


@full
def test_pydantic_ai_with_tools(site: Served) -> None:
    site.answers(call("weather", LYON), "Sun.")
    assert pydantic_ai(site, "tools") == {"text": "Sun.", "requests": 2}
    looped(site)


@full
def test_pydantic_ai_streams(site: Served) -> None:
    seen = pydantic_ai(site, "stream")
    assert ("".join(seen["pieces"]), seen["output_tokens"]) == ("Hello!", 6)


@full
def test_pydantic_ai_streams_with_tools(site: Served) -> None:
    site.answers(streamed_call("weather", LYON), "Sun.")
    assert pydantic_ai(site, "stream_tools") == {"text": "Sun.", "requests": 2}
    looped(site, streamed=True)


# --- llm -----------------------------------------------------------------------------------------


def llm(site: Served, folder: Path, *arguments: str) -> str:
    """Run a command of llm, whose own file names the server."""
    asked = {"x-personakit-variables": '{"language": "French"}'}
    models = [
        {
            "model_id": f"served-{name}", "model_name": name, "api_base": site.base_url,
            # Without it, llm sends no key to another address than OpenAI's.
            "api_key_name": "personakit",
            "supports_schema": True, "supports_tools": True, "headers": headers,
        }
        for name, headers in {"plain": {}, "greeter": asked}.items()
    ]  # fmt: skip
    (folder / "extra-openai-models.yaml").write_text(json.dumps(models), "utf-8")
    words = [python_script("llm"), "prompt", "--no-log", "--key", site.token, *arguments]
    done = run(words, LLM_USER_PATH=str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_llm(site: Served, tmp_path: Path) -> None:
    options = ["-s", "Be brief.", "-o", "temperature", "0.9", "Zoë"]
    assert llm(site, tmp_path, "-m", "served-greeter", *options) == "Hello!"
    greeted(site)
    assert site.sent[0]["stream"] is True


@full
def test_llm_without_streaming(site: Served, tmp_path: Path) -> None:
    assert llm(site, tmp_path, "-m", "served-plain", "--no-stream", "Hi") == "Hello!"
    assert not site.sent[0].get("stream")


@full
def test_llm_with_a_schema(site: Served, tmp_path: Path) -> None:
    site.answers(RATING)
    text = llm(site, tmp_path, "-m", "served-plain", "--schema", "dish, stars int", "Soup?")
    assert json.loads(text) == SOUP


@full
def test_llm_with_tools(site: Served, tmp_path: Path) -> None:
    site.answers(streamed_call("weather", LYON), "Sun.")
    code = 'def weather(city: str) -> str:\n    "The weather."\n    return f"{city}: sun"\n'
    assert llm(site, tmp_path, "-m", "served-plain", "--functions", code, "Lyon?") == "Sun."
    looped(site, streamed=True)


# --- openai-node ---------------------------------------------------------------------------------


def openai_node(site: Served, scenario: str) -> Any:
    return node_program("openai_node.mjs", site.base_url, site.token, scenario)


def test_openai_node(site: Served) -> None:
    seen = openai_node(site, "create")
    assert (seen["text"], seen["model"], seen["usage"]["total_tokens"]) == ("Hello!", "greeter", 11)
    assert seen["run"]
    assert seen["request_id"]
    greeted(site)


@full
def test_openai_node_streams(site: Served) -> None:
    seen = openai_node(site, "stream")
    assert ("".join(seen["pieces"]), seen["reasons"]) == ("Hello!", ["stop"])
    assert seen["usage"]["total_tokens"] == 11
    assert site.texts() == [PLAIN, *[("system", "Be brief."), ("user", "Zoë")]]


@full
def test_the_stream_helper_of_openai_node(site: Served) -> None:
    seen = openai_node(site, "helper")
    assert seen["text"] == seen["message"]["content"] == "Hello!"


@full
def test_openai_node_parses(site: Served) -> None:
    site.answers(RATING)
    assert openai_node(site, "parse") == SOUP
    assert site.sent[0]["response_format"]["json_schema"]["name"] == "rating"


@full
@pytest.mark.parametrize(("scenario", "streamed"), [("tools", False), ("stream_tools", True)])
def test_openai_node_with_tools(site: Served, scenario: str, streamed: bool) -> None:
    site.answers((streamed_call if streamed else call)("weather", LYON), "Sun.")
    assert openai_node(site, scenario) == {"text": "Sun.", "calls": [LYON]}
    looped(site, streamed=streamed)


@full
def test_errors_in_openai_node(site: Served) -> None:
    site.answers(failing(429, "Slow down.", retry_after="1"))
    assert openai_node(site, "failures") == {
        "key": {"kind": "AuthenticationError", "status": 401, "code": "invalid_api_key"},
        "model": {"kind": "NotFoundError", "status": 404, "code": "model_not_found"},
        "limit": {"kind": "RateLimitError", "status": 429, "code": "rate_limit_exceeded"},
    }


@full
def test_an_error_in_a_stream_of_openai_node(site: Served) -> None:
    site.answers(cut("Hel"))
    seen = openai_node(site, "broken")
    assert (seen["text"], seen["kind"]) == ("Hel", "APIError")
    assert seen["message"]


@full
def test_openai_node_lists_models(site: Served) -> None:
    assert {"plain", "greeter", "judge", "cook"} <= set(openai_node(site, "models"))


# --- the Vercel AI SDK ---------------------------------------------------------------------------


def vercel(site: Served, scenario: str) -> Any:
    return node_program("vercel_ai.mjs", site.base_url, site.token, scenario)


def test_vercel_ai(site: Served) -> None:
    seen = vercel(site, "generate")
    assert (seen["text"], seen["reason"], seen["usage"]["totalTokens"]) == ("Hello!", "stop", 11)
    greeted(site)


@full
def test_vercel_ai_streams(site: Served) -> None:
    seen = vercel(site, "stream")
    assert ("".join(seen["pieces"]), seen["reason"]) == ("Hello!", "stop")
    assert seen["usage"]["totalTokens"] == 11


@full
@pytest.mark.parametrize(("scenario", "streamed"), [("tools", False), ("stream_tools", True)])
def test_vercel_ai_with_tools(site: Served, scenario: str, streamed: bool) -> None:
    site.answers((streamed_call if streamed else call)("weather", LYON), "Sun.")
    assert vercel(site, scenario) == {"text": "Sun.", "calls": ["Lyon"], "steps": 2}
    looped(site, streamed=streamed)


@full
@pytest.mark.parametrize("scenario", ["object", "output"])
def test_vercel_ai_with_a_schema(site: Served, scenario: str) -> None:
    site.answers(RATING)
    assert vercel(site, scenario) == SOUP
    assert site.sent[0]["response_format"]["type"] == "json_schema"


@full
def test_vercel_ai_with_an_unknown_model(site: Served) -> None:
    seen = vercel(site, "refused")
    assert (seen["kind"], seen["status"]) == ("AI_APICallError", 404)
    assert "'nobody' does not exist" in seen["message"]
