"""What `personakit batch --engine ray` refuses before it needs Ray, or without it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from helpers.process import Folder, command

PERSONA = "system: Be loud.\nmodel: openai/test-model\nvariables: {text: {}}\n"
RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    result = Folder(tmp_path)
    result.write("loud.yaml", PERSONA)
    result.write("rows.csv", "text\na\n")
    return result


def batch(folder: Folder, *args: str) -> tuple[int, str]:
    line = command("batch", "loud.yaml", "rows.csv", "-o", "out.parquet", *args)
    found = folder.run(line, b"", {"OPENAI_API_KEY": "key"})
    return found.code, found.err


@pytest.mark.skipif(RAY, reason="Ray is installed")
def test_without_ray_the_command_says_what_to_install(folder: Folder) -> None:
    code, err = batch(folder, "--engine", "ray")
    assert code == 2
    assert "it needs Ray Data, and ray is not installed; run: " in err
    assert "[ray]" in err.partition("run: ")[2]


@pytest.mark.parametrize(
    "option",
    ["--estimate", "--sample 3", "--limit 3", "--max-usd 3", "--key-file k", "--log"],
)
def test_options_for_one_process_are_refused(folder: Folder, option: str) -> None:
    code, err = batch(folder, "--engine", "ray", *option.split())
    assert code == 2
    assert f"{option.split(maxsplit=1)[0]} works with --engine plain only; leave it out" in err


@pytest.mark.parametrize("option", ["--address auto", "--workers 3", "--journal j"])
def test_options_for_ray_are_refused_elsewhere(folder: Folder, option: str) -> None:
    code, err = batch(folder, *option.split())
    assert code == 2
    assert f"{option.split(maxsplit=1)[0]} works with --engine ray only; leave it out" in err


def test_standard_input_is_refused(folder: Folder) -> None:
    line = command("batch", "loud.yaml", "-", "-o", "out.parquet", "--engine", "ray")
    found = folder.run(line, b"text\na\n", {"OPENAI_API_KEY": "key"})
    assert found.code == 2
    assert "standard input works with --engine plain only" in found.err
