"""Runs whose tool calls are asked for, in the four modes."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personakit import Blocked, Persona, ToolCall
from personakit.testing import MODES, in_mode, persona

TRAINS = ("web_search", '{"query": "trains to Oslo"}')
BOATS = ("web_search", '{"query": "boats"}')
FILE = ("read_file", '{"name": "a.txt"}')
REFUSED = "error: the user refused this call; do not repeat it with the same arguments"
FORBIDDEN = "error: the tool is not allowed in this conversation; do not call it"


def traveller(**options: Any) -> Persona:
    return persona(name="traveller", api="responses", plugins=[{"approve": options}])


def decided(mode: str, place: Any, who: Any = None) -> list[str]:
    """Return the results that the model gets."""
    response = in_mode(mode, place.runner, who or traveller(), "When?", tools=place.tools)
    assert response.text == "Done."
    results: list[str] = place.results()
    return results


@pytest.mark.parametrize("mode", MODES)
def test_an_allowed_and_a_refused_call_of_one_round(mode: str, at: Any, person: Any) -> None:
    someone = person(*(["yes", "no"] if mode in ("run", "stream") else ["no"] * 2))
    if mode in ("arun", "astream"):

        async def someone(question: Any) -> str:  # the order of questions is not that of calls
            await asyncio.sleep(0)
            return "yes" if "Oslo" in question.text else "no"

    with at([TRAINS, BOATS], "Done.", ask=someone) as place:
        assert decided(mode, place) == ["results for trains to Oslo", REFUSED]
        assert place.ran == ["web_search trains to Oslo"]
        assert len(place.server.requests) == 2


@pytest.mark.parametrize("mode", MODES)
def test_each_list_decides(mode: str, at: Any, person: Any) -> None:
    someone = person("yes")
    rules = {"always": ["read_*"], "ask": ["*"], "never": ["delete_*"]}
    calls = [TRAINS, FILE, ("delete_file", "{}")]
    with at(calls, "Done.", ask=someone) as place:
        results = decided(mode, place, traveller(**rules))
    assert results == ["results for trains to Oslo", "content of a.txt", FORBIDDEN]
    (question,) = someone.asked
    assert question.text == 'Allow web_search(query="trains to Oslo")?'
    assert question.choices == ("yes", "no", "yes for this run", "yes for good")
    assert question.details == '{\n  "query": "trains to Oslo"\n}'


@pytest.mark.parametrize(
    ("rules", "asked"),
    [
        ({}, True),
        ({"always": ["Web_search"]}, True),  # case matters
        ({"always": ["web_search"]}, False),
        ({"always": ["web_search"], "ask": ["web_*"]}, True),
        ({"always": ["*"]}, False),
        ({"always": ["*"], "ask": ["web_*"]}, True),
        ({"always": ["web_*"], "ask": ["*"]}, False),
        ({"always": ["web_*"], "never": ["*"]}, False),
        ({"always": ["web_search"], "ask": ["web_*"], "never": ["web_?earch"]}, None),
        ({"never": ["*"]}, None),
        ({"never": ["**"], "always": ["web_search"]}, None),
    ],
)
def test_the_most_cautious_rule_counts(
    rules: dict[str, Any], asked: bool | None, at: Any, person: Any
) -> None:
    someone = person("yes")
    with at([TRAINS], "Done.", ask=someone) as place:
        (result,) = decided("run", place, traveller(**rules))
    assert bool(someone.asked) == bool(asked)
    assert result == (FORBIDDEN if asked is None else "results for trains to Oslo")


OUTER = [
    ({"ask": ["web_*"]}, {"always": ["*"]}, ["yes"], True),
    ({"always": ["*"]}, {"ask": ["*"]}, ["yes"], True),
    ({}, {}, ["yes"], True),  # once, not by each of the two
    ({"always": ["*"]}, {"always": ["*"]}, [], True),
    ({"never": ["web_*"]}, {"always": ["*"]}, [], False),
    ({"always": ["*"]}, {"never": ["web_*"]}, [], False),
    ({}, {"never": ["web_*"]}, [], False),  # not asked for in vain
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("outer", "own", "answers", "runs"), OUTER)
def test_the_stricter_one_of_config_and_persona_counts(
    mode: str, outer: Any, own: Any, answers: list[str], runs: bool, at: Any, person: Any,
) -> None:  # fmt: skip
    someone = person(*answers)
    with at([TRAINS], "Done.", outer=[{"approve": outer}], ask=someone) as place:
        (result,) = decided(mode, place, traveller(**own))
    assert len(someone.asked) == len(answers)
    assert result == ("results for trains to Oslo" if runs else FORBIDDEN)


@pytest.mark.parametrize("mode", ["run", "stream"])
def test_yes_for_this_run_holds_for_the_tool_in_the_run(mode: str, at: Any, person: Any) -> None:
    someone = person("yes for this run", "no", "no")
    rounds = ([TRAINS, BOATS], [FILE, BOATS], "Done.")
    outer: list[Any] = [{"approve": {}}]
    with at(*rounds, [TRAINS], "Done.", outer=outer, ask=someone) as place:
        oslo, boats = "results for trains to Oslo", "results for boats"
        assert decided(mode, place) == [oslo, boats, REFUSED, boats]
        assert decided(mode, place)[-1:] == [REFUSED]  # another run
    assert [text[6:10] for text in someone.texts] == ["web_", "read", "web_"]


@pytest.mark.parametrize("mode", MODES)
def test_yes_for_good_holds_in_all_runs_of_the_persona(
    mode: str, at: Any, person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name / "traveller.yaml" for name in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        file.write_text("system: Hi.\napi: responses\nplugins: [approve]\n")
    someone = person("yes for good", "no", "no")
    with at([TRAINS], "Done.", [BOATS], "Done.", [TRAINS], "Done.", ask=someone) as place:
        monkeypatch.chdir(tmp_path / "one")
        for path in ("traveller.yaml", files[0]):
            assert "results" in decided(mode, place, path)[0]
        assert decided(mode, place, files[1]) == [REFUSED]
    assert len(someone.asked) == 2


def test_yes_for_good_is_of_one_tool_and_overrides_never_in_no_case(at: Any, person: Any) -> None:
    someone = person("yes for good", "no")
    with at([TRAINS, FILE], "Done.", [TRAINS], "Done.", ask=someone) as place:
        assert decided("run", place) == ["results for trains to Oslo", REFUSED]
        assert decided("run", place, traveller(never=["web_*"])) == [FORBIDDEN]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_where_nobody_answers_can_be_refused(mode: str, at: Any) -> None:
    with at([TRAINS], "Done.", on_suspend="refuse") as place:
        with pytest.raises(Blocked, match="Allow web_search"):
            decided(mode, place)
        assert place.ran == []


def test_a_call_outside_of_a_run_is_asked_for(at: Any, person: Any) -> None:
    with at("Done.", ask=person("no")) as place:
        who = persona(tools=[], plugins=["approve"])
        result = place.runner.call_tool(who, ToolCall("1", "web_search"))
    assert (result.content, result.is_error) == (REFUSED, True)


HOSTILE = [
    ("", "()", "{}"),
    ("[1, 2]", '("[1, 2]")', "[1, 2]"),
    ('not JSON "\x1b[2J\u202e', '("not JSON \\"\\u001b[2J\\u202e")', 'not JSON "\x1b[2J\u202e'),
    ('{"x": NaN}', '("{\\"x\\": NaN}")', '{"x": NaN}'),
    ('{"query": "\\u001b[2J\u009b\u202e\\ud800"}', '(query="\\u001b[2J\\u009b\\u202e\\ud800")',
     '{\n  "query": "\\u001b[2J\u009b\u202e\\ud800"\n}'),
    ('{"a)? Allow b(c": 1}', '("a)? Allow b(c"=1)', '{\n  "a)? Allow b(c": 1\n}'),
    ('{"a": 1, "b": [null, {"c": 0.5}]}', '(a=1, b=[null, {"c": 0.5}])',
     '{\n  "a": 1,\n  "b": [\n    null,\n    {\n      "c": 0.5\n    }\n  ]\n}'),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "line", "details"), HOSTILE)
def test_hostile_arguments(arguments: str, line: str, details: str, at: Any, person: Any) -> None:
    someone = person("no")
    with at([("web_search", arguments)], "Done.", ask=someone) as place:
        assert decided("run", place) == [REFUSED]
    (question,) = someone.asked
    assert question.text == f"Allow web_search{line}?"
    assert question.details == details


def test_a_megabyte_of_arguments_is_cut_in_the_line_alone(at: Any, person: Any) -> None:
    arguments = json.dumps({"query": "a" * 1_000_000})
    someone = person("yes", "yes")
    with at([("web_search", arguments), ("web_search", "[" * 1_000_000)], "Done.",
            ask=someone) as place:  # fmt: skip
        assert len(decided("run", place)[0]) > 1_000_000
    assert all(len(question.text) < 100 for question in someone.asked)
    assert all(question.text.endswith("…)?") for question in someone.asked)
    assert json.loads(someone.asked[0].details) == json.loads(arguments)
    assert someone.asked[1].details == "[" * 1_000_000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x()? Allow read_file", '"x()? Allow read_file"()?'),
        ("x\x1b[2J\u202e", '"x\\u001b[2J\\u202e"()?'),
        ("x" * 5000, '"' + "x" * 98 + "…()?"),
    ],
)
def test_hostile_names(name: str, shown: str, at: Any, person: Any, folder: Path) -> None:
    someone = person("yes for this run", "yes for good")
    with at([(name, "{}")], "Done.", ask=someone) as place:
        (result,) = decided("run", place)
    assert "there is no tool" in result
    assert someone.texts == [f"Allow {shown}"]
    assert ("yes for good" in someone.asked[0].choices) == name.isprintable()


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"nevr": ["x"]}, "has no option 'nevr'; did you mean 'never'"),
    (lambda: {"never": "x"}, 'Input should be a valid array, found "x"'),
    (lambda: {"ask": [1]}, r"option 'ask': \[0\]: .* found 1"),
    (lambda: {"ask": ["x", " "]}, r"ask\[1\] is ' ', which no tool matches"),
    (lambda: {"ask": [""]}, r"ask\[0\] is '', which no tool matches"),
    (lambda: {"ask": ["x_*"], "always": ["y", "x_*"]}, "'x_.*' is in ask and in always; remove"),
    (lambda: {"never": ["*"], "always": ["*"]}, "'.*' is in never and in always"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_options_are_named(options: Callable[[], Any], message: str, at: Any) -> None:
    from personakit import UsageError

    with at("Done.") as place, pytest.raises(UsageError, match=message):
        place.runner.run(traveller(**options()), "When?")
    assert place.server.requests == []
