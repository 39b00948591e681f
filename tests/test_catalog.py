"""What a runner knows of its personas: their hash, and pins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit import Persona, PersonaNotFound, Runner
from personakit.authoring import writer
from personakit.config import Config

PLAIN = """
name: p
system: "Hi {{ who }}."
variables: {who: {default: you, description: Whom}}
parameters: {temperature: 0.5, seed: 1}
messages: [user: Hello, assistant: Hi]
"""
SAME = [
    PLAIN.replace('"Hi {{ who }}."', "|-\n  Hi {{ who }}."),
    PLAIN.replace("{temperature: 0.5, seed: 1}", "{seed: 1, temperature: 0.50}"),
    PLAIN.replace("description: Whom", "description: Somebody"),
    "# a comment\n" + PLAIN + "description: d\ntags: [x]\nmetadata: {a: 1}\nversion: '2'\n",
    PLAIN + "tests: [{render: {contains: Hi}}]\n",
]
DIFFERENT = [
    PLAIN.replace("Hi {{ who }}.", "Hi {{ who }}!"),
    PLAIN.replace("Hi {{ who }}.", "Hi {{ who }}. "),
    PLAIN.replace("default: you", "default: all"),
    PLAIN.replace("default: you", "default: you, required: false, maximum: 9"),
    PLAIN.replace("seed: 1", "seed: 2"),
    PLAIN.replace("user: Hello", "user: Hallo"),
    PLAIN.replace("- ", "").replace("assistant: Hi", "user: Hi"),
    PLAIN.replace("name: p", "name: q"),
    PLAIN + "model: openai/x\n",
    PLAIN + "prompt: '{{ input }}'\n",
    PLAIN + "plugins: [redact]\n",
    PLAIN + "output: {type: object}\n",
    PLAIN + "tools: [search]\n",
    PLAIN + "template: none\n",
]


def hash_of(source: str) -> str:
    return Runner(Config(path=())).hash(Persona.parse(source, "p.yaml"))


@pytest.mark.parametrize("source", SAME)
def test_the_hash_is_stable_across_what_changes_no_request(source: str) -> None:
    assert hash_of(source) == hash_of(PLAIN)


@pytest.mark.parametrize("source", DIFFERENT)
def test_the_hash_differs_when_a_request_could(source: str) -> None:
    assert hash_of(source) != hash_of(PLAIN)


def test_the_hash_is_that_of_other_processes_and_versions() -> None:
    assert hash_of("name: p\nsystem: Hello\n") == (
        "sha256:c5929f28db7fc663d50e86f8accb986185ddbff8e0fced485bf89376ca7a4d37"
    )


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.text("ab{}% \n"))
def test_texts_have_one_hash_if_and_only_if_they_are_one(first: str, then: str) -> None:
    def of(text: str) -> str:
        written = writer.text(f"x{text}")  # an empty text is an error
        return hash_of(f"name: p\ntemplate: none\nsystem: {written}\n")

    assert (of(first) == of(then)) == (first == then)


@pytest.fixture
def library(tmp_path: Path) -> Runner:
    (tmp_path / "p.yaml").write_text(f"version: '1.0'\n{PLAIN}", "utf-8")
    return Runner(Config(path=(tmp_path,)))


def test_a_parent_or_a_partial_changes_the_hash(library: Runner, tmp_path: Path) -> None:
    def write(partial: str, base: str) -> str:
        (tmp_path / "x.md").write_text(partial, "utf-8")
        (tmp_path / "base.yaml").write_text(f"system: {base}\n", "utf-8")
        return library.hash("child")

    text = "extends: base\nsystem: '{{ parent.system }} {% include \"x.md\" %}'\n"
    (tmp_path / "child.yaml").write_text(text, "utf-8")
    found = {write("one", "a"), write("three", "a"), write("one", "a b"), write("one", "a")}
    assert len(found) == 3


def test_pins_load_what_they_name(library: Runner) -> None:
    known = library.hash("p")
    for pin in ("p@1.0", f"p@{known}", f"p@{known[:15]}"):
        assert library.load(pin).name == "p"


@pytest.mark.parametrize("pin", ["p@1.1", "p@sha256:00000000", "p@sha256:", "p@sha256:0", "p@"])
def test_pins_that_do_not_fit_fail_loudly(library: Runner, pin: str) -> None:
    with pytest.raises(PersonaNotFound):
        library.load(pin)


def test_a_pin_says_what_was_found(library: Runner) -> None:
    with pytest.raises(PersonaNotFound, match=r"does not match the pin '2\.0': found 1\.0"):
        library.load("p@2.0")


def test_paths_can_be_pinned(library: Runner, tmp_path: Path) -> None:
    assert library.load(f"{tmp_path}/p.yaml@1.0").name == "p"
    (tmp_path / "at@home.yaml").write_text("name: at-home\nsystem: x\n", "utf-8")
    assert library.load(f"{tmp_path}/at@home.yaml").name == "at-home"
