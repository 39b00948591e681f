"""The views of `personakit render`: tokens, differences, origins and watching."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from personakit import tokens
from personakit.base import State, state_of
from personakit.cli.shared import compare, explain, output
from personakit.cli.shared.input import stdin_text
from personakit.cli.shared.options import chosen_values, with_fragments
from personakit.cli.shared.output import show_request
from personakit.config import expanded
from personakit.errors import PersonaError, PersonakitError, UsageError
from personakit.messages import Request
from personakit.persona import Persona
from personakit.runner import Runner

INTERVAL = 0.3
PATIENCE = 12


@dataclass(frozen=True, slots=True)
class Views:
    """The options that select the views, by their names."""

    watch: bool = False
    diff: str | None = None
    tokens: bool = False
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The arguments of the command line that determine the request."""

    persona: str
    prompt: str | None
    model: str | None
    pairs: tuple[str, ...]
    file: str | None
    settings: tuple[str, ...]
    fragments: tuple[str, ...] = ()

    def origins(self, persona: Persona) -> dict[str, str]:
        """Return the option that sets each variable, parameter (after a ``.``) and ``model``."""
        file = chosen_values(persona, (), self.file, ())["variables"] if self.file else {}
        origins = dict.fromkeys(file, f"--variables {self.file}")
        origins |= {pair.partition("=")[0]: "-v" for pair in self.pairs}
        origins |= {f".{pair.partition('=')[0]}": "-p" for pair in self.settings}
        return origins | ({"model": "-m"} if self.model else {})


class Preview:
    """Renders a persona and shows the views, once or after every change."""

    def __init__(self, runner: Runner, wanted: Wanted, views: Views) -> None:
        if views.diff is not None and views.explain:
            raise UsageError("--diff and --explain cannot be combined; choose one")
        self.runner = runner
        self.wanted = wanted
        self.views = views
        self.stdin = self._stdin()
        self.files: dict[Path, State] = {}

    def _stdin(self) -> str | None:
        """Read the persona of ``--diff -``; standard input can be read only once."""
        texts = (*self.wanted.pairs, self.views.diff or "")
        reads = "-" in self.wanted.fragments or any(text.endswith("=@-") for text in texts)
        if self.views.watch and reads:
            raise UsageError("--watch cannot read standard input again; specify a file")
        return stdin_text() if self.views.diff == "-" else None

    def run(self) -> int:
        """Show the views once, or until Ctrl-C with `watch`; return the exit code."""
        return self._watch() if self.views.watch else self.show()

    def show(self) -> int:
        """Render and print once; return the exit code."""
        persona = self.runner.load(self.wanted.persona)
        self._note(persona)
        options = (self.wanted.pairs, self.wanted.file, self.wanted.settings)
        chosen = chosen_values(persona, *options)
        prompt = with_fragments(self.wanted.fragments, self.wanted.prompt)
        model = self.wanted.model
        request = self.runner.render(persona, prompt, model=model, **chosen)
        if self.views.diff is not None:
            return self._diff(persona, request, prompt, chosen["parameters"])
        if self.views.explain:
            origins = self.wanted.origins(persona)
            explain.show(self.runner, persona, request, origins, prompt is not None)
            output.echo() if self.views.tokens else None
        else:
            show_request(request, _notes(request) if self.views.tokens else [])
        if self.views.tokens:
            _legend(request)
        return 0

    def _diff(
        self, persona: Persona, request: Request, prompt: str | None, parameters: dict[str, Any]
    ) -> int:
        wanted = self.wanted
        other = compare.other(self.runner, persona, self.views.diff or "", self.stdin)
        self._note(other.persona)
        second = self.runner.render(
            other.persona,
            prompt,
            variables=other.variables(wanted.pairs, wanted.file),
            model=wanted.model,
            parameters=parameters,
        )
        code = compare.show(request, second, other.label)
        if self.views.tokens:
            old, new = _counts(request), _counts(second)
            output.line(f"{_sum(old)} before, {_sum(new)} after", dim=True)
            _legend(request)
        return code

    # --- watching -------------------------------------------------------------------------------

    def _watch(self) -> NoReturn:
        """Show the views again whenever a file changes, until Ctrl-C."""
        first = True
        while True:
            self._attempt(first)
            first = False
            output.line("Watching; Ctrl-C stops.", dim=True, err=True)
            changed = self._change()
            output.echo()
            output.line(f"=== {time.strftime('%H:%M:%S')}  {changed}", bold=True)

    def _attempt(self, first: bool) -> None:
        """Show the views or the error; raise a first error that editing the files cannot fix."""
        try:
            self.show()
        except PersonakitError as error:
            if first and not isinstance(error, PersonaError):
                raise
            problems = error.problems if isinstance(error, PersonaError) else ()
            self._remember([Path(problem.path) for problem in problems if problem.path])
            output.say_error(str(error))

    def _change(self) -> Path:
        """Return the next file that changes, after it has been written completely."""
        while True:
            time.sleep(INTERVAL)
            changed = next((f for f, state in self.files.items() if _state(f) != state), None)
            if changed is None:
                continue
            now: State = None
            for _ in range(PATIENCE):
                before, now = now, _state(changed)
                if now is not None and now == before:
                    break
                time.sleep(INTERVAL / 6)
            self.files = {file: _state(file) for file in self.files}
            return changed

    def _note(self, persona: Persona) -> None:
        """Watch the files of a persona and the files that the options specify."""
        if not self.views.watch:
            return
        texts = [text.partition("=")[2] for text in self.wanted.pairs]
        diff = self.views.diff or ""
        texts.append(diff if diff.startswith("@") else diff.partition("=")[2])
        named = [text[1:] for text in texts if text.startswith("@")]
        named += [self.wanted.file] if self.wanted.file else []
        named += [one for one in self.wanted.fragments if "://" not in one]
        self._remember(map(expanded, named))
        self._remember([Path(it.path) for it in explain.lineage(self.runner, persona)])
        for part in self.runner.catalog.compiled(persona).everything():
            self._remember(part.unit.files if part.unit is not None else ())

    def _remember(self, files: Iterable[Path]) -> None:
        for file in files:
            self.files.setdefault(file, _state(file))


def _state(file: Path) -> State:
    try:
        return state_of(file)
    except PersonaError:
        return None


def _counts(request: Request) -> list[tuple[int, bool]]:
    return [tokens.count_tokens(it.text, request.model) for it in request.messages]


def _sum(counts: list[tuple[int, bool]]) -> str:
    total = sum(count for count, _ in counts)
    return _shown(total, all(exact for _, exact in counts))


def _shown(count: int, exact: bool) -> str:
    return f"{'' if exact else '≈'}{count:,} token{'' if count == 1 else 's'}"


def _notes(request: Request) -> list[str]:
    """Return the notes with token counts for each role and for the model."""
    counts = _counts(request)
    return [*(f" ({_shown(*count)})" for count in counts), f", {_sum(counts)}"]


def _legend(request: Request) -> None:
    """Print the reason if the counts are estimates."""
    reason = tokens.why_estimated(request.model)
    if reason:
        output.line(f"≈ estimated: {reason}", dim=True)
