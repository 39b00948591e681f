"""`personakit.look`: a text that no file has gives what the same text in a file gives."""

from __future__ import annotations

import dataclasses
import gc
import re
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from helpers.shipped import shipped_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import personakit
from personakit import Finding, Look, Runner, UsageError, testing
from personakit.config import Config
from personakit.errors import PersonakitError
from personakit.linting import Linter
from personakit.looking import look
from personakit.tokens import count_tokens

SHIPPED = shipped_files()
COOK = """\
description: Cooks.
variables:
  guests: {type: integer, minimum: 1, required: true}
  diet: {enum: [none, vegan], default: none}
  order: {type: object, default: {}, properties: {dish: {default: soup}}}
system: |
  You cook for {{ guests }}.{% if diet == "vegan" %} No meat.{% endif %}
  {% for _ in range(2) %}{{ loop.index }}{% endfor %}
messages:
  - user: "Hello"
  - assistant: 'What about {{ order.dish }}?'
prompt: "Cook {{ input|default('rice') }}"
tests:
  - {variables: {guests: 2}, render: {contains: cook}}
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(Config(path=(Path("personas"),)))


def places(found: Look) -> list[tuple[int, int, int, int, str]]:
    return [(f.line, f.column, f.end_line, f.end_column, f.code) for f in found.findings]


def error_of(found: Look) -> tuple[int, int, int, int]:
    error = found.error
    assert error is not None
    assert found.request is None
    return error.line, error.column, error.end_line, error.end_column


# --- as the file --------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_text_is_looked_at_as_its_file(file: Path) -> None:
    runner = Runner(Config())
    found = look(runner, file, file.read_bytes(), prompt="Hello", model="openai/gpt-5")
    assert list(found.findings) == Linter(runner).check([file])
    if "partials" in file.parts:
        return
    assert found.persona is not None
    wanted = runner.render(file, "Hello", variables=dict(found.samples), model="openai/gpt-5")
    assert found.request == wanted
    counts = [count_tokens(message.text, "openai/gpt-5") for message in wanted.messages]
    assert list(found.tokens) == counts


SNIPPETS = st.sampled_from(
    ["{{ x }}", "{% if %}", "{{", "\n", "  ", ": ", "- ", "#", " # x", "'", "é\U0001f37d", "\r\n",
     "extends: chef\n", "extends: nobody\n", "temprature: 1\n", "|", ">", "{a: ", "[", "\t", "\0",
     "{% include 'a.md' %}", "{{ guests.x }}", "\ufeff", "\ud800", "*a", "---\n", "~"]
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return a persona in which some pieces are cut out or put in."""
    text = COOK
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        to = draw(st.integers(at, min(at + 12, len(text))))
        text = text[:at] + draw(SNIPPETS | st.text(max_size=3)) + text[to:]
    return text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=texts())
def test_a_made_text_is_looked_at_as_its_file(runner: Runner, text: str) -> None:
    file = Path("cook.yaml")
    data = text.encode("utf-8", "surrogatepass")
    file.unlink(missing_ok=True)
    found = look(runner, file, text)
    assert found.findings == look(runner, file, data).findings
    file.write_bytes(data)
    assert list(found.findings) == Linter(runner).check([file])
    for one in found.findings:
        assert 1 <= one.line <= one.end_line
        assert (one.line, one.column) <= (one.end_line, one.end_column)
    try:
        wanted = runner.render(file, found.prompt, variables=dict(found.samples))
    except PersonakitError:
        assert found.request is None
    else:
        assert found.request == wanted


def test_every_cut_of_a_text_can_be_looked_at(runner: Runner) -> None:
    for end in range(len(COOK)):
        found = look(runner, "cook.yaml", COOK[:end])
        assert (found.request is None) == (found.error is not None)
        if found.error is not None:
            assert found.error.line
            assert found.error.column
            assert found.error.message


# --- texts on no disk ---------------------------------------------------------------------------


def test_a_text_on_no_disk_extends_a_persona(runner: Runner) -> None:
    text = (
        "description: d\nextends: translator\nsystem: |\n  {{ parent.system }}\n  {{ tonne }}\n"
        "parameters: {temperature: 1}\nversion: '1'\napi: chatt\n"
    )
    found = look(runner, "nowhere/mine.yaml", text)
    assert places(found) == [(5, 6, 5, 11, "PK023"), (8, 6, 8, 11, "PK012")]
    assert found.persona is not None
    assert "target" in found.persona.variables
    assert error_of(found) == (8, 6, 8, 11)


