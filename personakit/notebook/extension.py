"""The IPython extension: registers the magic, and imports what the first run needs."""

from __future__ import annotations

import importlib
import threading
import weakref
from typing import Any

_loaded: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def load_ipython_extension(shell: Any) -> None:
    """Add ``%persona`` and ``%%persona`` to a shell of IPython; a second time changes nothing.

    Args:
        shell: The `InteractiveShell`.
    """
    from IPython.core.magic import no_var_expand  # noqa: PLC0415

    if shell not in _loaded:
        _loaded[shell] = _Lazy(weakref.ref(shell))
    lazy = _loaded[shell]

    @no_var_expand
    def persona(line: str, cell: str | None = None) -> None:
        """Run a persona: the cell is the prompt. ``%persona --help`` shows the options."""
        from personakit.notebook.magics import call  # noqa: PLC0415

        call(lazy.session(), line, lazy.typed(cell))

    shell.register_magic_function(persona, "line_cell", "persona")
    if lazy.note not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", lazy.note)
    if written not in shell.input_transformers_cleanup:
        # After the first one, which removes empty lines above a cell.
        shell.input_transformers_cleanup.insert(1, written)
    from personakit.notebook.questions import Question  # noqa: PLC0415

    if Question not in shell.input_transformer_manager.token_transformers:
        shell.input_transformer_manager.token_transformers.append(Question)
    if not lazy.completes:
        lazy.completes = True
        for key in ("%%persona", "%persona"):
            shell.set_hook("complete_command", lazy.complete, str_key=key)
    # Importing the client takes a second, in which the user writes the first cell.
    threading.Thread(target=_warm, name="personakit-warm", daemon=True).start()


def unload_ipython_extension(shell: Any) -> None:
    """Remove the magics from a shell; its conversations are there again after another load."""
    if shell in _loaded and _loaded[shell].note in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", _loaded[shell].note)
    if written in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(written)
    from personakit.notebook.questions import Question  # noqa: PLC0415

    if Question in shell.input_transformer_manager.token_transformers:
        shell.input_transformer_manager.token_transformers.remove(Question)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("persona", None)
    if shell in _loaded:
        _loaded[shell].close()


def written(lines: list[str]) -> list[str]:
    """Return the lines of a cell of the magic as Python, so that IPython changes no other line.

    It would remove the prompts of a doctest from a cell.
    """
    head, *body = lines or [""]
    if head.startswith("%%persona") and head[9:10].isspace():
        # IPython refuses an empty cell in a message of its own, and lets the cells after it run.
        text = "".join(body) or "\n"
        return [f"get_ipython().run_cell_magic('persona', {head[9:].strip()!r}, {text!r})\n"]
    return lines


# IPython skips such a function where it decides whether a cell that is typed in a terminal is
# complete: one of a magic is after blank lines, one of Python after its first line.
written.has_side_effects = True  # type: ignore[attr-defined]


class _Lazy:
    """The session of a shell, created when the magic is first used."""

    def __init__(self, shell: weakref.ref[Any]) -> None:
        self._shell = shell
        self._session: Any = None
        self.completes = False
        self._raw = ""

    def note(self, info: Any) -> None:
        """Keep the text of the cell that is about to run, as it was written."""
        self._raw = info.raw_cell or ""

    def typed(self, cell: str | None) -> str | None:
        """Return what a cell has below its first line, without a line break that IPython added.

        In a terminal, blank lines end a cell.
        """
        if cell is None:
            return None
        if getattr(self._shell(), "kernel", None) is None:
            return cell.rstrip("\n")
        return cell if self._raw.endswith(f"\n{cell}") else cell.removesuffix("\n")

    def session(self) -> Any:
        from personakit.notebook.session import Session  # noqa: PLC0415

        if self._session is None:
            self._session = Session(self._shell())
        return self._session

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    def complete(self, shell: Any, event: Any) -> list[str]:
        """Return what completes the word before the cursor."""
        if shell.find_line_magic("persona") is None:
            return []
        from personakit.notebook.completion import complete  # noqa: PLC0415

        found: list[str] = complete(self.session(), event.text_until_cursor)
        return found


def _warm() -> None:
    for module in ("personakit.notebook.magics", "personakit.display", "personakit.log", "openai"):
        importlib.import_module(module)
