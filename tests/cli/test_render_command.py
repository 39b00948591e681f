"""The views of `personakit render`: tokens, differences, origins, and watching."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

PARENT = """\
description: A parent.
parameters: {temperature: 0.5}
variables:
  tone: {type: string, enum: [calm, loud], default: calm}
  town: Lyon
system: |
  You live in {{ town }}.
  {% include "partials/tone.md" %}
"""
CHILD = """\
extends: parent
variables:
  town: {default: Paris}
  guests: 2
system: |
  {{ parent.system }}
  You cook for {{ guests }}.
messages:
  - user: Hi
  - assistant: Ho
prompt: "Cook: {{ input }}"
"""
EXPLAINED = """\
child: personas/child.yaml
  extends parent  personas/parent.yaml

messages
  system                 personas/child.yaml:6
    uses                 guests
    {{ parent.system }}  personas/parent.yaml:7
    {% include %}        personas/partials/tone.md
    uses                 tone, town
  user                   personas/child.yaml:9
  assistant              personas/child.yaml:10
  user                   personas/child.yaml:11
    uses                 input

variables
  tone = "loud"  -v
  town = "Rome"  --variables v.yaml
  guests = 2     default, personas/child.yaml:4

parameters
  temperature = 0.5  personas/parent.yaml:2
  seed = 1           -p

model
  openai/gpt-5  -m
