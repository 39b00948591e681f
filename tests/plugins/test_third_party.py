"""A package of somebody else, as pip would leave it in site-packages, used by a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODULE = '''
"""A plugin package: personakit's public names are all it knows."""
from dataclasses import dataclass
from personakit import Registry, Request, Response, Send, hookimpl

print("imported acme_loudly")

@dataclass(eq=False)
class Loudly:
    marks: int = 1

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        response = await send(request.with_system("Speak up."))
        return response.replace(text=response.text.upper() + "!" * self.marks)

class Extras:
    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        print("set up extras")
        registry.template_filter("exclaim", lambda text: text + "!")
        registry.plugin("quiet", Quiet)

class Quiet:
    @hookimpl
    async def chat(self, request, send):
        response = await send.live(request)
        return response
'''
METADATA = "Metadata-Version: 2.1\nName: acme-loudly\nVersion: 2.1\n"
ENTRY_POINTS = """
[personakit]
loudly = acme_loudly:Loudly
extras = acme_loudly:Extras
broken = acme_loudly_broken:Nothing

[personakit.personas]
acme = acme_personas.people
"""
PERSONA = "system: I am of Acme.\nplugins: [loudly]\n"
HEAD = """
import json, sys
from personakit import Config, Persona, Runner
from personakit.testing import Upstream
upstream = Upstream(["hello"])
running = Runner(Config.read({}), backend=upstream)
def run(**keys):
    who = Persona.parse(json.dumps({"system": "You.", **keys}), "who.yaml")
    return running.run(who, model="test/x").text, upstream.requests[-1].system
"""


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., list[str]]:
    """Run code where the package is installed; return the lines that it prints."""
    site = tmp_path / "site-packages"
    files = {
        "acme_loudly.py": MODULE,
        "acme_personas/__init__.py": "raise RuntimeError('personas are read, not imported')",
        "acme_personas/people/ann.yaml": PERSONA,
        "acme_loudly-2.1.dist-info/METADATA": METADATA,
        "acme_loudly-2.1.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    for name, text in files.items():
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def python(*args: str, **environ: str) -> list[str]:
        env = {k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "COV_"))}
        env |= {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(site), "NO_COLOR": "1"}
        env |= {"XDG_CONFIG_HOME": str(tmp_path), "PERSONAKIT_MODEL": "test/x"}
        done = subprocess.run(
            [sys.executable, "-W", "error", *args],
            cwd=tmp_path,
            env={**env, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return python


@pytest.mark.parametrize(
    ("code", "out"),
    [
        # Installed and not listed, it is not even imported, and no prompt changes.
        ("print(*run())", ["hello You."]),
        ("print(sorted(n for n in sys.modules if n.startswith('acme')))", ["[]"]),
        (
            "who = run(plugins=['loudly']); print(repr(who))",
            ["imported acme_loudly", "('HELLO!', 'You.\\n\\nSpeak up.')"],
        ),
        (
            "print(run(plugins=[{'loudly': {'marks': 3}}])[0])",
            ["imported acme_loudly", "HELLO!!!"],
        ),
        # One that is not listed is asked only for a name that nobody has.
        (
            "print(run(system=\"{{ 'You' | exclaim }}\"))",
            ["imported acme_loudly", "set up extras", "('hello', 'You!')"],
        ),
        ("print(run(plugins=['quiet'])[0])", ["imported acme_loudly", "set up extras", "hello"]),
        # A package may bring personas, which are read and not imported.
        (
            "print(running.run('ann', model='test/x').text, upstream.requests[0].system[-9:])",
            ["imported acme_loudly", "HELLO! Speak up."],
        ),
    ],
)
def test_a_package_is_found_and_loaded_when_it_is_needed(
    python: Callable[..., list[str]], code: str, out: list[str]
) -> None:
    assert python("-c", HEAD + code) == out


def test_what_is_wrong_names_the_package(python: Callable[..., list[str]]) -> None:
    code = """
from personakit import PersonaError, PluginError
for plugins in (["broken"], [{"loudly": {"mark": 1}}], ["loudy"]):
    try:
        run(plugins=plugins)
    except (PersonaError, PluginError) as error:
        print(error)
print(run(plugins=["loudly"])[0])
"""
    lines = python("-c", HEAD + code)
    broken, option, missing, text = [x for x in lines if not x.startswith(("imported", "set up"))]
    assert broken.startswith("plugin 'broken' (of acme-loudly 2.1) is broken: ModuleNotFoundError")
    assert (
        "plugin 'loudly' (of acme-loudly 2.1) has no option 'mark'; did you mean 'marks'" in option
    )
    assert "no plugin 'loudy' is installed; did you mean 'loudly'" in missing
    assert text == "HELLO!"


def test_the_command_line_lists_it(python: Callable[..., list[str]]) -> None:
    lines = python("-m", "personakit", "plugins", "--json", PERSONAKIT_PLUGINS="loudly,broken")
    rows: list[dict[str, Any]] = json.loads("\n".join(lines[lines.index("[") :]))
    loudly = next(row for row in rows if row["name"] == "loudly")
    assert [row["name"] for row in rows] == ["broken", "loudly"]
    assert (loudly["distribution"], loudly["version"]) == ("acme-loudly", "2.1")
    assert loudly["hooks"] == ["chat"]
    assert rows[0]["error"].startswith("ModuleNotFoundError")
