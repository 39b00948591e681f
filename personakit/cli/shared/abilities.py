"""What a persona can do: shown by `show`, and said once by `run` for a file from elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from personakit.base import counted, private_files, read_file
from personakit.cli.shared import output
from personakit.config import state_folder
from personakit.errors import PersonakitError
from personakit.permissions import allows

if TYPE_CHECKING:
    from personakit.config import Config
    from personakit.persona import Persona
    from personakit.runner import Runner

SEEN = "personas-seen"
NONE = "none"
_MOST_SEEN = 1_000_000  # bytes


def abilities(runner: Runner, persona: Persona) -> dict[str, str]:
    """Return what a persona can do, as a text for each of five topics.

    The topics are ``model``, ``plugins``, ``tools``, ``files`` and ``sends``.
    """
    config = runner.config
    model = config.resolve(persona.model or "")
    model = model or (config.model and f"{config.model} (yours)") or "the embedded one"
    asked = {topic: value or NONE for topic, value in _asked(runner, persona).items()}
    return {"model": model, **asked, "sends": _sends(persona)}


def _asked(runner: Runner, persona: Persona) -> dict[str, str]:
    """Return what a persona asks for, as a text for each topic; empty for nothing."""
    return {
        "plugins": ", ".join(use.name for use in persona.plugins),
        "tools": ", ".join(_tools(runner, persona)),
        "files": ", ".join(_files(runner, persona)),
    }


def say_once(runner: Runner, persona: Persona) -> None:
    """Print on stderr what a persona from outside of the library asks for, once for each file."""
    if not persona.document.folder:
        return
    asked = {topic: value for topic, value in _asked(runner, persona).items() if value}
    if not asked:
        return
    file = Path(os.path.realpath(persona.path))
    folders = (os.path.realpath(folder) for folder in runner.library.folders())
    if any(file.is_relative_to(folder) for folder in folders):
        return
    if _is_new(runner, f"{file}\0{asked}"):
        listed = "; ".join(f"{topic}: {value}" for topic, value in asked.items())
        output.line(
            f"personakit: {persona.path} is not in your library, and uses {listed} "
            f"(said once; `personakit show` shows all)",
            err=True,
        )


def _is_new(runner: Runner, key: str) -> bool:
    """Return whether a key was never noted before, and note it."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    try:
        file = state_folder(runner.config.environ) / SEEN
        known = read_file(file, _MOST_SEEN).decode("ascii").split()
    except FileNotFoundError:
        known = []
    except (OSError, RuntimeError, ValueError):
        return True
    if digest in known:
        return False
    with contextlib.suppress(OSError):
        private_files.make_folder(file.parent)
        lines = "".join(f"{one}\n" for one in (*known[-10_000:], digest))
        private_files.replace(file, [lines.encode()])
    return True


def touching(config: Config, tool: str, touches: Collection[str]) -> str:
    """Return a note after the name of a tool that touches something; else an empty text."""
    allowed = "" if allows(config.allow_tools, tool) else "; not allowed"
    return f" ({', '.join(touches)}{allowed})" if touches else ""


def _tools(runner: Runner, persona: Persona) -> Iterator[str]:
    """Yield the tools that a persona lists, each with what it touches."""
    for name in persona.tools:
        pending = runner.plugins.find("tool", name)
        if pending is None:
            yield f"{name} (of a plugin that it lists)"
        else:
            yield f"{name}{touching(runner.config, name, pending.touched)}"


def _files(runner: Runner, persona: Persona) -> Iterator[str]:
    """Yield the files that it includes, and those that its plugins read or write."""
    with contextlib.suppress(PersonakitError):  # the run reports it
        yield from (f"{path} (included)" for path in runner.catalog.compiled(persona).files)
    for use in persona.plugins:
        try:
            yield from (f"{path} ({use.name})" for path in runner.plugins.paths(use))
        except PersonakitError as error:
            yield f"unknown: {str(error).splitlines()[0][:200]}"


def _sends(persona: Persona) -> str:
    """Return how much a persona sends in a run."""
    from personakit.pipeline import MAX_ROUNDS  # noqa: PLC0415
    from personakit.tokens import count_tokens  # noqa: PLC0415

    texts = [persona.system, *(text for _, text in persona.messages), persona.prompt]
    tokens = sum(count_tokens(text.source)[0] for text in texts if text is not None)
    answer = persona.parameters.get("max_completion_tokens", persona.parameters.get("max_tokens"))
    limit = f"; answers of at most {answer:,} tokens" if isinstance(answer, int) else ""
    more = ", and what its plugins add" if persona.plugins else ""
    rounds = f"; up to {MAX_ROUNDS} calls of the model with tools" if persona.tools else ""
    return f"about {counted(tokens, 'token')} of its own, what you type{more}{limit}{rounds}"
