"""Bodies that random requests found: each was answered wrongly once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.serving import served

from personakit import Runner
from personakit.testing import Reply, Server, runner


@pytest.mark.parametrize(
    ("key", "shown"),
    [("\x1f", "?"), ("a\r\nx-evil: 1", "a??x-evil: 1"), ("ä", "?"), ("\ud800", "?"), ("\x7f", "?")],
)
def test_any_key_without_effect_can_be_named_in_a_header(
    tmp_path: Path, key: str, shown: str
) -> None:
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running) as server:
        body = {"model": "p", "messages": [{"role": "user", "content": "Hi!"}], key: 1}
        answer = server.request("POST", "/v1/chat/completions", body)
        assert (answer.status, answer.headers["x-personakit-ignored"]) == (200, shown)
        assert "x-evil" not in answer.headers


def test_a_persona_that_needs_a_message_says_so_without_its_file(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: You cook.\nprompt: 'Dish: {{ input }}'\n")
    running, upstream = runner(["Hello!"], path=[tmp_path])
    with served(running) as server:
        answer = server.chat({"role": "assistant", "content": "Yes?"})
        assert (answer.status, answer.error["param"]) == (400, "messages")
        assert "role 'user'" in answer.error["message"]
        assert str(tmp_path) not in answer.body.decode()
        assert not upstream.requests


def test_the_error_of_a_file_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("system: [\n")
    (tmp_path / "q.yaml").write_text("system: '{{ 1 / 0 }}'\n")
    running, _ = runner(["Hello!"], path=[tmp_path])
    with served(running) as server:
        for name in ("p", "q"):
            answer = server.chat(model=name)
            assert (answer.status, answer.error["code"]) == (400, "invalid_persona")
            assert f"{name}.yaml:" in answer.error["message"]
            assert str(tmp_path) not in answer.body.decode()
        assert str(tmp_path) not in server.get("/v1/models").body.decode()


def test_what_the_provider_refuses_is_told_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("model: openai/test-model\nsystem: You help.\n")
    said = {"error": {"message": "the picture is too large", "type": "invalid_request_error"}}
    with Server([Reply(json.dumps(said).encode(), 400)]) as provider:
        config = dataclasses.replace(provider.config(), path=(tmp_path,))
        with served(Runner(config)) as server:
            answer = server.chat()
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")
    message = answer.error["message"]
    assert message == "the model's provider refused it: status 400: the picture is too large"
