"""`personakit render --diff`: compare the messages with another persona or other variables."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personakit.cli.shared import output
from personakit.cli.shared.options import chosen_values
from personakit.messages import Request
from personakit.persona import Persona
from personakit.providers import AUTO
from personakit.runner import Runner

Part = tuple[str, str]  # a role and a text
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class Other:
    """The second side of a comparison.

    Attributes:
        persona: The other persona, or the same one.
        label: Its name in the output.
        pair: A variable only for this side, in the form of ``-v``.
        file: A file of variables only for this side.
    """

    persona: Persona
    label: str
    pair: str | None = None
    file: str | None = None

    def variables(self, pairs: tuple[str, ...], file: str | None) -> dict[str, Any]:
        """Return the variables of this side: its own and those of the first side that it declares.

        Raises:
            UsageError: A value is invalid.
        """
        shared = chosen_values(self.persona, pairs, file, ())["variables"]
        shared = {n: value for n, value in shared.items() if n in self.persona.variables}
        own = (self.pair,) if self.pair else ()
        return {**shared, **chosen_values(self.persona, own, self.file, ())["variables"]}


def other(runner: Runner, first: Persona, wanted: str, stdin: str | None) -> Other:
    """Return the other side that ``--diff`` specifies.

    Args:
        runner: Loads personas.
        first: The persona of the first side.
        wanted: ``NAME=VALUE``, ``@FILE`` of variables, a persona, or ``-`` for one on stdin.
        stdin: The text of standard input, for ``-``.
    """
    if stdin is not None:
        path = f"<stdin>/{first.name}.yaml"
        return Other(Persona.parse(stdin, path, parents=runner.library.parents()), "standard input")
    if wanted.startswith("@"):
        return Other(first, wanted, file=wanted[1:])
    if "=" in wanted and not Path(wanted).exists():
        return Other(first, wanted, pair=wanted)
    return Other(runner.load(wanted), wanted)


def show(first: Request, second: Request, label: str) -> int:
    """Print the differences between two requests; return 1 if there are any, as diff does."""
    labels = (first.persona, label)
    lines = list(_differences(list(_parts(first)), list(_parts(second)), labels))
    for line in lines:
        colour = None if line[:3] in ("---", "+++") else _COLOURS.get(line[:1])
        output.echo(line, fg=colour, bold=line[:3] in ("---", "+++"))
    if not lines:
        output.echo("No differences.", err=True)
    return 1 if lines else 0


def _parts(request: Request) -> Iterator[Part]:
    """Yield each message, then the model and the parameters as one part."""
    for message in request.messages:
        yield message.role, message.text
    model = {"model": request.model} if request.model else {}
    api = {} if request.api == AUTO else {"api": request.api}
    settings = {**model, **api, **output.plain(request.parameters)}
    yield "parameters", "".join(f"{name}: {value}\n" for name, value in settings.items())


def _differences(old: list[Part], new: list[Part], labels: tuple[str, str]) -> Iterator[str]:
    """Yield the lines of a unified diff for each message that differs."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        for before, after in itertools.zip_longest(old[i:i_end], new[j:j_end]):
            if before and after and before[0] != after[0]:
                yield from _diff(before, None, labels)
                yield from _diff(None, after, labels)
            else:
                yield from _diff(before, after, labels)


def _diff(before: Part | None, after: Part | None, labels: tuple[str, str]) -> Iterator[str]:
    heads = [
        f"{part[0]}  {label}" if part else f"(no message)  {label}"
        for part, label in zip((before, after), labels, strict=True)
    ]
    texts = [_lines(part[1] if part else "") for part in (before, after)]
    if texts == [[], []]:  # an empty message that only one side has
        yield from (f"--- {heads[0]}", f"+++ {heads[1]}")
    yield from difflib.unified_diff(texts[0], texts[1], heads[0], heads[1], lineterm="")


def _lines(text: str) -> list[str]:
    """Return the lines of a text, with a marker if it does not end with a newline, as diff does."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n\\ No newline at end of message"] if last else lines
