"""The public surface: its names, and what is loaded for them."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import personakit

HEAVY = ("openai", "jinja2", "pydantic", "pydantic_core", "yaml", "rich", "click", "pluggy")


def loaded(code: str, folder: Path, **environ: str) -> list[str]:
    """Run code in a new process; return the modules that it loaded."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={"PATH": "", "HOME": str(folder), "PERSONAKIT_PLUGINS": "", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def test_all_is_sorted_and_complete() -> None:
    assert personakit.__all__ == sorted(set(personakit.__all__))
    assert dir(personakit) == personakit.__all__
    for name in personakit.__all__:
        assert getattr(personakit, name) is not None
    own = {n for n, v in vars(personakit).items() if getattr(v, "__module__", "") == "personakit"}
    assert {n for n in own if not n.startswith("_")} <= set(personakit.__all__)


def test_a_star_import_works() -> None:
    names: dict[str, Any] = {}
    exec("from personakit import *", names)
    assert set(personakit.__all__) <= names.keys()


def test_the_names_that_type_checkers_see_are_those_that_there_are() -> None:
    source = Path(inspect.getsourcefile(personakit) or "").read_text("utf-8")
    head = source.split("if TYPE_CHECKING:")[1].split("\n\n_")[0]
    seen = set(re.findall(r"\b(\w+) as \1\b", head))
    functions = {n for n in personakit.__all__ if inspect.isfunction(getattr(personakit, n))}
    assert seen == set(personakit.__all__) - {"__version__"} - {
        name for name in functions if getattr(personakit, name).__module__ == "personakit"
    }


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'personakit' has no attribute 'Persna'"):
        _ = personakit.Persna
    with pytest.raises(ImportError):
        importlib.import_module("personakit.nothing")


@pytest.mark.parametrize("name", sorted(set(personakit.__all__) - {"__version__"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert (getattr(personakit, name).__doc__ or "").strip()


def test_importing_loads_nothing_heavy(tmp_path: Path) -> None:
    modules = loaded("import personakit; personakit.run, personakit.__all__", tmp_path)
    assert not set(HEAVY) & set(modules)
    assert [name for name in modules if name.startswith("personakit")] == ["personakit"]
    assert "asyncio" not in modules


def test_errors_and_messages_load_nothing_heavy(tmp_path: Path) -> None:
    modules = loaded("from personakit import Blocked, Message, Request, Response", tmp_path)
    assert not set(HEAVY) & set(modules)


def test_the_config_loads_nothing_that_keys_alone_need(tmp_path: Path) -> None:
    modules = loaded("from personakit.config import Config\nConfig.read()", tmp_path)
    assert not {"hmac", "random", "secrets", "keyring", "sqlite3"} & set(modules)


RENDER = """
import personakit
assert personakit.render("ann", "Hi!", variables={"name": "Ann"}).system == "You are Ann."
"""


def test_rendering_loads_neither_openai_nor_pydantic(tmp_path: Path) -> None:
    (tmp_path / "ann.yaml").write_text(
        "system: You are {{ name }}.\nvariables:\n  name: {type: string, required: true}\n"
    )
    modules = loaded(RENDER, tmp_path, PERSONAKIT_PATH=str(tmp_path))
    assert "jinja2" in modules
    heavy = {"openai", "pydantic", "rich", "click", "httpx", "httpx2", "asyncio"}
    assert not heavy & set(modules)
    assert "importlib.metadata" not in modules


def test_openai_is_loaded_when_the_first_request_leaves(tmp_path: Path) -> None:
    code = """
import personakit, sys
running = personakit.Runner(personakit.Config(model="openai/x", path=(), environ={}))
who = personakit.Persona.parse("name: who\\nsystem: You.")
running.prepare(who)
assert "openai" not in sys.modules
try:
    running.run(who)
except personakit.ConfigError:
    pass
"""
    assert "openai" not in loaded(code, tmp_path)
