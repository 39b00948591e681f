"""The suite: which tests it finds, what it asks, records and replays, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import personakit
from personakit import Blocked, Persona, PersonaNotFound, Provider, RateLimited, hookimpl
from personakit.config import Config
from personakit.messages import Message, Request
from personakit.suite.collect import Broken, Case, Outcome
from personakit.suite.suite import Suite, default_mode
from personakit.testing import Upstream

CHEF = """\
name: chef
system: You are {{ cook }}.
variables: {cook: Florent}
"""


@pytest.fixture
def personas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "personas").mkdir()
    return Path("personas")


def chef(personas: Path, tests: str, head: str = CHEF) -> Path:
    file = personas / "chef.yaml"
    lines = [f"  - {line}" if line[:1] != " " else f"  {line}" for line in tests.splitlines()]
    file.write_text("\n".join([head.rstrip("\n"), "tests:", *lines, ""]), "utf-8")
    return file


def suite(*answers: Any, **options: Any) -> tuple[Suite, Upstream]:
    upstream = Upstream(answers or ("Hello!",))
    options = {"config": Config(model="test/model", path=(Path("personas"),)), **options}
    return Suite(backend=upstream, **options), upstream


def run(made: Suite, *references: str) -> list[Outcome]:
    found = made.collect(references or ["personas"])
    return [made.run(case) for case in found if isinstance(case, Case)]


def one(made: Suite) -> Outcome:
    (outcome,) = run(made)
    return outcome


# --- finding -------------------------------------------------------------------------------------


def test_found_are_folders_files_and_names_each_once(personas: Path) -> None:
    chef(personas, "name: a\n  render: {contains: You}\nname: b\n  render: {contains: You}")
    (personas / "deep").mkdir()
    (personas / "deep" / "cook.yaml").write_text("system: x\ntests: [{render: {contains: x}}]\n")
    (personas / ".hidden.yaml").write_text("system: x\ntests: [{render: {contains: x}}]\n")
    made, _ = suite()
    found = made.collect(["personas", "personas/chef.yaml", "chef", "./personas"])
    assert [item.name for item in found if isinstance(item, Case)] == [
        "chef › a",  # noqa: RUF001
        "chef › b",  # noqa: RUF001
        "cook › test 1",  # noqa: RUF001
    ]


def test_what_is_no_persona_or_only_a_part_of_one_is_passed_over(personas: Path) -> None:
    (personas / "part.yaml").write_text("parameters: {temperature: 1}\n")
    (personas / "services.yaml").write_text("services: {web: {image: x}}\n")
    (personas / "list.yaml").write_text("- 1\n")
    (personas / "untested.yaml").write_text("system: x\n")
    made, _ = suite()
    assert made.collect(["personas"]) == []


def test_a_broken_file_is_told_with_its_problems_and_the_others_run(personas: Path) -> None:
    chef(personas, "render: {contains: Florent}")
    (personas / "bad.yaml").write_text("system: {{ x }}\n")
    (personas / "worse.yaml").write_text("system: x\ntests: [{render: {contain: x}}]\n")
    (personas / "gone.yaml").symlink_to("nowhere")
    made, _ = suite()
    found = made.collect(["personas"])
    broken = [item for item in found if isinstance(item, Broken)]
    assert [Path(item.path).name for item in broken] == ["bad.yaml", "gone.yaml", "worse.yaml"]
    assert "bad.yaml:1:" in broken[0].message
    assert "did you mean 'contains'" in broken[2].message
    assert [outcome.failures for outcome in run(made)] == [()]


def test_what_is_not_there_is_an_error(personas: Path) -> None:
    chef(personas, "render: {contains: x}")
    made, _ = suite()
    with pytest.raises(PersonaNotFound, match="did you mean 'chef'"):
        made.collect(["chefs"])
    with pytest.raises(PersonaNotFound, match="no file"):
        made.collect(["personas/cheff.yaml"])


# --- render --------------------------------------------------------------------------------------


def test_render_checks_the_messages_joined_by_blank_lines_and_asks_nothing(personas: Path) -> None:
    head = CHEF + "messages: [{user: Hi}, {assistant: Yes?}]\nprompt: 'Say: {{ input }}'\n"
    chef(
        personas,
        'prompt: A\n  variables: {cook: Zoë}\n  render: {equals: "You are Zoë.\\n\\n'
        'Hi\\n\\nYes?\\n\\nSay: A"}',
        head,
    )
    made, upstream = suite(config=Config(path=()))
    assert one(made).failures == ()
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("render: {contains: Zoe}", "render contains: expected 'Zoe'"),
        ("variables: {cok: x}\n  render: {contains: x}", "did you mean 'cook'"),
        ("variables: {cok: x}\n  render: {contains: x}", "under `variables:`"),
        ("render: {contains: x}", "set the user's message of a test under `prompt:`"),
    ],
)
def test_a_failure_says_where_what_and_what_would_be_right(
    personas: Path, test: str, message: str
) -> None:
    file = chef(personas, f"name: it\n  {test}", CHEF + "prompt: '{{ input }}'\n")
    if "Zoe" in test:
        file = chef(personas, f"name: it\n  {test}")
    made, _ = suite()
    report = one(made).report()
    assert report.startswith(f"{file}:{5 if 'Zoe' in test else 6}: chef › it\n")  # noqa: RUF001
    assert message in report


def test_a_persona_with_a_missing_plugin_fails_its_tests(personas: Path) -> None:
    chef(personas, "render: {contains: You}", CHEF + "plugins: [nowhere-at-all]\n")
    made, _ = suite()
    assert "nowhere-at-all" in one(made).report()


# --- expect: record and replay -------------------------------------------------------------------

EXPECT = "name: greets\n  prompt: Hi\n  expect: {contains: Hello}"


def test_an_answer_is_recorded_once_and_replayed_after(personas: Path) -> None:
    chef(personas, EXPECT)
    first, upstream = suite("Hello!")
    outcome = one(first)
    assert (outcome.failures, outcome.recorded, outcome.replayed) == ((), 1, 0)
    assert len(upstream.requests) == 1
    for mode in ("new", "none"):
        again, silent = suite("other", record=mode)
        outcome = one(again)
        assert (outcome.failures, outcome.recorded, outcome.replayed) == ((), 0, 1)
        assert silent.requests == []
    assert not [path for path in personas.iterdir() if path.suffix == ".json"]
    assert (personas / "recordings" / "chef.json").is_file()


def test_none_never_asks_and_names_the_command(personas: Path) -> None:
    chef(personas, EXPECT.replace("greets", "says it's her"))
    made, upstream = suite(record="none", model="openai/gpt-5-mini")
    report = one(made).report()
    assert "there is no recording; to record it:" in report
    command = "personakit test personas/chef.yaml -k 'says it'\"'\"'s her' --record new"
    assert f"{command} -m openai/gpt-5-mini" in report
    assert upstream.requests == []


@pytest.mark.parametrize("mode", ["new", "none"])
@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("You are {{ cook }}", "You're {{ cook }}", '+ "content": "You\'re Florent."'),
        ("cook: Florent", "cook: Zoë", '+ "content": "You are Zoë."'),
        ("prompt: Hi", "prompt: Hey", '+ "content": "Hey"'),
        ("name: chef\n", "name: chef\nparameters: {seed: 1}\n", '"seed": 1'),
        ("name: chef\n", "name: chef\nmodel: openai/x\n", '+ "model": "openai/x"'),
    ],
)
def test_another_request_fails_with_the_difference(
    personas: Path, mode: Any, old: str, new: str, shown: str
) -> None:
    file = chef(personas, EXPECT)
    assert one(suite("Hello!")[0]).failures == ()
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")
    made, upstream = suite(record=mode)
    report = one(made).report()
    assert "the request differs from the recorded one; to record it:" in report
    assert "--record all" in report
    assert shown in " ".join(report.split())
    assert upstream.requests == []
    again, _ = suite("Hello!", record="all")
    assert one(again).failures == ()
    assert one(suite(record="none")[0]).failures == ()


def test_the_embedded_model_is_announced_before_the_first_result(personas: Path) -> None:
    chef(personas, "name: a\n  render: {contains: You}\nname: b\n  expect: {contains: Hello}")
    local = Provider("local", "http://x", default_model="tiny")
    said: list[str] = []

    def announced(**options: Any) -> list[str]:
        made, _ = suite(config=Config(path=(), providers={"local": local}), **options)
        made.runner.router.contributed = lambda kind, name: local
        made.runner.router.notify = said.append
        said.clear()
        made.announce(case for case in made.collect(["personas"]) if isinstance(case, Case))
        return [line.split(" (")[0] for line in said]

    assert announced() == ["personakit: no model chosen, using the embedded local/tiny"]
    assert announced(model="openai/x") == []
    assert announced(record="none") == []  # no recording is asked for


def test_a_recorded_answer_that_fails_says_that_it_is_a_recording(personas: Path) -> None:
    chef(personas, EXPECT)
    made, _ = suite("Good day.")
    assert "recording" not in one(made).report()
    report = one(suite(record="none")[0]).report()
    assert "expect contains: expected 'Hello'" in report
    command = "personakit test personas/chef.yaml -k greets --record all -m test/model"
    assert f"the answer was recorded earlier; to ask the model again:\n    {command}" in report


def test_the_recording_has_the_model_where_nobody_names_one(personas: Path) -> None:
    chef(personas, EXPECT)
    one(suite("Hello!", model="openai/recorded")[0])
    for config in (Config(path=()), Config(model="openai/mine", path=())):
        assert one(suite(config=config, record="none")[0]).failures == ()
    assert one(suite(record="none", model="openai/other")[0]).failures != ()


def test_the_config_s_parameters_do_not_count_and_its_plugins_do(personas: Path) -> None:
    class Polite:
        @hookimpl
        def chat(self, request: Any) -> Any:
            return request.with_system("Be polite.")

    chef(personas, EXPECT)
    config = Config(model="m/m", path=(), parameters={"seed": 1}, plugins=(Polite(),))
    made, upstream = suite("Hello!", config=config)
    assert one(made).failures == ()
    assert upstream.requests[0].parameters == {}
    text = (personas / "recordings" / "chef.json").read_text("utf-8")
    assert "Be polite." in text


def test_plugins_run_on_a_replay_and_several_calls_are_kept_in_order(personas: Path) -> None:
    class Twice:
        @hookimpl
        async def chat(self, request: Any, send: Callable[..., Any]) -> Any:
            try:
                first = await send(request)
            except RateLimited:
                first = await send(request)
            more = request.with_messages(Message("assistant", first.text), Message("user", "More"))
            second = await send(more)
            return second.replace(text=f"{first.text} {second.text}".upper())

    chef(personas, EXPECT.replace("contains", "equals").replace("Hello", "ONE TWO"))
    config = Config(model="m/m", path=(), plugins=(Twice(),))
    outcome = one(suite(RateLimited("wait"), "one", "two", config=config)[0])
    assert (outcome.failures, outcome.recorded) == ((), 3)
    outcome = one(suite(config=config, record="none")[0])
    assert (outcome.failures, outcome.replayed) == ((), 3)


def test_a_run_that_fails_records_nothing_and_keeps_what_there_was(personas: Path) -> None:
    chef(personas, EXPECT)
    error = RateLimited("wait")
    assert "wait" in one(suite(error)[0]).report()
    assert not (personas / "recordings").exists()
    assert one(suite("Hello!")[0]).failures == ()
    assert "wait" in one(suite(error, record="all")[0]).report()
    assert one(suite(record="none")[0]).failures == ()


def test_ctrl_c_keeps_what_has_been_recorded(personas: Path) -> None:
    def interrupt(request: Any) -> str:
        raise KeyboardInterrupt

    chef(personas, f"{EXPECT}\n{EXPECT.replace('greets', 'greets again')}")
    made, _ = suite("Hello!", interrupt)
    first, second = (item for item in made.collect(["personas"]) if isinstance(item, Case))
    assert made.run(first).failures == ()
    with pytest.raises(KeyboardInterrupt):
        made.run(second)
    outcomes = run(suite(record="none")[0])
    assert [bool(outcome.failures) for outcome in outcomes] == [False, True]


def test_only_render_fails_when_both_would(personas: Path) -> None:
    chef(personas, f"{EXPECT}\n  render: {{contains: nothing}}")
    made, upstream = suite()
    assert [failure.check for failure in one(made).failures] == ["render contains"]
    assert upstream.requests == []


def test_a_broken_recording_fails_the_test_and_is_left_alone(personas: Path) -> None:
    chef(personas, EXPECT)
    (personas / "recordings").mkdir()
    file = personas / "recordings" / "chef.json"
    file.write_text("<<<<<<< ours")
    for mode in ("new", "all", "none"):
        made, upstream = suite(record=mode)
        assert "chef.json:1:1: not valid JSON" in one(made).report()
        assert upstream.requests == []
    assert file.read_text() == "<<<<<<< ours"


# --- judge ---------------------------------------------------------------------------------------

JUDGED = EXPECT.replace("contains: Hello", "contains: Hello, judge: It is polite.")


def test_a_judge_is_asked_with_the_rubric_and_its_verdict_is_recorded(personas: Path) -> None:
    chef(personas, JUDGED)
    made, upstream = suite("Hello!", "PASS: it is")
    outcome = one(made)
    assert (outcome.failures, outcome.recorded) == ((), 2)
    asked = upstream.requests[1]
    assert asked.persona == "judge"
    assert asked.model == "test/model"
    assert "It is polite." in asked.system
    assert "The user had asked:\nHi\n" in asked.system
    assert "<answer>\nHello!\n</answer>" in asked.messages[-1].text
    assert one(suite(record="none")[0]).replayed == 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("PASS", ""),
        ("**Pass**: good", ""),
        ("FAIL: it is rude", "expect judge: judge says: it is rude"),
        ("fail", "judge says: no reason given"),
        ("PASSABLE, I think", "neither PASS nor FAIL; judge said:"),
        ("I think it would PASS.", "neither PASS nor FAIL"),
        ("", "neither PASS nor FAIL"),
    ],
)
def test_the_first_word_is_the_verdict(personas: Path, said: str, message: str) -> None:
    chef(personas, JUDGED)
    outcome = one(suite("Hello!", said)[0])
    assert bool(outcome.failures) == bool(message)
    assert message in outcome.report()


def test_a_judge_is_not_asked_about_an_answer_that_fails_already(personas: Path) -> None:
    chef(personas, JUDGED)
    made, upstream = suite("Bye!", "PASS")
    assert one(made).failures != ()
    assert len(upstream.requests) == 1


def test_another_judge_and_another_model_may_be_named(personas: Path) -> None:
    judge = "{rubric: It is polite., persona: strict, model: openai/judge}"
    chef(personas, EXPECT.replace("contains: Hello", f"judge: {judge}"))
    (personas / "strict.yaml").write_text("system: 'Judge: {{ rubric }}'\nvariables: {rubric: x}\n")
    made, upstream = suite("Hello!", "PASS")
    assert one(made).failures == ()
    assert upstream.requests[1].model == "openai/judge"
    assert upstream.requests[1].system == "Judge: It is polite."
    assert json.loads((personas / "recordings" / "chef.json").read_text())["tests"]["greets"]


def test_a_judge_added_later_is_recorded_beside_the_answer(personas: Path) -> None:
    chef(personas, EXPECT)
    one(suite("Hello!")[0])
    chef(personas, JUDGED)
    assert "there is no recording" in one(suite(record="none")[0]).report()
    outcome = one(suite("PASS")[0])
    assert (outcome.failures, outcome.recorded, outcome.replayed) == ((), 1, 1)


@pytest.mark.parametrize(
    ("environ", "mode"),
    [({}, "new"), ({"CI": "true"}, "none"), ({"CI": "1"}, "none"), ({"CI": "false"}, "new")],
)
def test_in_ci_nothing_is_recorded(environ: dict[str, str], mode: str) -> None:
    assert default_mode(environ) == mode


def test_a_judge_that_is_not_there_costs_no_answer(personas: Path) -> None:
    chef(personas, EXPECT.replace("contains: Hello", "judge: {rubric: x, persona: jugde}"))
    made, upstream = suite()
    report = one(made).report()
    assert "did you mean 'judge'" in report
    assert upstream.requests == []


def test_what_comes_from_no_file_cannot_be_recorded() -> None:
    upstream = Upstream()
    made = Suite(Config(model="m/m", path=()), backend=upstream)
    text = f"{CHEF}tests: [{{expect: {{contains: x}}}}]\n"
    found = Persona.parse(text, "git:somewhere/chef")
    outcome = made.run(Case(found, found.tests[0]))
    assert "save the persona first" in outcome.report()
    assert upstream.requests == []


def test_a_refusal_without_a_reason_is_a_failure_with_a_name(personas: Path) -> None:
    chef(personas, EXPECT)
    outcome = one(suite(Blocked(""))[0])
    assert outcome.fault() == "expect: Blocked"


def test_a_question_of_a_plugin_ends_a_test_instead_of_leaving_it_open(
    personas: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(personas.absolute()))
    install(asks=Asks)
    chef(personas, "expect: {contains: Hello}", f"{CHEF}plugins: [asks]\n")
    outcome = one(suite()[0])
    assert "nobody is there to answer: Go on?" in str(outcome.failures)
    assert list(personas.glob("*/journals/*")) == []


class Asks:
    """Asks before every model call."""

    @hookimpl
    async def chat(self, request: Request) -> None:
        await personakit.ask("Go on?", choices=["yes", "no"])