def test_other_open_texts_are_extended_and_included(runner: Runner) -> None:
    Path("personas/partials").mkdir(parents=True)
    Path("personas/partials/tone.md").write_text("saved")
    Path("personas/child.yaml").write_text(
        "description: d\nextends: base\nprompt: '{% include \"partials/tone.md\" %}{{ input }}'\n"
    )
    saved = Path("personas/child.yaml").read_text()
    texts = {
        Path(
            "personas/base.yaml"
        ): "description: d\nsystem: 'Base {{ word }}'\nvariables: {word: x}",
        Path("personas/partials/tone.md"): "open, ",
    }
    found = look(runner, "personas/child.yaml", saved, prompt="Hi", texts=texts)
    assert found.findings == ()
    assert found.request is not None
    assert [message.text for message in found.request.messages] == ["Base x", "open, Hi"]
    # What is not saved reaches no run.
    Path("personas/base.yaml").write_text("description: d\nsystem: saved base\n")
    request = runner.render("child", "Hi")
    assert [message.text for message in request.messages] == ["saved base", "savedHi"]
    again = look(runner, "personas/child.yaml", saved, prompt="Hi", texts=texts)
    assert again.request == found.request


def test_an_open_text_counts_as_a_child(runner: Runner) -> None:
    base = "description: d\nsystem: x\nvariables: {word: x}\n"
    child = "description: d\nextends: base\nsystem: '{{ word }}'\n"
    (finding,) = look(runner, "personas/base.yaml", base).findings
    assert finding.code == "PK024"
    found = look(runner, "personas/base.yaml", base, texts={"personas/child.yaml": child})
    assert found.findings == ()


def test_other_threads_see_the_files(runner: Runner) -> None:
    Path("personas").mkdir()
    Path("personas/a.yaml").write_text("description: d\nsystem: saved\n")
    seen, stop = set(), threading.Event()

    def render() -> None:
        while not stop.is_set():
            seen.add(runner.render("a").messages[0].text)

    thread = threading.Thread(target=render)
    thread.start()
    try:
        for number in range(30):
            look(runner, "personas/a.yaml", f"description: d\nsystem: open {number}\n")
    finally:
        stop.set()
        thread.join()
    assert seen <= {"saved"}


# --- variables ----------------------------------------------------------------------------------


def test_missing_values_are_made_up_and_named(runner: Runner) -> None:
    text = (
        "description: d\n"
        "system: '{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f|length }}'\n"
        "variables:\n"
        "  a: {required: true, example: Ada}\n"
        "  b: {required: true, enum: [x, y]}\n"
        "  c: {required: true, type: integer, minimum: 3}\n"
        "  d: {default: given}\n"
        "  e: {required: true}\n"
        "  f: {required: true, type: array}\n"
    )
    found = look(runner, "p.yaml", text, variables={"e": "E"})
    assert found.samples == {"a": "Ada", "b": "x", "c": 3, "f": ()}
    assert found.request is not None
    assert found.request.messages[0].text == "Ada x 3 given E 0"
    assert found.error is None


def test_a_missing_prompt_is_made_up_and_named(runner: Runner) -> None:
    text = "description: d\nsystem: x\nprompt: 'Say {{ input }}.'\n"
    found = look(runner, "p.yaml", text)
    assert found.request is not None
    assert found.prompt
    assert found.request.messages[-1].text == f"Say {found.prompt}."
    given = look(runner, "p.yaml", text, prompt="Hi")
    assert given.request is not None
    assert given.request.messages[-1].text == "Say Hi."
    assert given.prompt is None


def test_a_prompt_that_a_partial_needs_is_made_up(runner: Runner) -> None:
    text = "description: d\nprompt: '{% include \"partials/a.md\" %}'\n"
    texts = {"partials/a.md": "Say {{ input }}."}
    found = look(runner, "p.yaml", text, texts={Path(at): it for at, it in texts.items()})
    assert found.error is None
    assert found.prompt is not None


@pytest.mark.parametrize("prompt", ["", "prompt: Say A.", "prompt: \"{{ input|default('A') }}\""])
def test_no_prompt_is_made_up_for_a_persona_that_needs_none(runner: Runner, prompt: str) -> None:
    found = look(runner, "p.yaml", f"description: d\nsystem: x\n{prompt}\n")
    assert found.error is None
    assert found.prompt is None


