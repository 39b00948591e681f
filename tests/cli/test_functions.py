"""`--functions FILE`: which functions of a file become tools, and what is wrong with a file."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from personakit.cli.shared.functions import load
from personakit.errors import UsageError
from personakit.tools import Tool

GOOD = '''
from __future__ import annotations
import functools
from dataclasses import dataclass
from json import dumps

@dataclass
class Place:
    name: str

def weather(city: str, days: int = 1) -> str:
    """Return the forecast.

    Args:
        city: The city.
    """
    print("asked")
    return f"{city}: {days}"

async def later(place: Place) -> str:
    return place.name

@functools.cache
def cached(number: int) -> int:
    return number

def _private(): ...

alias = weather
nameless = lambda: 1
if __name__ == "__main__":
    raise SystemExit("it is not run as a script")
'''


def written(folder: Path, text: str | bytes, name: str = "mine.py") -> str:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def tools(folder: Path, text: str) -> dict[str, Tool]:
    return {name: function.tool for name, function in load([written(folder, text)]).items()}


def called(tool: Tool, arguments: str) -> str:
    return asyncio.run(tool.call(arguments))


def test_the_functions_that_a_file_defines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tools(tmp_path, GOOD)
    assert list(made) == ["weather", "later", "cached"]
    weather = made["weather"]
    assert weather.description == "Return the forecast."
    assert json.loads(json.dumps(weather.to_api()["function"]["parameters"])) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "city": {"type": "string", "description": "The city."},
            "days": {"type": "integer", "default": 1},
        },
        "required": ["city"],
    }
    assert called(weather, '{"city": "Lyon"}') == "Lyon: 1"
    assert called(made["later"], '{"place": {"name": "Lyon"}}') == "Lyon"
    assert called(made["cached"], '{"number": 2}') == "2"
    # Standard output contains only the answer.
    assert capsys.readouterr() == ("", "asked\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def f(:\n  pass\n", r"mine\.py:1: SyntaxError: invalid syntax"),
        ("x = 1\n\tdef f(): ...\n", r"mine\.py:2: IndentationError: unexpected indent"),
        (b"x = '\xff'\n", r"mine\.py:1: SyntaxError: .*utf-8"),
        (b"x = '\x00'\n", r"mine\.py.*null bytes"),
        ("\n\n1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("def f():\n    f()\nf()\n", r"mine\.py:2: RecursionError"),
        ("import sys\nsys.exit('bye')\n", r"mine\.py:2: SystemExit: bye"),
        ("import no_such_module\n", r"mine\.py:1: ModuleNotFoundError.*; install it where"),
        ("import beside\n", r"mine\.py:1: ModuleNotFoundError.*; to import .* set PYTHONPATH="),
        ("", r"mine\.py: it defines no public function; write one, such as `def weather\("),
        ("from json import dumps\nclass A: ...\n", r"defines no public function"),
        ("\ndef f(x: 'Nope'): ...\n", r"mine\.py:2: tool 'f': name 'Nope' is not defined"),
        ("\ndef f(x: '1 / 0'): ...\n", r"mine\.py:2: the type hints of 'f': ZeroDivisionError"),
        ("def f(x: 'a['): ...\n", r"mine\.py:1: the type hints of 'f': SyntaxError"),
        (
            "import re\ndef f(x: re.Match): ...\n",
            r"mine\.py:2: tool 'f': .*annotate its parameters",
        ),
        ("def f(*x): ...\n", r"mine\.py:1: tool 'f': parameter '\*x' cannot be passed by name"),
        ("def é(): ...\n", r"mine\.py:1: invalid tool name 'é': use 1 to 64 letters"),
    ],
)
def test_what_is_wrong_with_a_file(text: str | bytes, error: str, tmp_path: Path) -> None:
    written(tmp_path, "", "beside.py")
    with pytest.raises(UsageError, match=error):
        load([written(tmp_path, text)])


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(UsageError, match=r"--functions: cannot read .*did you mean 'mine\.py'"):
        load([str(tmp_path / "mime.py")])
    with pytest.raises(UsageError, match=r"--functions: cannot read .*folder"):
        load([str(tmp_path)])


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    one = written(tmp_path, "def f(): ...\n", "one.py")
    two = written(tmp_path, "\ndef f(): ...\n", "two.py")
    with pytest.raises(UsageError, match=r"two\.py:2: .*'f' is also defined in .*one\.py:1;"):
        load([one, two])
    assert sys.modules["personakit_functions_0"].__file__ == one
