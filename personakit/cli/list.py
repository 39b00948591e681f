"""`personakit list`."""

from __future__ import annotations

import gc
import itertools
import json
import sys
from collections.abc import Iterable, Iterator

import click

from personakit.base import SCHEME
from personakit.cli.shared import output
from personakit.cli.shared.options import make_library
from personakit.errors import PersonaError, did_you_mean
from personakit.library import Progress, Summary


@click.command("list")
@click.argument("words", nargs=-1)
@click.option("-t", "--tag", "tags", multiple=True, help="Only personas with this tag. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(words: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """List the personas that can be run by name.

    WORDS select those whose names, descriptions or tags contain all of them. A word such as db:
    selects the personas of that loader of a plugin.
    """
    wanted, texts = set(tags), [word.lower() for word in words]
    known: set[str] = set()
    count = 0
    broken: list[PersonaError] = []
    # On one terminal, the bar would erase lines that are printed meanwhile.
    is_mixed = as_json and sys.stdout.isatty()
    shown = (lambda *_: None) if is_mixed else output.progress("reading personas")
    # With 100,000 personas, garbage collection takes a tenth of the time and finds nothing.
    gc.disable()

    def progress(done: int, total: int) -> None:
        gc.enable()
        shown(done, total)

    def found() -> Iterator[Summary]:
        nonlocal count
        for persona in _personas(words, progress):
            if isinstance(persona, PersonaError):
                broken.append(persona)
            elif wanted.issubset(persona.tags) and (not texts or _contains(persona, texts)):
                count += 1
                yield persona
            elif wanted:
                known.update(persona.tags)

    if as_json:
        _print_json(found())
    else:
        output.table(
            ("name", "description", "tags"),
            ((p.name, p.description, ", ".join(p.tags)) for p in found()),
        )
    if not count and (words or tags):
        output.line(_nothing(words, tags, known), err=True)
    for error in broken:
        output.echo(f"skipped: {error}", err=True)


def _personas(words: Iterable[str], progress: Progress) -> Iterator[Summary | PersonaError]:
    """Yield the personas of the library and of plugins; of one plugin if a word is its scheme."""
    library = make_library()
    for word in words:
        scheme, colon, _ = word.partition(":")
        if colon and SCHEME.match(scheme):
            yield from library.listed(scheme)
            return
    yield from library.summaries(progress)
    yield from library.listed()


def _contains(persona: Summary, texts: list[str]) -> bool:
    whole = " ".join((persona.name, persona.description, *persona.tags)).lower()
    return all(text in whole for text in texts)


def _nothing(words: Iterable[str], tags: Iterable[str], known: set[str]) -> str:
    """Return that nothing matches, and what would."""
    unknown = [tag for tag in tags if tag not in known]
    if unknown:
        listed = f"; the tags are {', '.join(sorted(known))}" if known else ""
        return f"no persona has the tag {unknown[0]!r}{did_you_mean(unknown[0], known) or listed}"
    chosen = [*words, *(f"tag {tag}" for tag in tags)]
    return f"no persona matches {', '.join(chosen)}; `personakit list` shows all"


def _print_json(rows: Iterator[Summary]) -> None:
    """Print personas as they are read, in a third of the time of `output.print_json`."""
    write = json.JSONEncoder(ensure_ascii=False).encode
    begin = "[\n"
    while piece := list(itertools.islice(rows, 1000)):
        texts = [
            f'  {{\n    "name": {write(p.name)},\n    "description": {write(p.description)},\n'
            f'    "tags": {_list(list(map(write, p.tags)))},\n    "version": {write(p.version)},\n'
            f'    "path": {write(p.path)}\n  }}'
            for p in piece
        ]
        output.echo(begin + ",\n".join(texts), end="")
        begin = ",\n"
    output.echo("[]" if begin == "[\n" else "\n]")


def _list(texts: list[str]) -> str:
    return "[\n      " + ",\n      ".join(texts) + "\n    ]" if texts else "[]"
