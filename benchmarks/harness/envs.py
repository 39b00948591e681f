"""The environments: one a peer, made by uv when it is first needed and kept for the next time."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / "benchmarks" / ".cache"
"""What the harness makes; git ignores it, and it can be removed at any time."""

OURS = {
    "personakit": "",
    "personakit-aiohttp": "[aiohttp]",
    "personakit-serve": "[serve]",
    "personakit-mcp": "",
    "before": "",
}
"""The environments with personakit, from a checkout and with an extra."""

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "jinja2": ("jinja2",),
    "openai": ("openai",),
    "openai-aiohttp": ("openai[aiohttp]",),
    "llm": ("llm",),
    "litellm": ("litellm",),
    "litellm-proxy": ("litellm[proxy]",),
    "langchain": ("langchain-openai", "jinja2"),
    "pydantic-ai": ("pydantic-ai-slim[openai]",),
    "prompty": ("prompty[openai,jinja2]",),
    "banks": ("banks",),
    "haystack": ("haystack-ai",),
    "semantic-kernel": ("semantic-kernel",),
}
"""What is installed in the others; the newest of everything."""

_PLUGIN = "personakit-redact"
_MORE = {"personakit-mcp": "personakit-mcp"}
"""The plugin of all of our environments, and that of one alone."""
_SERVING = {
    "personakit-serve": "uvicorn",
    "personakit-mcp": "personakit_mcp",
    "openai-aiohttp": "aiohttp",
}
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
_QUIET = {
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
"""Nothing but the loopback is to be talked to."""


class Missing(Exception):
    """An environment could not be made."""


def _uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        raise Missing("there is no uv; install it with `pip install uv`")
    return found


@dataclass(slots=True)
class Environments:
    """Interpreters by name.

    Attributes:
        own: Use the interpreter that runs the harness, which has personakit, openai and jinja2,
            maybe the extra `serve`, and nothing else: for trying the harness out.
        checkout: The source of personakit.
        before: The source of the personakit that it is compared with, as environment ``before``.
    """

    own: bool = False
    checkout: Path = ROOT
    before: Path | None = None
    _made: dict[str, str | Missing] = field(default_factory=dict)

    def python(self, name: str) -> str:
        """Return the interpreter of an environment, which is made if it is not there.

        Raises:
            Missing: It cannot be made; the message ends as uv's does.
        """
        if name not in self._made:
            try:
                self._made[name] = self._python(name)
            except Missing as missing:
                self._made[name] = missing
        made = self._made[name]
        if isinstance(made, Missing):
            raise made
        return made

    def _python(self, name: str) -> str:
        if not self.own:
            checkout = self.before if name == "before" else self.checkout
            if checkout is None or name not in OURS:
                return _installed(name, REQUIREMENTS[name])
            plugins = [_PLUGIN, *([_MORE[name]] if name in _MORE else [])]
            folders = [str(checkout / "plugins" / plugin) for plugin in plugins]
            wanted = (f"{checkout}{OURS[name]}", *folders)
            of = "-".join(checkout.parts[1:])
            return _installed(f"{name}-of-{of}", wanted, again=True)
        if name in _SERVING and importlib.util.find_spec(_SERVING[name]):
            return sys.executable
        if name not in ("personakit", "before", "openai", "jinja2"):
            raise Missing("not asked for")
        return sys.executable

    def script(self, name: str, program: str) -> str:
        """Return a program of an environment."""
        return str(Path(self.python(name)).with_name(program))

    def environ(self, **more: str) -> dict[str, str]:
        """Return variables without anybody's keys, proxies and settings."""
        kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
        return {
            **kept,
            **({"PYTHONPATH": str(self.checkout)} if self.own else {}),
            **_QUIET,
            **more,
        }


def _installed(name: str, wanted: tuple[str, ...], *, again: bool = False) -> str:
    """Return the interpreter of an environment; what is in it is kept until the cache is removed.

    Args:
        name: The folder's.
        wanted: What is installed.
        again: Install personakit anew, so that it is the code as it stands.
    """
    folder = CACHE / "envs" / name
    made, interpreter = folder / "made-of", folder / "bin" / "python"
    text = "\n".join((sys.version, *wanted))
    if not again and made.is_file() and made.read_text("utf-8") == text:
        return str(interpreter)
    if not interpreter.exists():
        # The base, because an environment of an environment is none of its own.
        base = sys._base_executable  # type: ignore[attr-defined]
        _run("venv", "--quiet", "--python", base, str(folder))
    own = ["personakit", _PLUGIN, *_MORE.values()]
    more = [word for package in own for word in ("--reinstall-package", package)]
    # Without the sources of the workspace, which would put a link to the checkout in its place.
    how = ["--quiet", "--compile-bytecode", "--no-sources", "--python", str(interpreter)]
    _run("pip", "install", *how, *(more if again else []), *wanted)
    made.write_text(text, "utf-8")
    return str(interpreter)


def _run(*arguments: str) -> None:
    # Elsewhere, because the project's own settings of uv are not the peers'.
    done = subprocess.run(
        [_uv(), *arguments], cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(done.stderr.strip()[-300:] or f"uv ended with {done.returncode}")
