"""What was imported and exported again has the same messages, read by the same format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from personakit import Config, Persona, Runner
from personakit.formats import Builder, Text, export_persona, import_personas
from personakit.formats.dumping import dumped

AGENT = "---\nname: reviewer\ndescription: Reviews.\nmodel: sonnet\n---\n\nRead {{ it }} twice.\n"
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Mia", "description": "{{char}} sails with {{user}}.", "personality": "Calm.",
        "scenario": "", "first_mes": "Ahoy", "mes_example": "<START>\n{{user}}: Hi\n{{char}}: Ahoy",
        "creator_notes": "A sailor.", "system_prompt": "", "post_history_instructions": "",
        "alternate_greetings": [], "tags": ["Sea"], "creator": "zoe", "character_version": "2",
        "extensions": {"own": 1},
    },
}  # fmt: skip
HEAD = "---\nname: tables\ndescription: Tables.\n---\n\n"
TABLE = "act,prompt,for_devs,type,contributor\n"
LOBE = {
    "identifier": "helper",
    "meta": {"description": "Helps.", "avatar": "H"},
    "config": {"systemRole": "Help {{ me }}.", "inputTemplate": "Now: {{text}}"},
}
MESSAGES = [
    {"role": "system", "content": "Be {{ how }}."},
    {"role": "user", "content": "{{ q }}"},
]
SOURCES: dict[str, tuple[str, str]] = {
    "claude": ("reviewer.md", AGENT),
    "copilot": ("sum.prompt.md", "---\ndescription: S.\n---\nSum ${input:what:a text} {% x %}.\n"),
    "skill": ("tables/SKILL.md", HEAD + "Use {# rows #}.\n"),
    "markdown": ("AGENTS.md", "# Rules\n\n---\n\nTest {{ all }}.\n"),
    "fabric": ("tell/system.md", "# TASK\n\nTell {{what}} in one line.\n"),
    "aichat": ("roles/sh.md", "---\nmodel: openai:gpt-4o\ntemperature: 0\n---\n\nOn {{__os__}}."),
    "llm": ("cost.yaml", "system: It costs $$5, $who.\nprompt: 'Say: $input'\n"),
    "csv": ("p.csv", TABLE + 'Cook,"Make ${dish:soup}","TRUE","TEXT","z"\n'),
    "lobe": ("a.json", json.dumps(LOBE)),
    "card": ("mia.json", json.dumps(CARD)),
    "modelfile": (
        "Modelfile",
        'FROM llama3.2\nSYSTEM """Say "hi".\n"""\nMESSAGE user A\nMESSAGE assistant B\n',
    ),
    "messages": ("m.json", json.dumps(MESSAGES)),
    "prompty": ("p.prompty", "---\nname: p\n---\nsystem:\nBe kind to {{who}}.\n\nuser:\n{{q}}\n"),
    "dotprompt": (
        "d.prompt",
        "---\ninput: {schema: {who: string}}\n---\n"
        '{{role "system"}}Greet {{who}}.{{role "user"}}Go',
    ),
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def rendered(path: Path) -> list[tuple[str, str | None]]:
    """Return the messages of a persona, each of its variables with its name as the value."""
    with Runner(Config(path=()), log=False) as runner:
        persona = runner.load(str(path))
        values = {
            name: f"<{name}>"
            for name, variable in persona.variables.items()
            if variable.type in ("string", "any") and variable.default is None
        }
        takes_input = runner.catalog.compiled(persona).takes_input
        request = runner.render(persona, "INPUT" if takes_input else None, variables=values)
    return [(message.role, message.text) for message in request.messages]


@pytest.mark.parametrize("name", SOURCES)
def test_the_messages_of_a_round_trip_are_the_same(name: str, tmp_path: Path) -> None:
    file, text = SOURCES[name]
    source = write(tmp_path / "source", file, text)
    (first,) = import_personas(source, tmp_path / "one", format=name).personas
    folder = tmp_path / "out"
    folder.mkdir()
    files = export_persona(str(first.path), name, folder).files
    report = import_personas(files[0], tmp_path / "two", format=name)
    assert report.skipped == []
    assert rendered(report.personas[0].path) == rendered(first.path)
    again = tmp_path / "out2"
    again.mkdir()
    other = export_persona(str(report.personas[0].path), name, again).files
    assert [path.read_bytes() for path in other] == [path.read_bytes() for path in files]


@pytest.mark.parametrize("name", SOURCES)
def test_any_format_is_recognised_without_its_name(name: str, tmp_path: Path) -> None:
    file, text = SOURCES[name]
    source = write(tmp_path / "source", file, text)
    (one,) = import_personas(source, tmp_path / "one").personas
    assert f"format: {name}\n" in one.path.read_text("utf-8")


TEXTS = st.text(
    st.one_of(
        st.sampled_from(list("{}%#-~$ab\n\t '\"\\`@!<>")),
        st.characters(blacklist_categories=["Cs", "Cc"]),
    ),
    min_size=1,
    max_size=60,
)


@given(TEXTS)
@example("{{")
@example("{%{{{")
@settings(max_examples=300, deadline=None)
def test_a_template_of_a_literal_text_renders_to_it(text: str) -> None:
    source = Builder().text(text).expression("x").text(text).statement("if x").text(text)
    made = source.statement("endif").text(text).built().source()
    with Runner(Config(path=()), log=False) as runner:
        persona = Persona.parse(dumped({"variables": {"x": {}}, "prompt": made}))
        request = runner.render(persona, None, variables={"x": "X"})
    assert request.messages[-1].text == f"{text}X{text * 3}"


@given(text=TEXTS.filter(str.strip))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_text_without_variables_is_kept_to_the_byte(text: str, tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text(json.dumps({"messages": [{"role": "system", "content": text}]}), "utf-8")
    folder = tmp_path / "out"
    for path in folder.glob("*"):
        path.unlink()
    (one,) = import_personas(source, folder, format="messages").personas
    assert rendered(one.path)[0] == ("system", text)
    assert Text(text).source() == Builder().text(text).source()
