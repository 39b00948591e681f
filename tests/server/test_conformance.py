"""Random requests by the document, with schemathesis: every answer is as the document says.

`just conformance` brings schemathesis, and sends 300 requests or more; `just fuzz` sends 10,000.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.raw import Client, serving

from personakit.server import document
from personakit.testing import Server

schemathesis = pytest.importorskip("schemathesis", reason="`just conformance` brings it")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.config import SchemathesisConfig  # noqa: E402

EXAMPLES = int(os.environ.get("PERSONAKIT_EXAMPLES", "300"))
MODELS = ["plain", "chef"]
api = schemathesis.openapi.from_dict(
    document(version="1", models=MODELS), config=SchemathesisConfig(seed=20)
)
# The same requests in each run of CI; others in each run of `just fuzz`.
common = settings(derandomize=EXAMPLES <= 300, suppress_health_check=list(HealthCheck))
some = settings(common, max_examples=EXAMPLES // 3)
more = settings(common, max_examples=EXAMPLES - EXAMPLES // 3)
NOT_CHECKED = [
    # What else can be wrong: the value of a variable, the name of a tool in `tool_choice`.
    schemathesis.checks.positive_data_acceptance
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("server")
    with (
        Server() as upstream,
        serving(folder, None, PERSONAKIT_MODEL="openai/test-model", **upstream.environ()) as port,
    ):
        yield port


@pytest.fixture(scope="module")
def kinds() -> Iterator[Counter[str]]:
    """Count the kinds of answers: most of them must be of runs."""
    counted: Counter[str] = Counter()
    yield counted
    assert min(counted["whole"], counted["stream"]) > EXAMPLES / 20, counted


@api.parametrize()  # type: ignore[untyped-decorator]
@some
def test_every_answer_is_as_the_document_says(port: int, case: Any) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{port}", excluded_checks=NOT_CHECKED)


@given(
    case=api["/v1/chat/completions"]["POST"].as_strategy(),
    model=st.sampled_from(MODELS),
    stream=st.booleans(),
)
@more
def test_the_answer_of_a_persona_is_as_the_document_says(
    port: int, kinds: Counter[str], case: Any, model: str, stream: bool
) -> None:
    case.body = {**case.body, "model": model, "stream": stream}
    case.headers = {k: v for k, v in case.headers.items() if k == "x-request-id"}
    # They are right only by chance.
    for name in ("variables", "tool_choice"):
        case.body.pop(name, None)
    reply = case.call_and_validate(base_url=f"http://127.0.0.1:{port}", excluded_checks=NOT_CHECKED)
    if reply.status_code != 200:
        kinds[reply.json()["error"]["message"]] += 1
    elif not stream:
        kinds["whole"] += 1
    else:
        kinds["stream"] += 1
        assert reply.text.endswith("\n\ndata: [DONE]\n\n")


def test_the_served_document_is_valid(port: int) -> None:
    from openapi_spec_validator import validate

    with Client(port) as client:
        client.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        served = json.loads(client.answer().body)
    validate(served)
    assert served["paths"] == document(version="1")["paths"]
