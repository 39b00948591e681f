"""The reprs of what a user meets, the equality of personas, and pickles."""

from __future__ import annotations

import copy
import inspect
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import personakit
from personakit import (
    Account,
    Amount,
    Attachment,
    BadRequest,
    Charge,
    Config,
    Conversation,
    Embeddings,
    Endpoint,
    Event,
    Finding,
    JournalFolder,
    Key,
    Ledger,
    Message,
    Pattern,
    Persona,
    PersonaError,
    Piece,
    Problem,
    Provider,
    Question,
    Request,
    Reservation,
    Response,
    Resumption,
    Row,
    RunLog,
    Runner,
    Spent,
    Step,
    Timings,
    Tool,
    ToolCall,
    ToolResult,
    Total,
    Trace,
    Usage,
    Variable,
)
from personakit.runner import default_runner
from personakit.testing import Received, Reply, Upstream

SCREEN = 2000
"""Characters: 25 lines of 80."""
KEY = "sk-canary-000111222333"
LONG = "Once upon a time " * 60_000
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 1_900_000
DEEP: Any = {"n": 1}
for _ in range(20):
    DEEP = {"list": [DEEP, LONG, LONG]}

FILE = """
description: {long}
metadata: {{notes: {long}}}
variables:
  topic: {{default: {long}, enum: [{long}, b]}}
system: {long}
messages:
{messages}
plugins:
  - cache: {{api_key: {key}, note: {long}}}
tests:
  - {{name: one, prompt: {long}, render: {{contains: {long}}}}}
""".format(
    long="many words " * 2000,
    messages="".join(f"  - user: text {n}\n" for n in range(500)),
    key=KEY,
)


def with_image() -> Message:
    """Return a message with a text and an image of 1.9 MB."""
    parts: Any = [{"type": "text", "text": LONG}, Attachment(data=PNG).part()]
    return Message("user", parts)


def values() -> dict[str, Any]:
    """Return one large value of each public class."""
    messages = (Message("user", LONG), with_image()) * 50
    parameters = {"extra_headers": {"x": KEY}, "api_key": KEY, "stop": [LONG] * 9}
    request = Request("openai/x", messages, parameters=parameters, variables={"a": DEEP})
    call, result = ToolCall("1", "add", LONG), ToolResult("1", LONG)
    response = Response(
        LONG, (call,) * 99, request=request, raw={"a": LONG}, parsed=[DEEP] * 99,
        metadata={"a": LONG}, messages=messages, reasoning=LONG,
    )  # fmt: skip
    step = Step("cache", "chat", 0, request, sent=[request] * 9, response=response)
    endpoint = Endpoint(
        f"https://user:{KEY}@x.example/v1?key={KEY}", KEY, "m", defaults={"a": LONG}
    )
    config = Config(
        environ={"OPENAI_API_KEY": KEY}, parameters={"stop": [LONG]},
        plugin_options={"cache": {"api_key": KEY, "headers": {"Authorization": KEY}, "n": LONG}},
        providers={str(n): Provider(str(n), api_key=KEY, headers=(("x", KEY),)) for n in range(99)},
    )  # fmt: skip
    runner = Runner(config, backend=Upstream())
    stream = runner.stream(Persona.parse("system: Hi"), "Hi")
    return {
        "AsyncStream": runner.astream(Persona.parse("system: Hi"), "Hi"),
        "Attachment": Attachment(data=PNG),
        "Config": config,
        "Conversation": runner.conversation(Persona.parse("system: Hi"), messages=messages),
        "Endpoint": endpoint,
        "Error": BadRequest(LONG, response=response),
        "Finding": Finding("p.yaml", 1, 1, "error", "PK010", LONG, 1, 2),
        "Look": personakit.look("p.yaml", FILE, runner=runner),
        "JournalFolder": JournalFolder("journals"),
        "Question": Question(LONG, (LONG,) * 99, LONG, "gate", "0.1"),
        "Resumption": Resumption("06", {"0.1": LONG}),
        "Event": Event("started", "1", "a", request, response, call=call, result=result),
        "Library": runner.library,
        "Message": messages[1],
        "Pattern": Pattern("a" * 4000),
        "Persona": Persona.parse(FILE),
        "PersonaError": PersonaError([Problem(LONG, "a.yaml", 1)] * 99),
        "Piece": Piece("annotation", LONG, annotation={"a": [LONG] * 99}),
        "Problem": Problem(LONG, "a.yaml", 1),
        "Provider": config.providers["1"],
        "Request": request,
        "Response": response,
        "Router": runner.router,
        "Received": Received(
            "POST", f"/v1?a={LONG}", {"authorization": f"Bearer {KEY}", "x": LONG}, DEEP, 1
        ),
        "Reply": Reply(PNG, headers={"set-cookie": KEY, "x": LONG}),
        "Row": Row("1", request, messages=tuple(messages), trace=({"a": LONG},) * 9),
        "RunLog": RunLog("runs.db"),
        "Runner": runner,
        "Step": step,
        "Stream": stream,
        "Text": Persona.parse(FILE).system,
        "Timings": Timings(1.0, 2.0),
        "Tool": Tool("add", max, LONG, {"type": "object", "properties": {"a": DEEP}}),
        "ToolCall": call,
        "ToolResult": result,
        "Trace": Trace([step] * 99),
        "Upstream": Upstream([LONG] * 99, requests=[request] * 99),
        "Usage": Usage(1, 2, 3),
        "Account": Account(LONG, 1, 0),
        "Amount": Amount(1, None),
        "Total": Total(1, 2, 3, 4),
        "Reservation": Reservation(
            "id", tuple(Account(LONG, n, 0) for n in range(99)), Amount(1, 2), 9.0
        ),
        "Key": Key("anna", tuple(LONG for _ in range(99))),
        "Ledger": Ledger("ledger.db"),
        "Charge": Charge("openai/x", "x-1", Usage(1, 2, 3), 0.1),
        "Spent": Spent(tuple(Charge(LONG, LONG, Usage(1, 2, 3)) for _ in range(900))),
        "Embeddings": Embeddings([[0.25] * 1536] * 900, LONG, Usage(1, 0, 1)),
        "Variable": Variable("a", default=DEEP, enum=(LONG,) * 99, description=LONG),
    }


