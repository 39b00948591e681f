"""Going on with a conversation of the run log, from Python and with `-c` and `--conversation`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personakit import (
    Config,
    Message,
    PersonaNotFound,
    Response,
    Runner,
    ToolCall,
    UpstreamUnavailable,
    UsageError,
    hookimpl,
)
from personakit.conversation import resume
from personakit.log import RunLog
from personakit.testing import Answer, Reply, Server, Upstream

MODEL = ("-m", "openai/test-model")
COOK = """system: You are {{ cook }}.
variables: {cook: Florent, guests: 2}
messages:
  - user: What is in season?
  - assistant: Kale.
prompt: "Guest: {{ input }}"
"""
HEAD = [("system", "You are Florent."), ("user", "What is in season?"), ("assistant", "Kale.")]


class Logged:
    """Runners that log to one file, as one process after another would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "cook.yaml").write_text(COOK)
        environ = {"PERSONAKIT_LOG": str(folder / "runs.db"), "HOME": str(folder)}
        self.config = Config(model="test/model", path=(folder,), environ=environ)
        self.log = RunLog.of(self.config)

    def __call__(self, *answers: Answer, plugins: Any = ()) -> tuple[Runner, Upstream]:
        upstream = Upstream(answers or ("ok",))
        return Runner(self.config, backend=upstream, plugins=plugins, log=True), upstream


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    return Logged(tmp_path)


def said(upstream: Upstream) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in upstream.requests[-1].messages]


def test_a_conversation_goes_on_in_another_process(logged: Logged) -> None:
    first, _ = logged("Soup.", "With bread.")
    conversation = first.conversation(
        "cook", variables={"cook": "Zoë"}, parameters={"temperature": 0.5}, model="test/a"
    )
    conversation.run("Dinner?")
    conversation.run("And with it?")
    first.close()
    then, upstream = logged("Wine.")
    again = resume(then)
    assert (again.id, again.messages) == (conversation.id, conversation.messages)
    assert (again.variables, again.parameters, again.model) == (
        {"cook": "Zoë"},
        {"temperature": 0.5},
        "test/a",
    )
    again.run("And to drink?")
    then.close()
    assert said(upstream) == [
        ("system", "You are Zoë."),
        *HEAD[1:],
        ("user", "Guest: Dinner?"),
        ("assistant", "Soup."),
        ("user", "Guest: And with it?"),
        ("assistant", "With bread."),
        ("user", "Guest: And to drink?"),
    ]
    assert [row.conversation for row in logged.log.find()] == [conversation.id] * 3


def test_a_single_run_can_be_gone_on_with(logged: Logged) -> None:
    first, _ = logged("Soup.")
    first.run("cook", "Dinner?")
    first.close()
    run = next(logged.log.find())
    then, upstream = logged("Wine.", "Yes.")
    conversation = resume(then, run.id[:16])
    assert conversation.id == run.id
    conversation.run("To drink?")
    then.close()
    assert said(upstream)[3:5] == [("user", "Guest: Dinner?"), ("assistant", "Soup.")]
    last, upstream = logged("Yes.")
    assert len(resume(last).messages) == 4
    last.close()


def test_what_the_persona_says_is_that_of_now(logged: Logged) -> None:
    first, _ = logged("Soup.")
    first.conversation("cook").run("Dinner?")
    first.close()
    changed = COOK.replace("You are", "Act as").replace("Kale.", "Leek.")
    (logged.folder / "cook.yaml").write_text(changed.replace(", guests: 2", ""))
    then, upstream = logged()
    resume(then).run("More?")
    then.close()
    texts = said(upstream)
    assert texts[:3] == [("system", "Act as Florent."), HEAD[1], ("assistant", "Leek.")]
    assert texts[-3:] == [
        ("user", "Guest: Dinner?"),
        ("assistant", "Soup."),
        ("user", "Guest: More?"),
    ]