@pytest.mark.parametrize(
    ("variables", "place", "message"),
    [
        ({}, (5, 3, 5, 4), "variable 'b' is required: give it as variables={'b': '…'}"),
        ({"a": 5, "b": "xyz-1"}, (4, 3, 4, 4), "variable 'a': it is 5, the maximum is 3"),
        ({"b": "xyz-1", "c": 1}, (3, 1, 3, 10), "unknown variable 'c'"),
    ],
)
def test_an_error_of_a_variable_is_at_its_declaration(
    runner: Runner, variables: dict[str, Any], place: tuple[int, ...], message: str
) -> None:
    text = (
        "description: d\nsystem: '{{ a }} {{ b }}'\nvariables:\n"
        "  a: {type: integer, maximum: 3, default: 1}\n"
        "  b: {required: true, pattern: '^xyz-'}\n"
    )
    found = look(runner, "p.yaml", text, variables=variables)
    assert found.findings == ()
    assert error_of(found) == place
    assert found.error is not None
    assert found.error.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("system: {{ x }}\n", (1, 9, 1, 10)),
        ("", (1, 1, 1, 1)),
        (
            "system: |\n  a\n  {{ a.b }}\nvariables: {a: {type: object, default: {}}}\n",
            (3, 8, 3, 9),
        ),
        ("system: |\n  a\n  {% if %}\n", (3, 3, 3, 11)),
        ("system: x\nprompt: 'Say {{ input.a }}'\n", (2, 23, 2, 24)),
        ("system: x\nplugins: [nobody]\n", (2, 11, 2, 17)),
    ],
)
def test_an_error_has_its_place(runner: Runner, text: str, place: tuple[int, ...]) -> None:
    assert error_of(look(runner, "p.yaml", text)) == place


