"""`personakit new`: what it writes works, and it never writes over anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from personakit import Runner
from personakit.authoring import Draft, drafts, persona_files
from personakit.base import NAME, RESERVED
from personakit.config import Config
from personakit.errors import UsageError
from personakit.persona import Persona, Variable

TARGET = Path("personas/new.yaml")
CHUNKS = [
    *"ab \t\n\r#:-'\"\\|>%\x00\x1b\x7f\x85\xa0é🎉\u2028\u2029\ufeff",
    *("---\n", "...\n", "{{ x }}", "{% if %}", "{#", "\n\n\n", "  ", "\r\n", "system: "),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(CHUNKS), max_size=30
).map("".join)


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(Config(path=(), select=frozenset()))


@given(text=TEXT.filter(lambda text: text.strip()), about=TEXT, tags=st.lists(TEXT, max_size=2))
@example(text="a\n\n", about="x", tags=[])
@example(text="x", about="", tags=[""])
@example(text="{{ a }}\n\n\n", about="# no", tags=["a, b"])
def test_a_prompt_of_any_kind_is_rendered_character_by_character(
    runner: Runner, text: str, about: str, tags: list[str]
) -> None:
    assume(text.strip())
    draft = Draft("new", about, tuple(tags), system=text, literal=True)
    persona = persona_files.checked(runner, draft.source(), TARGET)
    draft = persona_files.with_test(runner, draft, persona)
    persona = persona_files.checked(runner, draft.source(), TARGET)
    assert [test.name for test in persona.tests] == ["stays short"]
    (message,) = runner.render(persona).messages
    assert message.text == text
    assert (persona.description, persona.tags) == (about, tuple(tags))


@given(
    st.dictionaries(
        st.from_regex("[a-z]{1,8}", fullmatch=True),
        TEXT | st.integers(-(2**63) + 1, 2**63 - 1),
        min_size=1,
    )
)
def test_defaults_of_any_kind_are_kept(runner: Runner, values: dict[str, Any]) -> None:
    values = {f"{name}_": value for name, value in values.items()}
    system = "".join(f"{{{{ {name} }}}}" for name in values)
    source = Draft("new", "x", system=system, variables=values).source()
    persona = persona_files.checked(runner, source, TARGET)
    assert {n: it.default for n, it in persona.variables.items()} == values


@given(TEXT)
def test_what_a_parent_says_stays_in_the_comments(runner: Runner, text: str) -> None:
    variables = {
        "a": Variable("a", default=text, description=text, enum=(text, "b")),
        "b": Variable("b", required=True, example=text),
    }
    parent = dataclasses.replace(Persona.parse("system: x"), variables=variables)
    source = Draft("new", "x", extends="chef", parent=parent).source()
    assert persona_files.checked(runner, source, TARGET).extends == ("chef",)


@given(st.text())
@example("My Chef")
@example("personas/My Chef.yaml")
@example("CON")
@example("Straße 7")
@example("日本")
def test_a_proposed_name_is_a_name(text: str) -> None:
    name = persona_files.proposed_name(text)
    assert NAME.match(name)
    assert not RESERVED.match(name)
    assert persona_files.checked_name(name) == name


@pytest.mark.parametrize("starter", drafts.starters())
def test_a_starter_lints_renders_and_passes_its_tests(shell: Any, starter: str) -> None:
    made = shell("new", "mine", "--template", starter, "-d", "Mine: all mine", "-t", "a", "-t", "b")
    assert (made.returncode, made.stderr) == (0, "")
    for command in [line.split() for line in made.stdout.splitlines() if line[:2] == "  "]:
        assert command[0] == "personakit"
        assert shell(*(word.strip('"') for word in command[1:])).returncode == 0
    text = (shell.folder / "personas/mine.yaml").read_text("utf-8")
    assert text.startswith('name: mine\ndescription: "Mine: all mine"\ntags: [a, b]\n')
    assert text.count("#") > 3
    assert [file.name for file in (shell.folder / "personas").iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    "args",
    [
        ["--extends", "chef"],
        ["--extends", "editor", "--system", "Be {{ how }}."],
        ["--from-file", "-"],
        ["--from-file", "-", "--template-text"],
        ["--system", "You greet."],
    ],
)
def test_what_it_names_next_works(shell: Any, args: list[str]) -> None:
    made = shell("new", "mine", *args, stdin="You like {{ it }}.\r\n")
    assert made.returncode == 0
    commands = [line.split() for line in made.stdout.splitlines() if line[:2] == "  "]
    assert [words[1] for words in commands] == ["render", "lint", "test"]
    for words in commands:
        done = shell(*(word.strip('"') for word in words[1:]))
        assert (done.returncode, "warning" in done.stdout) == (0, False)


def test_without_a_terminal_it_takes_the_defaults(shell: Any) -> None:
    assert shell("new", "my-greeter").returncode == 0
    assert "description: My greeter.\n" in (shell.folder / "personas/my-greeter.yaml").read_text()


def test_it_never_writes_over_a_file(shell: Any) -> None:
    shell.write("personas/mine.yaml", "keep me")
    (shell.folder / "personas/link.yaml").symlink_to("nowhere")
    for name in ("mine", "link"):
        result = shell("new", name)
        assert result.returncode == 2
        assert f"personas/{name}.yaml already exists" in result.stderr
    assert (shell.folder / "personas/mine.yaml").read_text() == "keep me"
    assert not (shell.folder / "personas/nowhere").exists()


def test_a_file_that_comes_up_while_it_asks_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.yaml"
    target.write_text("first")
    with pytest.raises(UsageError, match="already exists"):
        persona_files.save(target, "second")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.yaml", "first")]


def test_a_folder_that_cannot_be_made_is_said(shell: Any) -> None:
    shell.write("file", "x")
    result = shell("new", "a", "--path", "file/deep")
    assert result.returncode == 2
    assert "file/deep/a.yaml cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["My Chef"], "did you mean 'my-chef'?"),
        (["con"], "did you mean 'my-con'?"),
        ([], "NAME"),
        (["a", "--extends", "cheff"], "did you mean 'chef'?"),
        (["a", "--extends", "../chef"], "--extends: invalid persona name '../chef'"),
        (["a", "--template", "nope"], "'basic'"),
        (["a", "--from-file", "promt.txt"], "did you mean 'prompt.txt'?"),
        (["a", "--from-file", "latin.txt"], "latin.txt:2:4: byte 0xe9 is not UTF-8"),
        (["a", "--from-file", "blank.txt"], "blank.txt is empty; write the system message into"),
        (["a", "--from-file", "large.txt"], "1,048,576"),
        (["a", "--from-file", "prompt.txt", "--template-text"], "prompt.txt:2: template syntax"),
        (["a", "--from-file", "prompt.txt", "--template", "basic"], "cannot be combined"),
        (["a", "--system", "x", "--template", "basic"], "cannot be combined"),
        (["a", "--template-text"], "--from-file"),
        (["a", "--system", "Say {{ input }}"], "`prompt:` only"),
        (["a", "--system", "{{ who }}", "-v", "wo=x"], "did you mean 'who'?"),
        (["a", "--system", "x", "-v", "who=x"], "it has no variables"),
        (["a", "-v", "who"], "NAME=VALUE"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    shell: Any, args: list[str], message: str
) -> None:
    shell.write("prompt.txt", "One.\nTwo {{ \n")
    shell.write("latin.txt", b"a\ncaf\xe9")
    shell.write("blank.txt", b"\xef\xbb\xbf\r\n")
    shell.write("large.txt", b"a" * 2**21)
    result = shell("new", *args)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not (shell.folder / "personas").exists()


def test_a_prompt_file_stays_as_it_is(shell: Any) -> None:
    text = "Keep {{ this }}\n\tand that\u2028 \x07\r \ufeff\n\n"
    # Editors on Windows add a byte order mark and carriage returns.
    windows = "\ufeff" + text.replace("\n", "\r\n")
    shell.write("prompt.txt", text)
    assert shell("new", "a", "--from-file", "prompt.txt").returncode == 0
    assert shell("new", "b", "--from-file", "-", stdin=windows).returncode == 0
    runner = Runner(Config(path=(shell.folder / "personas",)))
    for name in "ab":
        assert runner.render(name).messages[0].text == text
    assert "template: none" in (shell.folder / "personas/a.yaml").read_text("utf-8")


def test_the_variables_of_a_text_are_declared(shell: Any) -> None:
    shell.write("t.txt", "{{ who }} in {{ town }} for {{ n + 1 }}{% set a = 1 %}{{ a }}\n")
    made = shell("new", "a", "--from-file", "t.txt", "--template-text", "-v", "n=2")
    assert made.returncode == 0
    source = (shell.folder / "personas/a.yaml").read_text()
    assert '  who: ""\n  town: ""\n  n: 2\n' in source
    assert shell("render", "a", "-v", "who=Zoë").stdout.startswith("--- system\nZoë in  for 31\n")


def test_a_variable_that_cannot_be_empty_is_required(shell: Any) -> None:
    made = shell("new", "a", "--system", "{{ n + 1 }}")
    assert "n: {required: true}" in (shell.folder / "personas/a.yaml").read_text()
    assert "personakit render a -v n=…" in made.stdout


def test_a_child_renders_as_its_parent_and_lists_its_variables(shell: Any) -> None:
    assert shell("new", "kid", "--extends", "chef").returncode == 0
    source = (shell.folder / "personas/kid.yaml").read_text()
    assert "#   guests: {default: 2}" in source
    child, parent = shell("render", "kid").stdout, shell("render", "chef").stdout
    assert child == parent
    made = shell("new", "kid2", "--extends", "kid", "--system", "Sing {{ song }}.", "-v", "song=la")
    assert made.returncode == 0
    assert "economically" not in (text := shell("render", "kid2").stdout)
    assert text.splitlines()[-2] == "Sing la."


def test_it_says_what_a_new_persona_hides(shell: Any) -> None:
    assert "It hides " in shell("new", "chef").stdout
    assert "It hides " not in shell("new", "editor", "--extends", "editor").stdout
    away = shell("new", "other", "--path", "away").stdout
    assert "away is not on the search path" in away
    assert "personakit render away/other.yaml" in away
    assert "The name chef finds personas/chef.yaml" in shell("new", "chef", "--path", "away").stdout


def test_in_a_terminal_it_asks_and_asks_again(shell: Any) -> None:
    with shell.terminal("new") as session:
        for question, answer in [
            ("Name: ", "My Pirate"),
            ("did you mean 'my-pirate'?", ""),
            ("Name: ", "my-pirate"),
            ("Description [My pirate.]: ", ""),
            ("System message [from a template]: ", "You are {{ who"),
            ("template syntax", ""),
            ("System message [from a template]: ", "You are {{ who }}."),
            ("Default of who [empty]: ", "Jack"),
        ]:
            session.until(question)
            if "?" not in question and "syntax" not in question:
                session.say(answer)
        session.until("Wrote personas/my-pirate.yaml")
        assert session.end() == 0
    assert shell("render", "my-pirate").stdout.startswith("--- system\nYou are Jack.\n")


def test_in_a_terminal_a_template_is_chosen(shell: Any) -> None:
    with shell.terminal("new", "a", "-d", "x") as session:
        session.until("System message")
        session.say("")
        session.until("Template [basic]: ")
        session.say("promt")
        session.until("did you mean 'prompt'?")
        session.until("Template [basic]: ")
        session.say("prompt")
        assert session.end() == 0
    assert "{{ input }}" in (shell.folder / "personas/a.yaml").read_text()


def test_with_yes_a_terminal_is_not_asked(shell: Any) -> None:
    with shell.terminal("new", "a", "--yes") as session:
        session.until("Wrote")
        assert session.end() == 0


def test_ctrl_c_at_a_question_writes_nothing(shell: Any) -> None:
    with shell.terminal("new", "a") as session:
        session.until("]: ")
        session.interrupt()
        assert session.end() == 130
    assert not (shell.folder / "personas").exists()