def test_another_persona_and_model_can_go_on(logged: Logged) -> None:
    (logged.folder / "poet.yaml").write_text("system: You rhyme.\n")
    first, _ = logged("Soup.")
    first.conversation("cook", variables={"cook": "Zoë"}).run("Dinner?")
    first.close()
    then, upstream = logged()
    resume(then, persona="poet", model="test/b").run("More?")
    then.close()
    assert said(upstream) == [
        ("system", "You rhyme."),
        ("user", "Guest: Dinner?"),
        ("assistant", "Soup."),
        ("user", "More?"),
    ]
    assert upstream.requests[-1].model == "test/b"


def test_a_turn_that_failed_is_passed_over_and_one_that_was_stopped_counts(logged: Logged) -> None:
    first, _ = logged("Soup.", "A long answer.", UpstreamUnavailable("down"))
    conversation = first.conversation("cook")
    conversation.run("a")
    with conversation.stream("b") as pieces:
        next(pieces)
    with pytest.raises(UpstreamUnavailable):
        conversation.run("c", model="test/wrong", parameters={"seed": 1})
    first.close()
    then, _ = logged()
    again = resume(then)
    assert (again.messages, again.parameters) == (conversation.messages, {})
    assert again.model == "test/model"
    assert conversation.messages[-1] == Message("assistant", "A l")
    then.close()


def test_calls_of_tools_are_gone_on_with(logged: Logged) -> None:
    def clock() -> str:
        """Tell the time."""
        return "noon"

    class Clock:
        @hookimpl
        def setup(self, registry: Any) -> None:
            registry.tool(clock)

    (logged.folder / "watch.yaml").write_text("system: x\ntools: [clock]\n")
    call = Response("", tool_calls=(ToolCall("1", "clock"),), finish_reason="tool_calls")
    first, _ = logged(call, "Noon.", plugins=[Clock()])
    conversation = first.conversation("watch")
    conversation.run("What time is it?")
    first.close()
    then, upstream = logged("Still.", plugins=[Clock()])
    again = resume(then)
    assert again.messages == conversation.messages
    again.run("And now?")
    then.close()
    roles = [message.role for message in upstream.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_a_persona_that_was_run_by_its_path_is_found_again(logged: Logged) -> None:
    (logged.folder / "sub").mkdir()
    file = logged.folder / "sub" / "other.yaml"
    file.write_text("system: x\n")
    first, _ = logged()
    first.conversation(file).run("a")
    first.close()
    then, _ = logged()
    assert resume(then).persona.path == str(file)
    file.unlink()
    with pytest.raises(PersonaNotFound):
        resume(logged()[0])
    assert len(resume(logged()[0], persona="cook").messages) == 2


def test_where_there_is_none(logged: Logged) -> None:
    running, _ = logged()
    with pytest.raises(UsageError, match="contains no conversation yet"):
        resume(running)
    running.run("cook", "a")
    running.close()
    with pytest.raises(UsageError, match=r"no conversation 'ffff'.*personakit log list"):
        resume(running, "ffff")


def test_the_beginning_of_a_conversation_s_id_is_enough(logged: Logged) -> None:
    running, _ = logged()
    for name in ("talk-1", "talk-2", "other"):
        running.conversation("cook", id=name).run(f"about {name}")
    running.close()
    found = resume(running, "oth")
    assert (found.id, found.messages[0].text) == ("other", "Guest: about other")
    with pytest.raises(UsageError, match="conversation 'talk': several IDs begin with it: talk-"):
        resume(running, "talk")
    with pytest.raises(UsageError, match="no conversation ''"):
        resume(running, "")
    with pytest.raises(UsageError, match="no conversation"):
        resume(running, "\udcff")


def test_the_beginning_of_runs_of_several_conversations_continues_none(logged: Logged) -> None:
    running, _ = logged()
    for text in "ab":
        running.run("cook", text)
    running.conversation("cook").run("c")
    running.close()
    log = RunLog.of(running.config)
    rows = list(log.find(oldest_first=True))
    shared = rows[0].id[:4]  # the beginning is the time
    assert len(log.conversations(shared)) == 3
    with pytest.raises(UsageError, match=f"conversation '{shared}': several IDs begin with it: "):
        resume(running, shared)
    assert resume(running, rows[1].id).messages[0].text == "Guest: b"
    assert resume(running, "last").id == rows[2].conversation
    log.close()


# --- the commands --------------------------------------------------------------------------------


def messages(server: Server) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in server.requests[-1].body["messages"]]


