"""The magics in a real kernel, as a front end sees it."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator

import pytest
from helpers.notebook import Desk, failed, shown, slow

from personakit import Response
from personakit.testing import Reply

WORDS = "\n".join(
    f"{n}. Leeks are <b>fine</b> in a soup, in a pie and in a salad." for n in range(50)
)


def test_an_answer_is_one_output_that_grows(desk: Desk) -> None:
    began = time.monotonic()
    cell = desk("%%persona chef\nLeeks, please.", slow(desk.server, WORDS, 1.5))
    assert [out.output_type for out in cell.outputs] == ["display_data"]
    notebook = desk.notebook
    assert notebook.count("display_data") == 1
    assert 3 <= notebook.count("update_display_data") <= 61
    texts = [it["content"]["data"]["text/plain"] for it in notebook.sent("update_display_data")]
    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    assert len(set(texts)) >= 3
    assert texts[-1] == WORDS
    markdown = Response(WORDS)._repr_mimebundle_()["text/markdown"].rpartition("\n\n<sub>")[0]
    body, _, below = shown(cell).rpartition("\n\n<sub>")
    assert body == markdown
    assert "<b>" not in body
    assert below.startswith("test-model · 5 + 3,")
    assert time.monotonic() - began < 60


def test_the_answer_has_a_name_and_its_own_form(desk: Desk) -> None:
    assert desk("%%persona chef --as dinner --quiet\nSoup", "**Soup**").outputs[0].data == {
        "text/markdown": "**Soup**", "text/plain": "**Soup**"
    }  # fmt: skip
    cell = desk("dinner")
    assert cell.outputs[0].output_type == "execute_result"
    assert shown(cell).startswith("**Soup**\n\n<sub>")
    assert shown(cell, "text/plain") == "**Soup**"
    desk("%persona chef Something with leeks", "Pie")
    assert desk("print(answer.text, dinner.text)").outputs[0].text == "Pie **Soup**\n"
    assert desk.prompt() == "Something with leeks"


@pytest.mark.parametrize(
    "prompt",
    [
        "{guests} $guests {{ guests }} {% if x %} %persona !ls",
        "\tindented\n\n    more\n\nlast \\n 'quote' \"double\"",
        "Zoë 🥕 \u200d …",
        "x = {'a': 1}\n%%persona chef\n# -v diet=vegan\n%persona chef what?",
        ">>> print(1)\n... more\nIn [1]: x?",
        "long " * 20_000,
        "a line\n",
        "\na line\n\n \n",
    ],
    ids=["braces", "tabs", "emoji", "code", "doctest", "100 kB", "line break", "line breaks"],
)
def test_a_cell_arrives_character_by_character(desk: Desk, prompt: str) -> None:
    desk("guests = 7\n")
    desk(f"%%persona chef\n{prompt}", "x")
    assert desk.prompt() == prompt


def test_the_prompt_of_a_line_is_not_expanded_either(desk: Desk) -> None:
    line = "What's {in} season, $HOME -v \"now\" -- and that's it?"
    desk(f"%persona chef -v guests=3 {line}", "x")
    assert desk.prompt() == line
    assert "3 people" in desk.system()


def test_a_question_is_no_request_for_help(desk: Desk) -> None:
    assert failed(desk("if True:\n    %persona chef why?\n", "x")) == ""
    assert desk.prompt() == "why?"
    assert failed(desk("for i in range(2):\n    %persona chef what's {i}??  \n", "x")) == ""
    assert [it.body["messages"][-1]["content"] for it in desk.server.requests] == [
        "what's {i}??"
    ] * 2
    code = 's = """\n%persona chef why?\n%persona chef\n"""\nprint(s)'
    assert desk(code).outputs[0].text == "\n%persona chef why?\n%persona chef\n\n"


def test_a_variable_of_the_notebook_is_taken_only_if_it_is_named(desk: Desk) -> None:
    desk("guests = 6\ndiet = 'vegan'\n")
    cell = desk("%%persona chef -v guests\nSoup", "x")
    assert "6 people" in desk.system()
    assert "vegan" not in desk.system()
    assert "guests=6</sub>" in shown(cell)
    desk('%%persona new sum\nsystem: "{{ n | sum }}"\nvariables: {n: {type: array, default: []}}')
    desk("n = [1, 2, 3]")
    desk("%persona sum -v n go", "x")
    assert desk.system() == "6"
    assert "no variable 'gests'; did you mean 'guests'?" in failed(desk("%persona chef -v gests x"))
    assert "declared" in failed(desk("%persona chef -v n x"))
    desk("n = object()")
    assert "'n'" in failed(desk("%persona sum -v n x"))


def test_a_conversation_goes_on(desk: Desk) -> None:
    desk("%%persona chef -v guests=3 --as lunch\nA soup?", "Leek soup.")
    desk("%%persona tutor --as lesson\nHello", "Hello!")
    desk("%%persona -c --as lunch\nAnd for four?", "More leeks.")
    messages = desk.server.requests[-1].body["messages"]
    assert [m["content"] for m in messages[1:]] == ["A soup?", "Leek soup.", "And for four?"]
    assert "3 people" in messages[0]["content"]
    desk("%persona -c -v guests=4 And now?", "Pie.")
    assert "4 people" in desk.system()
    assert len(desk.server.requests[-1].body["messages"]) == 6
    assert desk("print(lunch.text)").outputs[0].text == "Pie.\n"
    assert failed(desk("%persona -c tutor --no-log Correct that", "Good.")) == ""
    messages = [m["content"] for m in desk.server.requests[-1].body["messages"]]
    assert messages[-3:] == ["And now?", "Pie.", "Correct that"]


def test_an_error_is_one_line_that_says_what_to_do(desk: Desk) -> None:
    cell = desk("%%persona cheff\nSoup")
    assert [out.output_type for out in cell.outputs] == ["error"]
    assert "did you mean 'chef'" in failed(cell)
    assert failed(cell).count("\n") == 0
    for line, message in {
        "%%persona\nx": "write its name after %%persona",
        "%%persona chef soup\nx": "the cell is the prompt, so 'soup' has no place on the line",
        "%persona chef --nope x": "No such option '--nope'",
        "%persona chef -v temperature=1 x": "'temperature' is a parameter of the model",
        "%persona chef --as 1x y": "expected a name of Python, found '1x'",
        "%persona chef -a - x": "a notebook has no standard input",
        "%persona chef --as class y": "expected a name of Python, found 'class'",
        "%persona new x": "write %%persona new NAME",
        "%%persona new keys\nsystem: x": "'keys' is a form of the magic: choose another name",
        "%%persona new new\nsystem: x": "'new' is a form of the magic: choose another name",
        "%%persona chef": "the prompt is missing: write it below the line, the cell is blank",
        "%%persona chef -v guests=3\n": "the prompt is missing",
        "%%persona": "no persona: write its name after %%persona",
    }.items():
        assert message in failed(desk(line)), line


def test_a_hint_names_what_the_user_of_each_way_writes(desk: Desk) -> None:
    desk("%%persona new needy\nsystem: '{{ who }}'\nvariables: {who: {required: true}}")
    assert "give it as -v who=…" in failed(desk("%persona needy x"))
    assert "; `%persona` shows the personas" in failed(desk("%persona zzzzzzz x"))
    assert "such as -m local or -m ollama/…" in failed(desk("%persona chef -m mistral/small x"))
    desk("import personakit")
    error = failed(desk("personakit.run('needy', 'x')"))
    assert "give it as variables={'who': '…'}" in error
    error = failed(desk("personakit.run('zzzzzzz', 'x')"))
    assert "`personakit.Runner().library.names()` shows the personas" in error
    error = failed(desk("personakit.run('chef', 'x', model='mistral/small')"))
    assert 'such as model="local" or model="ollama/…"' in error


def test_a_stopped_cell_keeps_its_text(desk: Desk) -> None:
    events = list(desk.server.events(WORDS, usage=True))
    pid = desk.notebook.pid

    def pieces() -> Iterator[bytes]:
        yield from events[: len(events) // 2]
        time.sleep(0.3)
        os.kill(pid, signal.SIGINT)
        for _ in range(600):  # until the client leaves
            time.sleep(0.1)
            yield b": still here\n\n"

    reply = Reply(pieces(), headers={"content-type": "text/event-stream"})  # type: ignore[arg-type]
    cell = desk("%%persona chef --as halved\nSoup", reply)
    text = shown(cell, "text/plain")
    assert len(text) > 1000
    assert WORDS.startswith(text)
    assert shown(cell).endswith("<sub>stopped</sub>")
    assert failed(cell).startswith("Stopped: ")
    code = (
        "import personakit\nrow = next(iter(personakit.RunLog.of(personakit.Config.read()).find()))"
    )
    desk(f"{code}\nprint(row.error[0] if row.error else None, len(row.text))")
    cell = desk("print('halved' in dir(), row.error, len(row.text))")
    assert "False" in cell.outputs[0].text
    assert "KeyboardInterrupt" in cell.outputs[0].text
    assert str(len(text)) in cell.outputs[0].text
    desk("%%persona -c\nGo on", "…")
    assert desk.server.requests[-1].body["messages"][-2] == {"role": "assistant", "content": text}


def test_a_failed_run_keeps_what_arrived(desk: Desk) -> None:
    events = list(desk.server.events(WORDS, usage=True))

    def pieces() -> Iterator[bytes]:
        yield from events[:10]
        raise ConnectionError

    desk("%persona chef --as earlier A pie", "Pie")
    reply = Reply(pieces(), headers={"content-type": "text/event-stream"})  # type: ignore[arg-type]
    cell = desk("%%persona chef --as earlier\nSoup", reply)
    assert [out.output_type for out in cell.outputs] == ["display_data", "error"]
    assert shown(cell).endswith("<sub>the run failed; the text may not be whole</sub>")
    assert WORDS.startswith(shown(cell, "text/plain"))


def test_a_list_and_a_card(desk: Desk) -> None:
    text = shown(desk("%persona"), "text/html")
    assert ">chef</td>" in text
    assert "Plans healthy" in shown(desk("%persona chef"), "text/html")
    assert "guests" in shown(desk("%persona chef"), "text/html")
    for line in ("%persona --help", "%persona -h", "%persona chef -h", "%persona new -h"):
        assert "--as NAME" in desk(line).outputs[0].text


def test_the_help_is_about_a_notebook(desk: Desk) -> None:
    text = " ".join(desk("%persona --help").outputs[0].text.split())
    assert text.startswith("Usage: %%persona PERSONA [OPTIONS]")
    assert "--attach FILE|URL Attach" in text
    assert "--variable NAME[=VALUE] " in text
    for word in ("stdin", "standard input", "stderr", "in a chat"):
        assert word not in text
    text = " ".join(desk("%persona new --help").outputs[0].text.split())
    assert text.startswith("Usage: %%persona new NAME [OPTIONS]")
    assert "Assign the Persona to this name." in text
    assert "--force With --save," in text


def test_an_unknown_tool_is_one_line(desk: Desk) -> None:
    message = failed(desk("%%persona chef -T nofn\nSoup"))
    assert "-T nofn: no tool of this name; " in message
    assert "\n" not in message


def test_a_trace_is_shown_below_the_answer(desk: Desk) -> None:
    cell = desk("%%persona chef --trace\nSoup", "x")
    assert len(cell.outputs) == 2
    assert "<td" in cell.outputs[1].data["text/html"]
    # The footer comes with the last update, and the trace after it.
    assert "tokens" in cell.outputs[0].data["text/markdown"]


def test_loading_twice_and_again_keeps_what_there_is(desk: Desk) -> None:
    desk("%%persona chef --as kept\nSoup", "x")
    assert "already loaded" in desk("%load_ext personakit").outputs[0].text
    assert desk("%reload_ext personakit").outputs == []
    assert failed(desk("%%persona -c --as kept\nMore", "y")) == ""
    assert len(desk.server.requests[-1].body["messages"]) == 4


def test_the_python_api_works_in_the_loop_of_the_kernel(desk: Desk) -> None:
    cell = desk(
        "import personakit\n"
        "print(personakit.run('chef', 'Soup').text, (await personakit.arun('chef', 'Soup')).text)",
        "x",
    )
    assert cell.outputs[0].text == "x x\n"


def test_a_remote_image_is_shown_only_if_asked_for(desk: Desk) -> None:
    picture = "![soup](https://ok.example/soup.png)"
    assert shown(desk("%persona chef --quiet Soup", picture)) == picture[1:]
    assert shown(desk("%persona chef --quiet --images Soup", picture)) == picture


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("%%persona che", "chef"),
        ("%persona ne", "new"),
        ("%%persona chef -v die", "diet="),
        ("%%persona chef -v diet=ve", "vegan"),
        ("%%persona chef -m ope", "openai/"),
        ("%%persona chef -p temp", "temperature="),
        ("%%persona chef --qu", "--quiet"),
    ],
)
def test_tab_completes(desk: Desk, typed: str, wanted: str) -> None:
    assert wanted in desk.notebook.completed(typed)