VALUES = values()


@pytest.mark.parametrize("name", VALUES)
def test_a_repr_fits_on_a_screen_and_has_no_secret(name: str) -> None:
    shown = repr(VALUES[name])
    assert 8 <= len(shown) <= SCREEN
    assert shown.isprintable()
    assert KEY not in shown
    assert " object at 0x" not in shown


def test_a_repr_of_a_large_response_takes_no_longer_than_one_of_a_small_one() -> None:
    def seconds(value: Any) -> float:
        best = 1.0
        for _ in range(20):
            begin = time.perf_counter()
            repr(value)
            best = min(best, time.perf_counter() - begin)
        return best

    large = Request("a/b", (Message("user", LONG), with_image()) * 500)
    small = Request("a/b", (Message("user", "Hi " * 99), Message("user", "Hi")))
    assert seconds(large) < 20 * seconds(small)


def test_what_is_cut_has_its_length() -> None:
    text = "Once upon a time, " + "x" * 2_669_982
    shown = repr(Response(text, model="gpt"))
    assert shown.startswith("Response(text='Once upon a time, xxx")
    assert shown.endswith("xxx…' (2,670,000 characters), model='gpt')")
    assert "{'url': <image/png, 1.9 MB>}" in repr(with_image())
    assert repr(Attachment(data=PNG, name="a.png")) == (
        "Attachment(type='image/png', size='1.9 MB', name='a.png')"
    )
    assert repr(Message("user", "Hi")) == "Message(role='user', content='Hi')"
    assert ", … 42 more)" in repr(Request("a/b", (Message("user", "Hi"),) * 50))


def test_a_response_shows_neither_its_request_nor_a_cost_that_is_not_known_yet() -> None:
    messages = (Message("system", "Be secret."),)
    request = Request("openai/gpt-5-mini", messages, persona="ann")
    response = Response("Hi", usage=Usage(10, 5, 15), request=request, raw={"x": "Be secret."})
    assert repr(response) == (
        "Response(text='Hi', usage=Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15), "
        "persona='ann')"
    )
    assert response.cost is not None
    assert f"cost={response.cost}" in repr(response)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@settings(max_examples=25)
@given(plain, st.text())
def test_any_value_has_a_repr_of_one_printable_line(value: Any, text: str) -> None:
    for shown in (repr(Variable("a", default=value)), repr(ToolCall(text, text, text * 99))):
        assert len(shown) <= SCREEN
        assert shown.isprintable()


def test_a_value_that_has_no_repr_or_contains_itself_has_one_here() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    endless: list[Any] = []
    endless.append(endless)
    for value in (Broken(), 10**5000, endless, "\x1b" * 9999, {1: Broken()}, Broken):
        assert len(repr(Variable("a", default=value))) < SCREEN


# --- equality and pickles ------------------------------------------------------------------------


