"""Real prompts and attacks, from a folder that PERSONAKIT_TEST_DATA names (see its README)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from personakit import Persona
from personakit.testing import runner

DATA = os.environ.get("PERSONAKIT_TEST_DATA", "")
if not DATA:
    pytest.skip("PERSONAKIT_TEST_DATA names no folder", allow_module_level=True)

HOSTILE = Path(DATA, "hostile").resolve()
MANIFEST: dict[str, Any] = json.loads((HOSTILE / "MANIFEST.json").read_text("utf-8"))
PROMPTS: list[dict[str, Any]] = json.loads(Path(DATA, "naas", "personas.json").read_text("utf-8"))

# What YAML reads otherwise than JSON: ends of lines, and characters that it does not take.
_OTHERWISE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def persona_file(system: str, **keys: Any) -> str:
    """Return a persona file, with its text so that YAML reads what JSON wrote."""
    source = json.dumps({"name": "made", "system": system, **keys}, ensure_ascii=False)
    return _OTHERWISE.sub(lambda found: f"\\u{ord(found[0]):04x}", source)


def escaped(text: str) -> str:
    """Return a template that renders to a text."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


def rendered(source: str) -> bytes:
    (message,) = runner()[0].render(Persona.parse(source, "made.yaml")).messages
    return message.text.encode()


def test_all_the_prompts_are_there() -> None:
    assert len(PROMPTS) == 27
    assert len(MANIFEST["cases"]) == 84


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt["title"])
def test_a_real_prompt_is_rendered_byte_for_byte(prompt: dict[str, Any]) -> None:
    text = prompt["prompt"]
    parameters = {key: prompt[key] for key in ("temperature", "max_tokens") if prompt[key]}
    for source in (
        persona_file(text, template="none", parameters=parameters),
        persona_file(escaped(text), parameters=parameters),
        _block(text),
    ):
        assert rendered(source) == text.encode()


def _block(text: str) -> str:
    """Return a persona file whose text is written below a `|`, as people write it."""
    lines = escaped(text).split("\n")
    keep = "-" if lines[-1] else "+"
    kept = lines if lines[-1] else lines[:-1]
    return f"name: made\nsystem: |2{keep}\n" + "".join(f"  {line}\n" for line in kept)


@pytest.mark.parametrize(
    "text", ["\x7f\x85\u2028\u2029\ufeff", "{{ {% {# #} %} }}", "\n a\n", "{{{"]
)
def test_the_writer_of_this_module_is_right(text: str) -> None:
    assert rendered(persona_file(text, template="none")) == text.encode()
    assert rendered(persona_file(escaped(text))) == text.encode()


def _case_id(case: Any) -> str:
    return str(case["id"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("case", MANIFEST["cases"], ids=_case_id)
def test_a_hostile_file(case: dict[str, Any], tmp_path: Path) -> None:
    expect = case["expect"]
    values = tmp_path / "values.json"
    values.write_text(json.dumps(case["variables"]), "utf-8")
    child = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
sys.argv = ["personakit", "render", {str(HOSTILE / case["file"])!r},
            "--variables", {str(values)!r}, "--json"]
try:
    runpy.run_module("personakit", run_name="__main__")
finally:
    with open("/proc/self/status") as status, open({str(tmp_path / "peak")!r}, "w") as peak:
        peak.write(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PERSONAKIT_PLUGINS": "",
        **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        **MANIFEST["canary_env"],
    }
    # Well above the 2 s of the manifest: this bounds a hang, not the speed of this machine.
    done = subprocess.run(
        [sys.executable, "-c", child],
        check=False, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=15 * expect["max_seconds"],
    )  # fmt: skip
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err
    assert len(out + err) <= expect["max_output_chars"]
    assert int((tmp_path / "peak").read_text()) <= expect["max_rss_mb"] * 1024
    for absent in expect["output_absent"]:
        assert absent not in out + err
    if expect["outcome"] == "reject":
        assert done.returncode in (1, 2), out
        assert any(word.lower() in err.lower() for word in expect["error_any"]), err
        assert out == ""
    elif expect["outcome"] in ("accept", "literal"):
        assert (done.returncode, err) == (0, "")
        assert json.loads(out)["messages"][0]["content"] == expect["output_equals"]
    else:
        assert expect["outcome"] == "bounded"
        assert done.returncode in (0, 1, 2), err
        assert bool(err) == (done.returncode != 0)
