"""What is accepted, what is asked again and how, and what the caller gets in the end."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from personakit_schema import Schema

from personakit import (
    Config,
    ConfigError,
    InvalidAnswer,
    Persona,
    PersonaError,
    PluginError,
    RateLimited,
    Request,
    Response,
    Runner,
    ToolCall,
    Usage,
)
from personakit.testing import (
    MODES,
    Answer,
    Server,
    Upstream,
    check_plugin,
    check_replay,
    in_mode,
    persona,
    runner,
)

BOOKING = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "guests": {"type": "integer", "minimum": 1},
        "tables": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["guests"],
    "additionalProperties": False,
}
GOOD, BAD = '{"guests": 2}', '{"guests": "two"}'
CLERK = persona("You take bookings.", output=BOOKING)


def ran(
    answers: Sequence[Answer], mode: str = "run", who: Persona = CLERK, **options: Any
) -> tuple[Response, Upstream]:
    running, upstream = runner(answers, plugins=[Schema(**options)])
    return in_mode(mode, running, who, "A table, please"), upstream


def failed(answers: Sequence[Answer], mode: str = "run", **options: Any) -> PluginError:
    with pytest.raises(PluginError) as raised:
        ran(answers, mode, **options)
    return raised.value


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_matches_is_parsed(mode: str) -> None:
    response, upstream = ran([f"\n{GOOD} \n"], mode)
    assert (response.text, response.parsed) == (GOOD, {"guests": 2})
    assert response.metadata == {"schema": {"attempts": 1}}
    sent = upstream.requests[0]
    assert [m.text for m in sent.messages] == ["You take bookings.", "A table, please"]
    assert sent.parameters["response_format"]["json_schema"]["schema"] == CLERK.output


@pytest.mark.parametrize("mode", MODES)
def test_one_that_does_not_is_shown_with_its_faults(mode: str) -> None:
    bad = '{"guests": 0, "tables": [1, "x"], "more": 1}'
    response, upstream = ran([bad, GOOD], mode)
    assert (response.text, response.parsed) == (GOOD, {"guests": 2})
    assert response.metadata["schema"] == {"attempts": 2}
    first, second = upstream.requests
    assert second.messages[:2] == first.messages
    answer, complaint = second.messages[2:]
    assert (answer.role, answer.text, complaint.role) == ("assistant", bad, "user")
    assert complaint.text == (
        "Your answer does not match the JSON Schema:\n"
        "- $: Additional properties are not allowed ('more' was unexpected)\n"
        "- $.guests: 0 is less than the minimum of 1\n"
        "- $.tables[1]: 'x' is not of type 'integer'\n"
        "Answer again with the whole corrected JSON alone."
    )


@pytest.mark.parametrize("mode", MODES)
def test_only_the_last_answer_is_shown_again(mode: str) -> None:
    _, upstream = ran([BAD, "no", GOOD], mode)
    assert [m.text for m in upstream.requests[2].messages[:3]] == [
        "You take bookings.",
        "A table, please",
        "no",
    ]
    assert len(upstream.requests[2].messages) == 4


@pytest.mark.parametrize("mode", MODES)
def test_the_last_attempt_fails_with_the_answer(mode: str) -> None:
    running, upstream = runner(["no", BAD, GOOD], plugins=[Schema(attempts=2)])
    with pytest.raises(PluginError) as raised:
        in_mode(mode, running, CLERK, "A table")
    error = raised.value
    assert len(upstream.requests) == 2
    assert str(error).endswith(
        "InvalidAnswer: attempt 2 of 2: the answer does not match the `output:` of persona "
        "'test':\n- $.guests: 'two' is not of type 'integer'"
    )
    assert error.response is not None
    assert error.response.text == BAD
    assert isinstance(error.__cause__, InvalidAnswer)
    assert error.__cause__.partial == BAD


def test_nothing_streams_before_it_matches() -> None:
    running, _ = runner([BAD, GOOD], plugins=[Schema()], size=1)
    assert list(running.stream(CLERK, "A table")) == [GOOD]


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here it is:\r\n\r\n```JSON\r\n{GOOD}\r\n```\r\nAnything else?",
        f"  ``` json  \n{GOOD}\n  ```  \n",
    ],
)
def test_a_fence_is_taken_off(text: str) -> None:
    response, _ = ran([text])
    assert (response.text, response.parsed) == (GOOD, {"guests": 2})
    with pytest.raises(PluginError, match="it is not valid JSON"):
        ran([text], strip_fences=False)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```\nor\n```json\n{GOOD}\n```",
        f"```yaml\n{GOOD}\n```",
        f"```json\n{GOOD}",
        f"Here it is: {GOOD}",
        f"{GOOD}\n{GOOD}",
        '{"guests": NaN}',
        "",
        "[" * 100_000,
    ],
)
def test_what_is_no_json_is_asked_again(text: str) -> None:
    response, upstream = ran([text, GOOD])
    assert response.metadata["schema"] == {"attempts": 2}
    said = upstream.requests[1].messages[-1].text
    assert ("it is not valid JSON: " if text else "it is empty") in said
    assert len(upstream.requests[1].messages) == (4 if text else 3)


def test_a_fence_within_a_text_stays() -> None:
    text = json.dumps({"guests": 2, "name": "```json\n1\n```"})
    response, _ = ran([text])
    assert response.text == text
    assert response.parsed["name"] == "```json\n1\n```"


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_was_cut_off_is_said_to_be(mode: str) -> None:
    cut = Response('{"guests": 2, "na', finish_reason="length")
    assert "cut off at the token limit" in str(failed([cut], mode))
    _, upstream = ran([cut, GOOD], mode)
    assert "cut off at the token limit" in upstream.requests[1].messages[-1].text


def test_json_that_was_whole_before_the_limit_is_accepted() -> None:
    assert ran([Response(f"{GOOD}\n\n", finish_reason="length")])[0].parsed == {"guests": 2}


def test_a_number_at_the_limit_may_have_lost_digits() -> None:
    who = persona(output={"type": "integer"})
    response, _ = ran([Response("12", finish_reason="length"), "123"], who=who)
    assert response.parsed == 123


@pytest.mark.parametrize("mode", MODES)
def test_a_call_of_tools_is_not_asked_again(mode: str) -> None:
    answer = Response("a moment", (ToolCall("1", "look", "{}"),), "tool_calls")
    for before in ([], ["no"]):
        running, upstream = runner([*before, answer], plugins=[Schema()])
        with pytest.raises(InvalidAnswer, match="calls tools that the run does not have: look"):
            in_mode(mode, running, CLERK, "A table")
        assert len(upstream.requests) == len(before) + 1


def test_what_all_attempts_took_is_added_up() -> None:
    answers = [
        Response("no", usage=Usage(1, 2, 3), cost=0.5),
        Response("no", usage=None, cost=None),
        Response(GOOD, usage=Usage(10, 20, 30), cost=0.25),
    ]
    response, _ = ran(answers)
    # What one of them took is unknown.
    assert (response.usage, response.cost) == (Usage(11, 22, 33, incomplete=True), None)
    response, _ = ran([answers[0], answers[2]])
    assert (response.usage, response.cost) == (Usage(11, 22, 33), 0.75)
    response, _ = ran([Response(GOOD)])
    assert (response.usage, response.cost) == (None, None)


@pytest.mark.parametrize("mode", MODES)
def test_instruct_writes_the_schema_into_the_system_message(mode: str) -> None:
    _, upstream = ran([BAD, GOOD], mode, instruct=True)
    for request in upstream.requests:
        assert "response_format" not in request.parameters
        before, _, schema = request.system.rpartition("\n")
        assert before.startswith("You take bookings.\n\nAnswer with JSON alone")
        assert json.loads(schema) == BOOKING


def test_instruct_keeps_a_response_format_of_another_kind() -> None:
    running, upstream = runner([GOOD], plugins=[Schema(instruct=True)])
    kept = {"response_format": {"type": "json_object"}, "seed": 1}
    running.run(CLERK, "A table", parameters=kept)
    assert upstream.requests[0].parameters == kept


def test_the_nearest_branch_of_a_choice_is_told() -> None:
    branches = [
        {"properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind"]},
        {"properties": {"kind": {"const": "b"}, "n": {"type": "string"}}, "required": ["kind"]},
    ]
    who = persona(output={"type": "object", "anyOf": branches})
    _, upstream = ran(['{"kind": "a", "n": "x"}', '{"kind": "a", "n": 1}'], who=who)
    told = upstream.requests[1].messages[-1].text
    assert "not valid under any" not in told
    assert "- $." in told


def test_no_more_than_five_faults_are_told_each_shortened() -> None:
    bad = json.dumps({"guests": 1, "tables": ["x" * 1000] * 20})
    _, upstream = ran([bad, GOOD])
    lines = upstream.requests[1].messages[-1].text.splitlines()
    assert len(lines) == 7
    assert max(map(len, lines)) < 350


@pytest.mark.parametrize("mode", MODES)
def test_a_persona_without_output_is_told_before_anything_is_sent(mode: str) -> None:
    running, upstream = runner([GOOD], plugins=[Schema()])
    with pytest.raises(ConfigError, match="'test' lists the plugin schema but has no `output:`"):
        in_mode(mode, running, persona(), "Hi")
    assert upstream.requests == []


def test_an_output_that_is_no_schema_is_told_before_anything_is_sent() -> None:
    running, upstream = runner([GOOD], plugins=[Schema()])
    message = r"not a valid JSON Schema: \$\.type: expected one of array, .* found a string 'text'"
    with pytest.raises(ConfigError, match=message):
        running.run(persona(), "Hi", output={"type": "text"})
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "text"}}}
    with pytest.raises(ConfigError, match=message):
        running.run(persona(), "Hi", parameters={"response_format": form})
    assert upstream.requests == []


def test_nothing_is_fetched_for_a_reference(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text("{}")
    running, upstream = runner([GOOD], plugins=[Schema()])
    with pytest.raises(ConfigError, match="refers to no subschema of this schema"):
        running.run(persona(), "Hi", output={"$ref": path.as_uri()})
    assert upstream.requests == []


def test_references_within_the_schema_work() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/n"}}
    response, _ = ran(["[1, 2.5]", "[1, 2]"], who=persona(output=schema))
    assert (response.parsed, response.metadata["schema"]["attempts"]) == ([1, 2], 2)


def test_what_a_deep_answer_costs_is_bounded() -> None:
    schema = {"type": "array", "items": {"$ref": "#"}}
    response, upstream = ran(["[" * 900 + "]" * 900, "[[]]"], who=persona(output=schema))
    assert response.parsed == [[]]
    assert "it is nested too deep" in upstream.requests[1].messages[-1].text


@pytest.mark.parametrize("mode", MODES)
def test_an_error_of_the_upstream_passes(mode: str) -> None:
    busy = RateLimited("busy")
    with pytest.raises(RateLimited) as raised:
        ran([BAD, busy], mode)
    assert raised.value is busy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(JSON, st.sampled_from(["{}", "```json\n{}\n```", "So:\n```\n{}\n```\n"]), st.booleans())
def test_every_value_comes_out_as_it_was_written(value: Any, around: str, indent: bool) -> None:
    text = json.dumps(value, indent=2 if indent else None, ensure_ascii=False)
    running, _ = runner([around.replace("{}", text, 1)], plugins=[Schema()])
    response = running.run(persona(output={}), "Hi")
    assert (response.text, response.parsed) == (text, value)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([GOOD, BAD, "no", f"```\n{GOOD}\n```"]), min_size=1, max_size=4))
def test_all_modes_agree(course: list[str]) -> None:
    good = next((n for n, text in enumerate(course, 1) if GOOD in text and n <= 3), None)
    if good is None:
        with pytest.raises(PluginError):
            check_plugin(Schema(), "Hi", course, persona=CLERK, sizes=[0, 2])
    else:
        response = check_plugin(Schema(), "Hi", course, persona=CLERK, sizes=[0, 2])
        assert (response.text, response.metadata["schema"]["attempts"]) == (GOOD, good)


@pytest.mark.parametrize("mode", MODES)
def test_over_http(mode: str) -> None:
    with (
        Server([BAD, f"```json\n{GOOD}\n```"]) as server,
        closing(Runner(server.config(), plugins=[Schema()])) as running,
    ):
        response = in_mode(mode, running, CLERK, "A table")
    assert (response.text, response.parsed) == (GOOD, {"guests": 2})
    assert response.usage is not None
    assert response.usage.prompt_tokens == 10
    first, second = (request.body for request in server.requests)
    assert first["response_format"]["json_schema"]["schema"] == BOOKING
    assert [message["role"] for message in second["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def once_wrong(request: Request) -> str:
    number = request.messages[1].text
    return json.dumps({"guests": int(number) if len(request.messages) > 2 else number})


def test_one_plugin_serves_many_threads() -> None:
    running, _ = runner([once_wrong], plugins=[Schema()])
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: running.run(CLERK, str(n)), range(1, 40)))
    assert [response.parsed for response in responses] == [{"guests": n} for n in range(1, 40)]


def test_one_plugin_serves_many_tasks() -> None:
    running, _ = runner([once_wrong], plugins=[Schema()])

    async def gather() -> list[Response]:
        return await asyncio.gather(*(running.arun(CLERK, str(n)) for n in range(1, 40)))

    responses = asyncio.run(gather())
    assert [response.parsed for response in responses] == [{"guests": n} for n in range(1, 40)]
    assert {response.metadata["schema"]["attempts"] for response in responses} == {2}


def by_name(options: dict[str, Any]) -> Response:
    running = Runner(Config(model="test/m", path=()), backend=Upstream(["no", GOOD]))
    return running.run(persona(output=BOOKING, plugins=[{"schema": options}]), "Hi")


def test_a_persona_lists_it_with_options() -> None:
    assert by_name({"attempts": 2, "strip_fences": False, "instruct": True}).parsed
    with pytest.raises(PluginError, match="attempt 1 of 1"):
        by_name({"attempts": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts is 0; use 1 to 100"),
        ({"instruct": "yes"}, "'instruct'.*valid boolean"),
        ({"attemps": 3}, "no option 'attemps'; did you mean 'attempts'"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises((PersonaError, ConfigError), match=message):
        by_name(options)


def test_a_dry_run_shows_what_would_leave() -> None:
    running, upstream = runner(plugins=[Schema(instruct=True)])
    assert "JSON Schema" in running.prepare(CLERK, "Hi").system
    assert upstream.requests == []


def test_it_obeys_the_rule_of_replay() -> None:
    booked = persona(output=BOOKING)
    response = check_replay(Schema, answers=["two", '{"guests": 2}'], persona=booked)
    assert response.parsed == {"guests": 2}
