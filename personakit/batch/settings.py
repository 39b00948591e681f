"""The settings of a batch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from personakit.batch.rows import Columns
from personakit.errors import UsageError, VariableError, did_you_mean, spelled
from personakit.persona import Persona, parameters

if TYPE_CHECKING:
    from personakit.tools import Tool

InFlight = Literal["ask", "resend", "fail"]
MOST_AT_ONCE = 10_000
ATTEMPTS = 5
_SUFFIX = ".jsonl"


class BatchOptions(TypedDict, total=False):
    """The keyword arguments of a batch that have a default.

    Attributes:
        model: ``provider/model`` or an alias; default: the persona's or the config's.
        parameters: Parameters of chat.completions.create().
        tools: Tools in addition to the persona's: functions or `Tool` values.
        timeout: Seconds that the upstream may stay silent; default: the config's, or 600.
        deadline: Seconds that a row may take, without waits for the provider's limits; default:
            the config's, or 1800.
        concurrency: Requests at once; None, the default, finds out how many are best.
        rpm: The most requests a minute; None, the default, for what the provider says.
        tpm: The most tokens a minute; None, the default, for what the provider says.
        attempts: The most attempts of a request, default 5. One that is refused for the rate does
            not count.
        limit: The most rows to run now; None, the default, for all.
        max_usd: US dollars of all runs of the batch after which no row begins; None, the default,
            for no limit.
        max_failures: The batch stops if so many first rows fail, and no row has an answer; None for
            never, default 50.
        grace: Seconds that rows under way have to end when the batch stops; default 30.
        skip_invalid: Whether to leave out rows that do not fit the persona; default: they are an
            error, and nothing is sent.
        retry_failed: Whether to send the rows that failed earlier again, too; default False.
        in_flight: What becomes of rows that were under way when the last process was killed, and
            may have been paid: ``ask``, the default, raises `UnderWay`, ``resend`` sends them
            again, ``fail`` counts them as failed.
        durable: Whether each answer waits for the disk, for power cuts; default False.
        force_mixed: Whether to go on although the persona, the model or the settings have changed;
            default False.
        dedupe: Whether rows with equal content are sent once in all, which is the default.
    """

    model: str | None
    parameters: Mapping[str, Any] | None
    tools: Iterable[Tool | Callable[..., Any]]
    timeout: float | None
    deadline: float | None
    concurrency: int | None
    rpm: float | None
    tpm: float | None
    attempts: int
    limit: int | None
    max_usd: float | None
    max_failures: int | None
    grace: float
    skip_invalid: bool
    retry_failed: bool
    in_flight: InFlight
    durable: bool
    force_mixed: bool
    dedupe: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """How a batch runs; see `BatchOptions`.

    Raises:
        UsageError: A value is out of range.
    """

    out: Path
    columns: Columns = field(default_factory=Columns)
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    attempts: int = ATTEMPTS
    limit: int | None = None
    max_usd: float | None = None
    grace: float = 30.0
    max_failures: int | None = 50
    skip_invalid: bool = False
    retry_failed: bool = False
    in_flight: InFlight = "ask"
    durable: bool = False
    force_mixed: bool = False
    dedupe: bool = True
    timeout: float | None = None
    deadline: float | None = None
    tools: tuple[Any, ...] = ()

    @classmethod
    def of(cls, out: Path, columns: Columns, given: Mapping[str, Any]) -> Settings:
        """Return the settings that keyword arguments of a batch give.

        Raises:
            UsageError: One is unknown, or its value is out of range.
        """
        known = BatchOptions.__annotations__
        for name in given:
            if name not in known:
                names = [*known, "input", "keep", "key", "map", "out", "runner", "variables"]
                hint = did_you_mean(name, names)
                listed = "" if hint else f"; a batch takes {', '.join(sorted(names))}"
                raise UsageError(f"unknown argument {name!r}{hint or listed}")
        values = dict(given)
        values["parameters"] = dict(values.get("parameters") or {})
        values["tools"] = tuple(values.get("tools") or ())
        parameters.check(values["parameters"])
        return cls(out, columns, **values)

    def __post_init__(self) -> None:
        if self.out.is_dir():
            raise UsageError(
                f"{self.out}: it is a folder; give the name of a file in it, such as out.jsonl"
            )
        if self.out.suffix != _SUFFIX:
            name = spelled(python="out", terminal="-o")
            raise UsageError(
                f"{name} must be a file that ends in {_SUFFIX}, found {str(self.out)!r}; "
                f"use {str(self.out.with_suffix(_SUFFIX))!r}, and `personakit batch export` for "
                "other formats"
            )
        if not (folder := self.out.parent).is_dir():
            made = shlex.join(["mkdir", "-p", str(folder)])
            raise UsageError(f"{self.out}: there is no folder {str(folder)!r}; make it: {made}")
        if self.in_flight not in get_args(InFlight):
            hint = did_you_mean(str(self.in_flight), get_args(InFlight))
            raise UsageError(
                f"in_flight must be ask, resend or fail, found {self.in_flight!r}{hint}"
            )
        _check_count("concurrency", self.concurrency, MOST_AT_ONCE)
        _check_count("attempts", self.attempts, 100)
        _check_count("limit", self.limit, None)
        _check_count("max_failures", self.max_failures, None)
        for name in ("rpm", "tpm", "max_usd", "timeout", "deadline"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise UsageError(f"{name} must be a number above 0, found {value!r:.80}")
        if not (_is_number(self.grace) and 0 <= self.grace < math.inf):
            raise UsageError(f"grace must be a number of seconds from 0 on, found {self.grace!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: Any, most: int | None) -> None:
    if value is None:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        upper = f"1 to {most:,}" if most is not None else "1 or more"
        raise UsageError(f"{name} must be {upper}, found {value!r}")


def checked_variables(persona: Persona, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables that are the same in all rows.

    Args:
        persona: Declares them.
        variables: The variables.

    Raises:
        VariableError: One is unknown, or its value is invalid.
    """
    for name, value in variables.items():
        variable = persona.variables.get(name)
        if variable is None:
            known = ", ".join(persona.variables) or "none"
            hint = did_you_mean(name, persona.variables) or f" (declared: {known})"
            raise VariableError(f"unknown variable {name!r} of {persona.name!r}{hint}")
        for fault in variable.faults(value):
            raise VariableError(f"variable {name + fault.where!r}: {fault.message}")
    return dict(variables)


def checked_names(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns to keep.

    Raises:
        UsageError: It is a text.
    """
    if isinstance(columns, str):
        raise UsageError(f"keep must be a list of columns, found {columns!r}: write [{columns!r}]")
    return tuple(columns)