def test_equal_personas_are_equal_also_after_a_pickle(tmp_path: Path) -> None:
    parent, file = tmp_path / "base.yaml", tmp_path / "ann.yaml"
    parent.write_text("system: Be {{ tone }}.\nvariables: {tone: kind}\n")
    file.write_text(
        "extends: base\nsystem: '{{ parent.system }} Sing.'\nmetadata: {a: [1, {b: 2}]}"
    )
    one, two = (Runner(Config(path=(tmp_path,))).load("ann") for _ in range(2))
    assert one is not two
    for twin in (two, pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert twin == one
        assert hash(twin) == hash(one)
    assert len({one, two}) == 1
    file.write_text("# a comment\n" + file.read_text())
    assert Runner(Config(path=(tmp_path,))).load("ann") == one
    parent.write_text("system: Be very {{ tone }}.\nvariables: {tone: kind}\n")
    assert Runner(Config(path=(tmp_path,))).load("ann") != one


def test_personas_that_differ_in_anything_differ() -> None:
    first = Persona.parse(FILE)
    assert first == Persona.parse(FILE)
    for old, new in (("one", "two"), ("text 499", "text 4"), ("api_key", "api_keys"), ("b]", "c]")):
        assert Persona.parse(FILE.replace(old, new)) != first
    assert Persona.parse(FILE, "persona.yaml") != first


def test_a_persona_that_was_unpickled_runs_as_the_first_one_does() -> None:
    found = Persona.parse("system: Be {{ a }}.\nvariables: {a: {default: kind}}")
    runner = Runner(Config(path=()), backend=Upstream(["one", "two"]))
    twin = pickle.loads(pickle.dumps(found))
    assert [runner.run(it, "Hi").text for it in (found, twin)] == ["one", "two"]
    assert runner.hash(found) == runner.hash(twin)


def test_personas_are_not_kept_alive_by_a_runner_nor_a_runner_by_a_persona() -> None:
    import gc
    import weakref

    runner, found = Runner(Config(path=()), backend=Upstream()), Persona.parse("system: Hi")
    runner.run(found)
    alive, kept = weakref.ref(found), weakref.ref(runner)
    del runner
    gc.collect()
    assert kept() is None
    del found
    gc.collect()
    assert alive() is None


KEPT = (
    "AsyncStream Config Conversation Endpoint Ledger Library Provider Router Runner RunLog Stream"
).split()
"""What holds keys, connections or files of a process."""


@pytest.mark.parametrize("name", sorted({*KEPT} - {"AsyncStream", "Library", "RunLog", "Stream"}))
def test_what_holds_keys_or_connections_cannot_be_pickled(name: str) -> None:
    with pytest.raises(TypeError, match=r"cannot (be )?pickled?"):
        pickle.dumps(VALUES[name])


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kind", ["stream", "astream"])
def test_a_stream_cannot_be_copied_but_its_response_can(kind: str, take: Any) -> None:
    runner = Runner(Config(path=()), backend=Upstream(["Hello!"]))
    reading = getattr(runner, kind)(Persona.parse("system: Hi"), "Hi")
    for value in (reading, reading.pieces()) if kind == "astream" else (reading,):
        with pytest.raises(TypeError, match=r"tream cannot be pickled or copied.*`response`"):
            take(value)
    if kind == "stream":
        begun = runner.stream(Persona.parse("system: Hi"), "Hi")
        next(begun)
        with pytest.raises(TypeError, match="read it to its end"):
            take(begun)
        assert begun.text + "".join(begun) == "Hello!"
        assert take(begun.response)


@pytest.mark.parametrize("name", [name for name in VALUES if name not in KEPT])
def test_values_can_be_pickled(name: str) -> None:
    value = VALUES[name]
    twin = pickle.loads(pickle.dumps(value))
    assert repr(twin) == repr(value)
    # Errors, patterns and steps have no equality.
    if name not in ("Error", "Pattern", "PersonaError", "Step", "Trace"):
        assert twin == value


def test_a_conversation_of_a_runner_without_a_config_can_be_pickled() -> None:
    talk = personakit.Runner(backend=Upstream(["Hello.", "Bye."])).conversation(
        Persona.parse("system: Be {{ a }}.\nvariables: {a: kind}"), variables={"a": "firm"}
    )
    talk.run("Hi")
    twin: Conversation = pickle.loads(pickle.dumps(talk))
    assert (twin.messages, twin.id, twin.variables) == (talk.messages, talk.id, {"a": "firm"})
    assert twin.run("Bye").text
    with pytest.raises(TypeError, match="a Runner with a config cannot be pickled"):
        pickle.dumps(VALUES["Conversation"])


def test_the_shared_runner_is_that_of_the_process_that_unpickles_it() -> None:
    shared = default_runner()
    assert pickle.loads(pickle.dumps(shared)) is shared


def test_every_public_class_whose_instances_a_user_meets_is_among_the_values() -> None:
    """Protocols, what plugins receive and marks in annotations are not."""
    others = "Answer Filter JournalStorage Options Registry SchemaSubset Secret Send SendTool"
    others += " UserOption Wire"
    for name in personakit.__all__:
        kind = getattr(personakit, name)
        if inspect.isclass(kind) and not issubclass(kind, (BaseException, dict)):
            known = name in others.split()
            assert known or any(isinstance(value, kind) for value in VALUES.values()), name
