"""A template gives the text that plain Jinja2 gives, or one error; the same every time.

``PERSONAKIT_EXAMPLES=20000`` tries so many templates, as `just properties` does.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jinja2
import pytest
from helpers.grammar import PLAIN, TEMPLATE, VALUES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personakit import Config, PersonakitError, Runner

SHARDS = 2
EXAMPLES = int(os.environ.get("PERSONAKIT_EXAMPLES", "150")) // SHARDS
START = (
    "{% set ns = namespace(a=1, b='B') %}{% macro o(p=1, q=2) %}{{ p }}{{ q }}{% endmacro %}"
    "{% if not b %}{% set missing = 1 %}{% set v = 1 %}{% set w = 1 %}{% endif %}"
)
# What is refused though Jinja gives a text for it: each has a reason of its own.
REFUSED = re.compile(
    r"cannot write nothing \(null\)|is not allowed in a prompt|is undefined"
    r"|has no (?:field|item)|the limit (?:is|of)|is a method that every mapping"
    r" has|sum accepts numbers"
    r"|attribute '.*' of|No (?:aggregated|first|last) item, sequence was empty"
    r"|indent of tojson|calls itself too deep|is too large|a prompt is not HTML|is not safe"
    r"|access to attribute|not JSON serializable|allowed range"
)


def declared(values: dict[str, Any]) -> dict[str, Any]:
    """Return the declarations of variables that take these values."""
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return {
        name: {"type": kinds.get(type(value), "string"), "required": True}
        for name, value in values.items()
    }


def plain(files: dict[str, str]) -> jinja2.Environment:
    """Return plain Jinja with the options that personakit has."""
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.loopcontrols"],
        loader=jinja2.DictLoader(files),
    )
    env.filters["tojson"] = lambda v, indent=None: json.dumps(v, ensure_ascii=False, indent=indent)
    return env


class Library:
    """A folder with one persona and its partials, rendered both ways."""

    def __init__(self, folder: Path, system: str, partials: dict[str, str], **more: Any) -> None:
        for name, text in partials.items():
            (folder / name).write_text(text, "utf-8", newline="")
        data = {"system": system, **more}
        (folder / "a.yaml").write_text(json.dumps(data), "utf-8")
        self.runner = Runner(Config(path=(folder,)))
        self.persona = self.runner.load("a")
        self.plain = plain({**partials, "a": system})

    def ours(self, values: dict[str, Any]) -> tuple[str, str]:
        """Return the text or the error."""
        try:
            return "text", self.runner.render(self.persona, variables=values).system
        except PersonakitError as error:
            return "error", str(error)

    def theirs(self, values: dict[str, Any]) -> tuple[str, str]:
        """Return the text of plain Jinja, or its error."""
        try:
            return "text", self.plain.get_template("a").render(json.loads(json.dumps(values)))
        except Exception as error:
            return "error", f"{type(error).__name__}: {error}"


def check(system: str, partials: dict[str, str], values: dict[str, Any]) -> bool:
    """Compare both; tell whether they gave a text."""
    with tempfile.TemporaryDirectory() as folder:
        both = Library(Path(folder), system, partials, variables=declared(values))
        found = [both.ours(values) for _ in range(2)]
        assert len(set(found)) == 1, found
        kind, said = found[0]
        theirs = both.theirs(values)
        if kind == "text":
            assert theirs == ("text", said)
        elif theirs[0] == "text":
            assert REFUSED.search(said), (said, theirs[1])
        return kind == "text"


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_template_gives_what_plain_jinja_gives(shard: int) -> None:
    texts: list[bool] = []

    @settings(
        deadline=None,
        max_examples=EXAMPLES,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(
        TEMPLATE, TEMPLATE, TEMPLATE,
        st.lists(PLAIN, max_size=3),
        st.dictionaries(st.text("abk", max_size=2), PLAIN, max_size=3),
    )  # fmt: skip
    def run(system: str, one: str, two: str, items: list[Any], held: dict[str, Any]) -> None:
        values = {**VALUES, "m": items or VALUES["m"], "d": {**held, **VALUES["d"]}}
        two = re.sub(r"include '..md'( ignore missing)?", "set q = 1", two)  # no circle
        one = one.replace("'p.md'", "'q.md'")
        texts.append(check(START + system, {"p.md": one, "q.md": two}, values))

    run()
    assert sum(texts) > len(texts) / 2, "too few templates give a text for this to say much"