"""


@pytest.fixture(autouse=True)
def personas(shell: Any) -> None:
    shell.write("personas/parent.yaml", PARENT)
    shell.write("personas/child.yaml", CHILD)
    shell.write("personas/partials/tone.md", "Be {{ tone }}.\n")
    shell.write("v.yaml", "town: Rome\n")


def test_tokens_are_counted_for_each_message_and_in_all(shell: Any) -> None:
    done = shell("render", "child", "soup", "--tokens", "-m", "openai/gpt-5")
    heads = [line for line in done.stdout.splitlines() if line.startswith("---")]
    counts = [int(count) for count in re.findall(r"(\d+) tokens?", "\n".join(heads))]
    assert re.match(r"--- system \(\d+ tokens\)\Z", heads[0])
    assert heads[-1].endswith(f", {sum(counts[:-1])} tokens")
    assert len(counts) == 5
    assert "≈" not in done.stdout


def test_an_estimate_is_marked_and_says_why(shell: Any) -> None:
    done = shell("render", "child", "soup", "--tokens")
    assert done.stdout.count("≈") == 6
    assert done.stdout.splitlines()[-1].startswith("≈ estimated: no model is chosen")


def test_explain_names_the_origin_of_every_part(shell: Any) -> None:
    args = ["-v", "tone=loud", "--variables", "v.yaml", "-p", "seed=1", "-m", "openai/gpt-5"]
    done = shell("render", "child", "soup", "--explain", *args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == EXPLAINED


def test_explain_of_a_persona_that_changes_one_of_its_own_name(shell: Any) -> None:
    shell.write("personas/chef.yaml", "extends: chef\nvariables: {cook: {default: Zoë}}\n")
    text = shell("render", "chef", "Hi", "--explain").stdout
    assert re.search(r"extends chef +\S+/personas/chef.yaml", text)
    assert re.search(r'cook = "Zoë" +default, personas/chef.yaml:2', text)
    assert re.search(r"guests = 2 +default, /\S+/personas/chef.yaml:\d+", text)
    assert re.search(r"user +the prompt", text)


def test_a_difference_in_a_variable(shell: Any) -> None:
    done = shell("render", "child", "soup", "--diff", "guests=4")
    assert done.returncode == 1
    assert done.stdout == (
        "--- system  child\n+++ system  guests=4\n@@ -1,4 +1,4 @@\n You live in Paris.\n"
        " Be calm.\n \n-You cook for 2.\n+You cook for 4.\n"
    )


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ("@v.yaml", ["+You live in Rome."]),
        ("parent", ["--- user  child", "+++ (no message)  parent", "-You cook for 2."]),
        ("personas/parent.yaml", ["+soup", "\\ No newline at end of message"]),
        ("other.yaml", ["-temperature: 0.5", "+model: openai/x", "+temperature: 1"]),
    ],
)
def test_a_difference_to_something_else(shell: Any, other: str, wanted: list[str]) -> None:
    shell.write("other.yaml", CHILD + "model: openai/x\nparameters: {temperature: 1}\n")
    done = shell("render", "child", "soup", "--diff", other)
    assert done.returncode == 1
    assert [line for line in wanted if line not in done.stdout.splitlines()] == []


def test_a_difference_to_a_version_on_standard_input(shell: Any) -> None:
    done = shell("render", "child", "soup", "--diff", "-", stdin=CHILD.replace("cook", "bake"))
    assert done.returncode == 1
    assert "+You bake for 2." in done.stdout


def test_no_difference_exits_with_0(shell: Any) -> None:
    done = shell("render", "child", "soup", "-v", "guests=3", "--diff", "child")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No differences.\n")


def test_a_difference_with_its_tokens(shell: Any) -> None:
    shell.write("long.yaml", CHILD.replace("You cook", "As a cook, you always cook well"))
    done = shell("render", "child", "a", "--diff", "long.yaml", "--tokens", "-m", "openai/gpt-5")
    found = re.search(r"^(\d+) tokens before, (\d+) tokens after$", done.stdout, re.MULTILINE)
    assert found
    assert int(found[1]) < int(found[2])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--diff", "chidl"], "did you mean 'child'?"),
        (["--diff", "guests=many"], "expected an integer"),
        (["--diff", "guest=4"], "did you mean 'guests'?"),
        (["--diff", "@none.yaml"], "none.yaml"),
        (["--diff", "child", "--explain"], "cannot be combined"),
        (["--json", "--tokens"], "--tokens cannot be combined with --json"),
        (["--watch", "-v", "town=@-"], "standard input"),
        (["--watch", "--variables", "none.yaml"], "none.yaml"),
    ],
)
def test_a_mistake_is_named(shell: Any, args: list[str], message: str) -> None:
    done = shell("render", "child", "soup", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_watching_shows_every_change_and_outlives_mistakes(shell: Any) -> None:
    with shell.terminal("render", "child", "soup", "--watch", "-v", "town=@town.txt") as session:
        session.until("cannot read town.txt")
        assert session.end() == 2
    shell.write("town.txt", "Rome")
    with shell.terminal("render", "child", "soup", "--watch", "-v", "town=@town.txt") as session:
        assert "You live in Rome.\nBe calm." in session.until("Watching")
        steps = [
            ("personas/child.yaml", CHILD.replace("cook for", "bake for"), "You bake for 2."),
            ("personas/parent.yaml", PARENT.replace("live", "work"), "You work in Rome."),
            ("personas/partials/tone.md", "Stay {{ tone }}!", "Stay calm!"),
            ("town.txt", "Lyons", "You work in Lyons."),
            ("personas/child.yaml", CHILD + "sytem: x\n", "did you mean 'system'?"),
            ("personas/child.yaml", CHILD, "You cook for 2."),
            ("personas/partials/tone.md", "Stay {{ tone", "tone.md:1"),
            ("personas/partials/tone.md", "Speak {{ tone }}ly", "Speak calmly"),
        ]
        for name, text, shown in steps:
            shell.write(name, text)
            session.until("=== ")
            head, _, body = session.until("Watching").partition("\n")
            assert name in head
            assert shown in body
        (shell.folder / "personas/child.yaml").unlink()
        assert "no persona 'child'" in session.until("Watching")
        shell.write("personas/child.yaml", CHILD)
        assert "You cook for 2." in session.until("Watching")
        session.interrupt()
        assert session.end() == 130
    assert "Traceback" not in session.text


def test_watching_can_begin_with_a_broken_file(shell: Any) -> None:
    shell.write("personas/child.yaml", "system: {{ x }}\n")
    with shell.terminal("render", "child", "--watch", "--diff", "parent") as session:
        assert "quote it" in session.until("Watching")
        shell.write("personas/child.yaml", "system: Mine.\n")
        assert "-Mine." in session.until("Watching")


def test_a_plain_render_imports_nothing_for_the_views(shell: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "personakit", "render", "child", "soup"],
        capture_output=True, text=True, cwd=shell.folder, env=shell.env, check=True,
    )  # fmt: skip
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "personakit.templates.compiler" in names
    views = ("shared.preview", "shared.compare", "shared.explain", "new", "lint")
    assert not names & {"splintr", "personakit.tokens", "rich", "openai"}
    assert not names & {f"personakit.cli.{name}" for name in views}
