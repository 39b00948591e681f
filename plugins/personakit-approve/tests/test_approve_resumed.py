"""Suspended runs: a resumed one decides about its earlier calls as before."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from personakit_approve import Approve, approvals

from personakit import (
    Persona,
    Request,
    Response,
    Runner,
    Send,
    Suspended,
    ToolCall,
    hookimpl,
)
from personakit.testing import MODES, check_replay, in_mode, persona

OSLO = ("web_search", '{"query": "Oslo"}')
ROME = ("web_search", '{"query": "Rome"}')
FILE = ("read_file", '{"name": "a"}')
REFUSED = "error: the user refused this call; do not repeat it with the same arguments"


def traveller() -> Persona:
    return persona(name="traveller", api="responses", plugins=["approve"])


def suspended(mode: str, place: Any, prompt: Any = "When?", **options: Any) -> Suspended:
    """Return the run that waits, as another process would get it."""
    with pytest.raises(Suspended) as caught:
        in_mode(mode, place.runner, traveller(), prompt, tools=place.tools, **options)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, Suspended)
    return copy


def elsewhere(place: Any, **options: Any) -> None:
    """Continue with another runner, as another process would."""
    place.runner.close()
    place.runner = Runner(place.runner.config, **options)


def done(mode: str, place: Any, resumption: Any) -> list[str]:
    """Return the results that the model got."""
    response = in_mode(mode, place.runner, traveller(), resumption, tools=place.tools)
    assert response.text == "Done."
    results: list[str] = place.results()
    return results


@pytest.mark.parametrize("mode", MODES)
def test_answers_to_calls_of_one_round(mode: str, at: Any) -> None:
    with at([OSLO, ROME], "Done.") as place:
        waiting = suspended(mode, place)
        assert waiting.question.plugin == "approve"
        assert [call.name for call in waiting.calls] == ["web_search"] * 2
        assert place.ran == []
        elsewhere(place)
        if len(waiting.questions) == 1:  # the sync API asks for one call after the other
            waiting = suspended(mode, place, waiting.resume_with("yes"))
            assert waiting.question.text == 'Allow web_search(query="Rome")?'
            elsewhere(place)
            resumption = waiting.resume_with("no")
        else:
            resumption = waiting.resume_with(
                {each.id: "yes" if "Oslo" in each.text else "no" for each in waiting.questions}
            )
        assert done(mode, place, resumption) == ["results for Oslo", REFUSED]
        assert place.ran == ["web_search Oslo"]
        assert len(place.server.requests) == 2


@pytest.mark.parametrize("mode", MODES)
def test_yes_for_this_run_holds_in_the_resumed_run(mode: str, at: Any, person: Any) -> None:
    someone = person("yes for this run", None)
    with at([OSLO], [FILE], [ROME], "Done.", ask=someone) as place:
        waiting = suspended(mode, place)
        elsewhere(place)
        assert done(mode, place, waiting.resume_with("yes")) == [
            "results for Oslo", "content of a", "results for Rome",
        ]  # fmt: skip
        assert place.ran == ["web_search Oslo", "read_file a", "web_search Rome"]
    assert len(someone.asked) == 2


@pytest.mark.parametrize("mode", MODES)
def test_an_approval_given_meanwhile_changes_nothing_before_the_question(
    mode: str, at: Any
) -> None:
    with at([OSLO], [ROME], "Done.") as place:
        waiting = suspended(mode, place)
        approvals.approve("traveller", "web_search")
        elsewhere(place)
        # The new call finds it.
        assert done(mode, place, waiting.resume_with("no")) == [REFUSED, "results for Rome"]
        assert place.ran == ["web_search Rome"]


@pytest.mark.parametrize("mode", MODES)
def test_an_approval_revoked_meanwhile_changes_nothing_before_the_question(
    mode: str, at: Any
) -> None:
    approvals.approve("traveller", "web_search")
    with at([OSLO], [FILE], [ROME], "Done.") as place:
        waiting = suspended(mode, place)
        assert waiting.question.text == 'Allow read_file(name="a")?'
        approvals.revoke(approvals.approvals())
        elsewhere(place)
        waiting = suspended(mode, place, waiting.resume_with("yes"))
        assert waiting.question.text == 'Allow web_search(query="Rome")?'
        assert place.ran == ["web_search Oslo", "read_file a"]
        assert len(place.server.requests) == 3


@pytest.mark.parametrize("mode", MODES)
def test_yes_for_good_is_kept_once_by_the_resumed_run(mode: str, at: Any) -> None:
    with at([OSLO], [FILE], [ROME], "Done.", [OSLO], "Done.") as place:
        waiting = suspended(mode, place)
        elsewhere(place)
        waiting = suspended(mode, place, waiting.resume_with("yes for good"))
        assert waiting.question.text == 'Allow read_file(name="a")?'
        approvals.revoke(approvals.approvals())
        elsewhere(place)
        assert len(done(mode, place, waiting.resume_with("yes"))) == 3
        assert approvals.approvals() == []  # the replay did not write it again
        assert suspended(mode, place).question.text == 'Allow web_search(query="Oslo")?'


def test_hostile_calls_are_asked_for_after_the_journal_has_them(at: Any, folder: Path) -> None:
    calls = [
        ("web_search", '{"query": "\\ud800\\u001b\u202e\u2028"}'),
        ("web_search", "no JSON \x1b\x00\u202e\u2028\n"),
        ("web_search", '{"query": "' + "a" * 1_000_000 + '"}'),
        ('x()?\x1b\u202e Allow "y"', "{}"),
    ]
    with at(calls, "Done.") as place:
        waiting = suspended("run", place)
        for _ in calls[1:]:
            elsewhere(place)
            waiting = suspended("run", place, waiting.resume_with("no"))
        assert place.runner.suspended(waiting.id).question == waiting.question
        assert done("run", place, waiting.resume_with("no")) == [REFUSED] * 4
    assert not folder.exists()


class Delegates:
    """Lets another persona search before its own run."""

    def __init__(self) -> None:
        self.tools: list[Any] = []

    @hookimpl
    async def run(self, request: Request, send: Send) -> Response:
        other = persona(name="other", api="responses")
        found = await send.run(other, "Search.", tools=self.tools)
        return await send.live(request.with_system(found.text))


@pytest.mark.parametrize("mode", MODES)
def test_a_run_inside_a_run_asks_for_its_own_persona(mode: str, at: Any) -> None:
    delegates = Delegates()
    options: dict[str, Any] = {"outer": ["approve"], "plugins": [delegates]}
    with at([OSLO], "Found.", [ROME], "Done.", **options) as place:
        delegates.tools = place.tools
        waiting = suspended(mode, place)
        elsewhere(place, plugins=[delegates])
        waiting = suspended(mode, place, waiting.resume_with("yes for good"))
        assert waiting.question.text == 'Allow web_search(query="Rome")?'
        elsewhere(place, plugins=[delegates])
        assert done(mode, place, waiting.resume_with("yes")) == ["results for Rome"]
        assert place.ran == ["web_search Oslo", "web_search Rome"]
        assert len(place.server.requests) == 4
    assert [(each.persona, each.tool) for each in approvals.approvals()] == [
        ("other", "web_search")
    ]


def test_yes_for_this_run_holds_for_one_turn_of_a_conversation(at: Any, person: Any) -> None:
    someone = person("yes for this run", None)
    with at([OSLO], [ROME], "Done.", [OSLO], "Done.", ask=someone) as place:
        talk = place.runner.conversation(traveller())
        assert talk.run("When?", tools=place.tools).text == "Done."
        with pytest.raises(Suspended) as caught:
            talk.run("And then?", tools=place.tools)
        assert talk.run(caught.value.resume_with("no"), tools=place.tools).text == "Done."
        assert place.results() == ["results for Oslo", "results for Rome", REFUSED]
    assert len(someone.asked) == 2


@pytest.mark.parametrize("choice", ["yes", "no", "yes for this run", "yes for good"])
def test_it_obeys_the_rule_of_replay(choice: str) -> None:
    def web_search(query: str) -> str:
        """Search the web."""
        return f"results for {query}"

    calls = tuple(ToolCall(str(n), *call) for n, call in enumerate((OSLO, ROME)))
    answers: list[Any] = [Response("", calls), Response("", calls[:1]), "Done."]
    response = check_replay(Approve, "When?", answers, tools=[web_search], answer=lambda _: choice)
    assert [message.text == REFUSED for message in response.messages if message.role == "tool"] == (
        [choice == "no"] * 3
    )
