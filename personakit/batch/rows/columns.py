"""Which column of a table is which: variables, input, key, and what is copied."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from personakit.base import brief
from personakit.batch.rows.source import Source
from personakit.errors import UsageError, did_you_mean, spelled
from personakit.persona import Persona

_MOST_NAMES = 2000
"""The most characters of a list of columns in a message."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How the columns of a source are used.

    A variable takes the column of its name. A value in `fixed` counts for all rows, whatever the
    column of that name has.

    Attributes:
        key: The column of the key; None for a hash of the content.
        input: The column of the user's message; None for none.
        names: The column of a variable, where it has another name.
        keep: The columns that are copied to the output.
        fixed: Values of variables that are the same in all rows.
    """

    key: str | None = None
    input: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def variables(self, persona: Persona) -> dict[str, str]:
        """Return the column of each variable that has no fixed value.

        Raises:
            UsageError: A variable in `names` is unknown, or has a fixed value, too.
        """
        option = spelled(python="map", terminal="--map")
        for name, column in self.names.items():
            if name not in persona.variables:
                known = ", ".join(persona.variables) or "none"
                hint = did_you_mean(name, persona.variables)
                raise UsageError(
                    f"{option} {name}={column}: {persona.name!r} has no variable "
                    f"{name!r}{hint} (declared: {known})"
                )
            if name in self.fixed:
                other = spelled(python="variables", terminal="-v")
                raise UsageError(
                    f"variable {name!r} has a column by {option}, and a value for all rows by "
                    f"{other}; leave one of them out"
                )
        return {
            name: self.names.get(name, name) for name in persona.variables if name not in self.fixed
        }

    def check(self, known: Collection[str], source: Source, persona: Persona) -> None:
        """Check that a source has the columns that are used.

        Args:
            known: The names of its columns.
            source: The source.
            persona: Declares the variables.

        Raises:
            UsageError: It lacks some; the message lists all of them.
        """
        faults, variables = [], self.variables(persona)
        options: list[tuple[str, str, str | None]]
        options = [(f"--map {name}=", f"map[{name!r}]", it) for name, it in self.names.items()]
        options += [("--input ", "input", self.input), ("--key ", "key", self.key)]
        options += [("--keep ", "keep", column) for column in self.keep]
        for terminal, python, column in options:
            if column is not None and column not in known:
                option = spelled(python=f"{python}={column!r}", terminal=f"{terminal}{column}")
                hint = did_you_mean(column, known)
                faults.append(f"{option}: {source.name} has no column {column!r}{hint}")
        for name, column in variables.items():
            missing = name not in self.names and column not in known
            if persona.variables[name].required and missing:
                hint = did_you_mean(column, known, f"--map {name}={{}}".format)
                faults.append(
                    f"variable {name!r} is required, and {source.name} has no column of that "
                    f"name{hint or _ways(name)}"
                )
        used = self.input in known or not {*variables.values()}.isdisjoint(known)
        if not faults and not used and persona.variables:
            faults.append(
                f"no column of {source.name} is a variable of {persona.name!r} (declared: "
                f"{', '.join(persona.variables)}), and none is the input{_ways('VARIABLE')}"
            )
        if faults:
            details = f", {source.details}" if source.details else ""
            names = brief(", ".join(map(repr, known)) or "none", _MOST_NAMES)
            raise UsageError("\n".join([*faults, f"columns of {source.name}{details}: {names}"]))


def _ways(name: str) -> str:
    column = spelled(python=f"map={ {name: 'COLUMN'} }", terminal=f"--map {name}=COLUMN")
    value = spelled(python=f"variables={ {name: '…'} }", terminal=f"-v {name}=…")
    return f"; name its column with {column}, or give one value for all rows with {value}"
