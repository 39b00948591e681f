"""Bodies that random requests found: each was answered wrongly once."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.serving import served

from personakit.testing import runner


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
