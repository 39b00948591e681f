"""The public names with their signatures, and what each way in loads, as they are written down.

A change of either is made on purpose: ``GOLDEN=write pytest tests/test_golden.py``.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import os
import pickle
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import personakit
import personakit.testing
from personakit.testing import Server

GOLDEN = Path(__file__).parent / "golden"
# What a way in may load of these is written down; the rest is their business.
WATCHED = frozenset(
    "asyncio click genai_prices importlib.metadata jinja2 jsonschema keyring openai platformdirs "
    "pluggy prompt_toolkit pydantic pydantic_core pytest rich splintr sqlite3 yaml".split()
)
PERSONA = "description: A\nsystem: You are {{ name }}.\nvariables:\n  name: Ann\n"
COMMAND = "from personakit.cli import main\nsys.argv[1:] = {}\ntry: main()\nexcept SystemExit: pass"
WAYS_IN = {
    "import": "import personakit",
    "list": COMMAND.format(["list"]),
    "render": COMMAND.format(["render", "ann", "Hi!"]),
    "run": COMMAND.format(["run", "ann", "Hi!", "-m", "openai/test"]),
}


def signature(value: Any) -> str:
    """Return a signature on one line."""
    return " ".join(str(inspect.signature(value)).split())


def members(kind: type) -> Iterator[str]:
    """Yield the public attributes of a class with their signatures."""
    if typing.is_typeddict(kind):
        yield from (f".{name}" for name in kind.__annotations__)
        return
    fields = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else ()
    for name in sorted({*fields, *(n for n in dir(kind) if not n.startswith("_"))}):
        value = inspect.getattr_static(kind, name, None)
        value = getattr(value, "__func__", value)
        if inspect.isfunction(value):
            yield f".{name}{signature(value)}"
        elif not issubclass(kind, BaseException) or name in vars(kind):
            yield f".{name}"


def public(module: Any) -> Iterator[str]:
    """Yield the public names of a module, a line each."""
    for name in module.__all__:
        value = getattr(module, name)
        head = f"{module.__name__}.{name}"
        if not isinstance(value, type):
            shown = signature(value) if inspect.isfunction(value) else ""
            yield f"{head}{shown}"
            continue
        bases = [b.__name__ for b in value.__mro__[1:] if b.__module__.startswith("personakit")]
        try:
            shown = signature(value)
        except ValueError:
            shown = ""
        yield f"{head}{shown}{f' < {chr(32).join(bases)}' if bases else ''}"
        yield from (f"{head}{member}" for member in members(value))


def check(name: str, lines: list[str]) -> None:
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text("\n".join(lines) + "\n", "utf-8")
    assert lines == file.read_text("utf-8").splitlines()


def test_the_public_names_and_their_signatures() -> None:
    check("public", [*public(personakit), *public(personakit.testing)])


@pytest.mark.parametrize("way", WAYS_IN)
def test_what_each_way_in_loads(way: str, tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "ann.yaml").write_text(PERSONA)
    shown = "print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)"
    script = f"import json, sys\nbefore = set(sys.modules)\n{WAYS_IN[way]}\n{shown}"
    with Server(["Hello."]) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **server.environ()},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    modules = json.loads(done.stderr.splitlines()[-1])
    own = [name for name in modules if name.split(".")[0] == "personakit"]
    check(f"modules-{way}", sorted([*own, *WATCHED.intersection(modules)]))


EXAMPLES: dict[str, dict[str, Any]] = {
    "Event": {"name": "started", "run": "1", "persona": "ann"},
    "Message": {"role": "user", "content": [{"type": "text", "text": "Hi!"}]},
    "Problem": {"message": "no", "path": "a.yaml", "line": 1},
    "Request": {"model": "a/b", "parameters": {"temperature": 0.5}},
    "Response": {"text": "Hi!", "finish_reason": "stop"},
    "Timings": {"started": 1.0, "total": 2.0},
    "ToolCall": {"id": "1", "name": "add", "arguments": "{}"},
    "ToolResult": {"call_id": "1", "content": "2"},
    "Usage": {"prompt_tokens": 1},
}
ERRORS = [
    name
    for name in personakit.__all__
    if isinstance(getattr(personakit, name), type)
    and issubclass(getattr(personakit, name), BaseException)
]


@pytest.mark.parametrize("name", [*ERRORS, *EXAMPLES])
def test_values_and_errors_can_be_copied_and_pickled(name: str) -> None:
    kind: Any = getattr(personakit, name)
    if issubclass(kind, personakit.PersonaError):
        made = kind([personakit.Problem("no", "a.yaml", 1)])
    else:
        made = kind(**EXAMPLES[name]) if name in EXAMPLES else kind("no")
    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert type(twin) is kind
        assert twin == made or (vars(twin) == vars(made) and twin.args == made.args)
