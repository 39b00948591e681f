"""The commands, config files and data in the docs are valid, where no test runs them."""

from __future__ import annotations

import itertools
import json
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from helpers import pages

from personakit.cli import group
from personakit.config import KEYS, Config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]
BLOCKS = [
    (f"{file.relative_to(ROOT)}:{number}", block)
    for file in sorted(PAGES)
    for number, block in enumerate(pages.blocks(file.read_text("utf-8")))
]


def invocations(block: pages.Block) -> Iterator[list[str]]:
    """Yield the arguments of each call of personakit in a block of commands."""
    typed = [command.line for command in pages.commands(block.text)]
    lines = typed or block.text.replace("\\\n", " ").splitlines()
    for line in lines:
        lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for is_operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("|&;<>")):
            call = list(words)
            if not is_operator and "personakit" in call:
                yield call[call.index("personakit") + 1 :]


def parse(command: click.Command, name: str, args: list[str]) -> None:
    """Parse arguments as the command does, without running it."""
    context = command.make_context(name, list(args))
    if isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        found, child, rest = command.resolve_command(context, rest)
        assert child is not None
        parse(child, found or "", rest)


CALLS = [
    pytest.param(args, id=f"{place} {shlex.join(args)}")
    for place, block in BLOCKS
    if block.language in {"console", "sh"}
    for args in invocations(block)
]


@pytest.mark.parametrize("args", CALLS)
def test_commands_have_these_arguments_and_options(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parse(group, "personakit", args)


EXCERPTS = [
    pytest.param(block, id=place)
    for place, block in BLOCKS
    if block.language == "text" and block.text.partition(":")[0] in KEYS and "──" not in block.text
]


@pytest.mark.parametrize("block", EXCERPTS)
def test_excerpts_of_the_config_file_are_valid(block: pages.Block, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(block.text, "utf-8")
    assert Config.read({"PERSONAKIT_CONFIG": str(file), "HOME": str(tmp_path)}).file


def test_data_is_valid() -> None:
    for _, block in BLOCKS:
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)