# --- hostile texts and wrong arguments ----------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"system: \xe9\n",
        "system: \ud800\n",
        "x" * (1 << 20) + "y",
        "\ufeffsystem: x\r\nversion: 5\r\n",
        "a: " * 5000,
        "system: |\n  " + "{% if a %}" * 3000,
        "system: '" + "{{ " + "(" * 900 + "}}'",
        "system: '{{ range(99999999)|list }}'",
        "[" * 10_000,
    ],
    ids=range(10),
)
def test_no_text_raises(runner: Runner, text: str | bytes) -> None:
    found = look(runner, "p.yaml", text)
    assert (found.request is None) == (found.error is not None)
    Path("p.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    )
    assert list(found.findings) == Linter(runner).check([Path("p.yaml")])


def test_a_line_of_many_values_is_searched_for_comments_in_linear_time(runner: Runner) -> None:
    # It took minutes, since the rest of the line was split for each value.
    items = ",".join(f"t{number:05}" for number in range(30_000))
    text = f"description: d\nsystem: x\nmetadata: {{a: [{items}]}}\n"
    assert look(runner, "p.yaml", text).findings == ()


def test_wrong_arguments(runner: Runner) -> None:
    with pytest.raises(UsageError, match=r"text of p\.yaml must be a string or bytes, found int"):
        look(runner, "p.yaml", 5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="without NUL characters"):
        look(runner, "p\0.yaml", "system: x")
    cases: list[tuple[str, Any, str]] = [
        ("variables", ["a"], "variables must be a mapping"),
        ("texts", ["a"], "texts must be a mapping of paths to texts, found list"),
        ("model", 3, "model must be a string, found int"),
        ("prompt", b"Hi", "prompt must be a string, found bytes"),
        ("path", "", "a path must name a file, found ''"),
        ("path", ".", "a path must name a file, found '.'"),
        ("path", ["p.yaml"], "a path must be a string"),
        ("runner", 3, "runner must be a Runner, found int"),
    ]
    for name, value, message in cases:
        given = {"path": "p.yaml", "text": "system: x", "runner": runner, name: value}
        with pytest.raises(UsageError, match=re.escape(message)):
            personakit.look(**given)


def test_a_model_that_a_run_could_not_ask_is_an_error(runner: Runner) -> None:
    text = "description: d\nsystem: x\nmodel: nope/x\n"
    for found, line in (
        (look(runner, "p.yaml", text), 3),
        (look(runner, "p.yaml", "system: x\n", model="nope/x"), 1),
        (look(runner, "p.yaml", text, model="nope/y"), 1),
    ):
        assert found.error is not None
        assert "nope" in found.error.message
        assert (found.request, found.tokens, found.error.line) == (None, (), line)
    assert look(runner, "p.yaml", text, model="openai/x").error is None
    assert look(testing.runner()[0], "p.yaml", text).error is None


# --- the value ----------------------------------------------------------------------------------


def test_the_public_function_takes_a_runner(runner: Runner) -> None:
    found = personakit.look("cook.yaml", COOK, runner=runner, prompt="soup")
    assert found == dataclasses.replace(look(runner, "cook.yaml", COOK, prompt="soup"),
                                        persona=found.persona)  # fmt: skip
    assert repr(found) == "<Look at 'cook': 0 findings, 4 messages>"
    broken = repr(personakit.look("cook.yaml", "system: [", runner=runner))
    assert broken.startswith("<Look: 1 finding, 0 messages, error: cook.yaml:")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.error = None  # type: ignore[misc]
    assert personakit.look("cook.yaml", "system: x").request is not None


def test_a_look_compiles_each_template_once(runner: Runner) -> None:
    compiled = 0

    def count(frame: Any, event: str, _argument: Any) -> None:
        nonlocal compiled
        code = frame.f_code
        made = code.co_name == "visit_Template" and code.co_filename.endswith("compiler.py")
        compiled += event == "call" and made

    sys.setprofile(count)
    try:
        look(runner, "cook.yaml", COOK)
    finally:
        sys.setprofile(None)
    assert compiled == 3


def test_looks_are_not_kept(runner: Runner) -> None:
    found = look(runner, "cook.yaml", COOK)
    assert found.request is not None
    persona = weakref.ref(found.persona)
    del found
    gc.collect()
    assert persona() is None


def test_a_rendered_persona_that_is_loaded_again_is_not_kept(runner: Runner) -> None:
    persona = personakit.Persona.parse(COOK)
    runner.render(persona, variables={"guests": 1})
    kept = weakref.ref(persona)
    del persona
    gc.collect()
    assert kept() is None


# --- the ends of findings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "underlined"),
    [
        ("system: x\nversion: 5.10\n", "PK011", "5.10"),
        ("system: x\n'vresion' : 5\n", "PK010", "'vresion'"),
        ("system: x\nversion: {a: 1,\n  b: 2}  # c\n", "PK011", "{a: 1,\n  b: 2}"),
        ("system: x\nversion:\n  a: 1\n  b: 2\n", "PK011", "a"),
        ("system: x\ntags:\n  b: |\n    one\n    two\n\n# c\nversion: '1'\n", "PK011", "b"),
        ("system: x\napi: |\n  one\n  two\n\n# c\nversion: '1'\n", "PK012", "|\n  one\n  two"),
        ("system: x\napi: 'one\n\n  two'\nversion: '1'\n", "PK012", "'one\n\n  two'"),
        ("system: x\napi: one\n  two  # c\nversion: '1'\n", "PK012", "one\n  two"),
        ("system: x\nmessages:\n  - usr: a\n", "PK010", "usr"),
        ("system: x\nmessages:\n  - [a]\n", "PK011", "[a]"),
        ("system: é\U0001f37d {{ nobody }}\n", "PK023", "nobody"),
        ("system: >\n  one\n  two {{ nobody }}\n", "PK023", "nobody"),
        ("system: |\n  two {{ 'a'|lowr  }}\n", "PK021", "lowr"),
        ("system: |\n  {% if a is  defined %}x{% endif %}\nvariables: {a: 1}\n", "PK026", "a is"),
        ("system: |\n  {{ a.b }}\nvariables: {a: {type: object, properties: {c: x}}}\n", "PK029",
         "b"),
        ("system: |\n  one\n  two {% if %}  \n", "PK020", "two {% if %}"),
        ("system: x\nprompt: a {{ input }} # b\n", "PK061", "# b"),
        ("system: x # personakit: ignore[PK1]\n", "PK090", "PK1"),
        ("system: x\nplugins: [nobody]\n", "PK030", "nobody"),
        ("name: other\nsystem: x\n", "PK044", "other"),
        ("system: {{ x }}\n", "PK001", "{"),
    ],
)  # fmt: skip
def test_a_finding_ends_where_what_it_is_about_ends(
    runner: Runner, text: str, code: str, underlined: str
) -> None:
    found = look(runner, "p.yaml", f"description: d\n{text}")
    (finding,) = (one for one in found.findings if one.code == code)
    assert part(f"description: d\n{text}", finding) == underlined


def part(text: str, finding: Finding) -> str:
    """Return the part of a text that a finding is about."""
    lines = text.split("\n")[finding.line - 1 : finding.end_line]
    lines[-1] = lines[-1][: finding.end_column - 1]
    lines[0] = lines[0][finding.column - 1 :]
    return "\n".join(lines)