def test_run_goes_on_with_c_and_with_an_id(shell: Any) -> None:
    shell.write("cook.yaml", COOK)
    shell.write("poet.yaml", "system: You rhyme.\n")
    with Server(["Soup.", "Bread.", "Verse.", "Wine."]) as server:
        env = server.environ()
        assert shell("run", "cook.yaml", "Dinner?", *MODEL, "-v", "cook=Zoë", **env).returncode == 0
        assert shell("run", "-c", "And", "with it?", **env).stdout == "Bread.\n"
        assert messages(server) == [
            ("system", "You are Zoë."),
            *HEAD[1:],
            ("user", "Guest: Dinner?"),
            ("assistant", "Soup."),
            ("user", "Guest: And with it?"),
        ]
        log = RunLog(shell.folder / "home/.local/share/personakit/runs.db")
        first = log.last_conversation() or ""
        assert shell("run", "poet.yaml", "Hi", *MODEL, **env).stdout == "Verse.\n"
        done = shell("run", "--conversation", first[:20], "-v", "cook=Ana", "To drink?", **env)
        assert done.stdout == "Wine.\n"
        assert messages(server)[0] == ("system", "You are Ana.")
        assert messages(server)[-2:] == [("assistant", "Bread."), ("user", "Guest: To drink?")]
        assert len(log.conversation(first)) == 3
        log.close()
        dry = shell("run", "-c", "--dry-run", "More?", **env)
        assert "More?" in dry.stdout
        assert "Wine." in dry.stdout
        assert len(server.requests) == 4


def test_a_first_word_that_names_a_persona_lets_it_answer(shell: Any) -> None:
    shell.write("cook.yaml", COOK)
    with Server(["Soup.", "Verse."]) as server:
        env = server.environ()
        shell("run", "cook.yaml", "Dinner?", *MODEL, **env)
        assert shell("run", "summarizer", "-c", "Well?", **env).stdout == "Verse.\n"
        assert ("assistant", "Soup.") in messages(server)
        assert messages(server)[0][1] != "You are Florent."


def test_chat_goes_on_and_run_goes_on_with_a_chat(shell: Any) -> None:
    shell.write("cook.yaml", COOK)
    with Server(["One.", "Two.", "Three.", "Four."]) as server:
        env = server.environ()
        shell("chat", "cook.yaml", *MODEL, stdin="a\nb\n", **env)
        assert shell("chat", "-c", stdin="c\n", **env).stdout == "Three.\n"
        assert shell("run", "-c", "d", **env).stdout == "Four.\n"
    assert [text for role, text in messages(server)[3:]] == [
        "Guest: a", "One.", "Guest: b", "Two.", "Guest: c", "Three.", "Guest: d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["run"], "Missing argument 'PERSONA'"),
        (["run", "-c", "Hi"], "contains no conversation yet"),
        (["chat", "-c"], "contains no conversation yet"),
        (["run", "--conversation", "abc", "Hi"], "no run id begins with 'abc'"),
    ],
)
def test_where_there_is_nothing_to_go_on_with(shell: Any, args: list[str], error: str) -> None:
    done = shell(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr


def test_without_a_log_there_is_nothing_to_go_on_with(shell: Any) -> None:
    shell.write("cook.yaml", COOK)
    with Server(["One."]) as server:
        env = {**server.environ(), "PERSONAKIT_LOG": "off"}
        assert shell("run", "cook.yaml", "a", *MODEL, **env).returncode == 0
        done = shell("run", "-c", "b", **env)
    assert done.returncode == 2
    assert "the run log is off (`log: off` or PERSONAKIT_LOG)" in done.stderr


def test_no_log_leaves_nothing_behind(shell: Any) -> None:
    shell.write("cook.yaml", COOK)
    with Server([Reply(b"{}", status=400), "ok"]) as server:
        shell("chat", "cook.yaml", "--no-log", *MODEL, stdin="a\nb\n", **server.environ())
    assert not (shell.folder / "home").exists()
