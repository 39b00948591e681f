"""Each import contract of pyproject.toml holds, and breaks when it is broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
# What each package would have to import to break the contracts about it.
WRONG = {
    "personakit/frozen.py": ["personakit.runner"],
    "personakit/codec.py": (
        "yaml jinja2 pluggy openai pydantic pydantic_core platformdirs click rich httpx2 pytest "
        "jsonschema keyring markdown_it splintr genai_prices prompt_toolkit regex sqlite3 IPython "
        "prometheus_client pyarrow ray uvicorn"
    ).split(),
    "personakit_local/models.py": ["personakit.runner"],
    "personakit_redact/restore.py": ["personakit.runner"],
}


def lint(folder: Path) -> dict[str, bool]:
    """Run the linter in a folder; return whether each contract is kept."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-cache"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    return {name: state == "KEPT" for name, state in found}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copy(ROOT / "pyproject.toml", folder)
    skip = shutil.ignore_patterns("__pycache__")
    for package in (ROOT / "personakit", *(ROOT / "plugins").glob("*/personakit_*")):
        shutil.copytree(package, folder / package.name, ignore=skip)
    return folder


def test_every_contract_holds_and_each_can_break(copy: Path) -> None:
    names = {contract["name"] for contract in CONTRACTS["contracts"]}
    assert lint(copy) == dict.fromkeys(names, True)
    for file, modules in WRONG.items():
        path = copy / file
        lines = "".join(f"import {module}\n" for module in modules)
        path.write_text(path.read_text("utf-8") + lines, "utf-8")
    assert lint(copy) == dict.fromkeys(names, False)
