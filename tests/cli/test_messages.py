"""What commands say about input that cannot be used: the place, and what to write instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.cli import Commands

from personakit import Registry, UsageError, hookimpl
from personakit.base import install_command
from personakit.cli import group
from personakit.cli.lint import _files
from personakit.cli.shared.options import chosen_values
from personakit.persona import Persona, parameters
from personakit.runner import default_runner


class Formats:
    """Contributes two formats."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.format("bare", lambda request: "<text>")
        registry.format("ended", lambda request: "<text>\n")


PERSONA = Persona.parse(
    "system: x\nvariables:\n  guests: {type: integer, default: 1}\n  brief: {default: false}\n"
    "  diet: {enum: [any, vegan], default: any}\n",
    "p.yaml",
)


def variables(file: Path | str, *pairs: str) -> Any:
    """Return the values that ``--variables FILE`` and ``-v`` set."""
    return chosen_values(PERSONA, pairs, str(file), ())["variables"]


@pytest.mark.parametrize(
    ("name", "text", "faults"),
    [
        (
            "v.yaml",
            "guests: many\n\ndiet: vegn\nbrief: yes\nguest: 1\n",
            [
                "v.yaml:1:9: variable 'guests': expected an integer, found a string 'many'",
                "v.yaml:3:7: variable 'diet': 'vegn' is not one of any, vegan; did you mean "
                "'vegan'?",
                "v.yaml:4:8: variable 'brief': expected a boolean, found a string 'yes'; write "
                "true",
                "v.yaml:5:1: unknown variable 'guest'; did you mean 'guests'?",
            ],
        ),
        ("v.yaml", "- a\n", ["v.yaml:1:1: expected a mapping of variables to values, found a list "
                             "['a']"]),
        ("v.json", '{"guests": 3,\n "diet" "any"}', ["v.json:2:9: not valid JSON: expecting ':' "
                                                     "delimiter; a comma or a quote is missing "
                                                     "before it"]),
    ],
)  # fmt: skip
def test_a_file_of_variables_is_checked_with_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, faults: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    with pytest.raises(UsageError) as caught:
        variables(name)
    assert str(caught.value).splitlines() == faults


def test_an_option_replaces_a_faulty_value_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("guests: many\nbrief: true\n")
    assert variables(tmp_path / "v.yaml", "guests=3") == {"guests": 3, "brief": True}


@pytest.mark.parametrize("name", ["extra_body", "n", "tool_choice"])
def test_a_refused_parameter_speaks_of_the_option(name: str) -> None:
    with pytest.raises(UsageError, match=f"parameter '{name}' cannot be set with -p or parameters"):
        parameters.check({name: 1})


def test_control_characters_are_shown_as_terminals_do() -> None:
    with pytest.raises(UsageError) as caught:
        parameters.check({"a\x1b\\x1b": 1})
    assert str(caught.value).startswith(r"unknown parameter 'a\u001b\\x1b'")


def test_a_folder_without_a_persona_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"contains no persona file \(\*\.yaml or \*\.yml\); name"):
        list(_files(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads any file")
def test_a_barred_file_is_no_typo(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "p.yaml").write_text("system: x\n")
    folder.chmod(0o600)
    try:
        with pytest.raises(UsageError, match="cannot be read: no permission for the folder"):
            list(_files(folder / "p.yaml"))
    finally:
        folder.chmod(0o700)


def test_a_format_ends_its_output_with_a_line_break_and_an_unknown_one_lists_them(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("acme", acme=Formats)
    monkeypatch.setenv("PERSONAKIT_PLUGINS", "acme")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    default_runner.cache_clear()
    for name in ("bare", "ended"):
        result = CliRunner().invoke(group, ["render", "chef", "hi", "--format", name])
        assert result.output == "<text>\n"
    result = CliRunner().invoke(group, ["render", "chef", "hi", "--format", "zzz"])
    assert str(result.exception) == (
        "--format: no installed plugin provides 'zzz'; the formats are bare, ended"
    )
    default_runner.cache_clear()


def test_the_embedded_model_says_what_to_install(tmp_path: Path) -> None:
    done = Commands(tmp_path)("run", "chef", "hi", "-m", "local/x")
    assert done.code == 2
    assert install_command("personakit-local") in done.err


FIXED = "description: d\nsystem: x\nprompt: Say hello.\n"


@pytest.mark.parametrize(
    ("command", "stdin"),
    [
        ("render p.yaml hi", ""),
        ("render p.yaml -f f.txt", ""),
        ("run p.yaml hi -m openai/m", ""),
        ("run p.yaml -f f.txt -m openai/m", ""),
        ("run p.yaml -f - -m openai/m", "typed"),
        ("run p.yaml -m openai/m", "typed"),
        ("run p.yaml - -m openai/m", "typed"),
        ("chat p.yaml -m openai/m", ""),  # before a message is typed
        ("chat p.yaml -f f.txt -m openai/m", "typed\n"),
    ],
)
def test_a_text_that_the_persona_would_drop_is_an_error(
    tmp_path: Path, command: str, stdin: str
) -> None:
    commands = Commands(tmp_path)
    commands.write("p.yaml", FIXED)
    commands.write("f.txt", "a file")
    done = commands(*command.split(), stdin=stdin, OPENAI_API_KEY="k")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "Error: p.yaml:3:9: `prompt:` does not use {{ input }}, so the text of the user would be "
        "lost; add {{ input }} to it, or run the persona without a text\n"
    )
    assert commands("render", "p.yaml").code == 0
