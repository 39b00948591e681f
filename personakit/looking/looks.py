"""A look at a text of an editor: lint, persona, rendered request and tokens, in one go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personakit.base import Texts, counted, overlaid
from personakit.errors import (
    ConfigError,
    PersonaError,
    PersonakitError,
    Problem,
    TemplateError,
    UsageError,
    VariableError,
)
from personakit.frozen import FrozenDict, freeze
from personakit.linting import Examined, Finding, Linter
from personakit.messages import Request
from personakit.persona import Persona, missing
from personakit.runner import Runner
from personakit.tokens import count_tokens

_EMPTY: dict[str, Any] = {"array": [], "object": {}}
_PROMPT = "…"


@dataclass(frozen=True, slots=True)
class Look:
    """What `look` finds.

    Attributes:
        findings: The problems that `personakit lint` reports for the text, sorted.
        persona: The persona, as far as it could be parsed; None if it could not.
        request: The rendered request; None if an error stops it, or if its model has no provider.
        error: The reason why there is no request, with its place where that is known; otherwise
            None. That of an invalid variable is its declaration.
        tokens: For each message the number of its tokens, and whether it is exact. It is an
            estimate if the vocabulary of the model is not known or not installed.
        samples: The values that were made up for required variables: the `example` of the
            declaration, its first allowed value, or a value of its type.
        prompt: The prompt that was made up, since `prompt:` cannot be rendered without one; None if
            it was given or is not needed, or if there is no request.
    """

    findings: tuple[Finding, ...] = ()
    persona: Persona | None = None
    request: Request | None = None
    error: Problem | None = None
    tokens: tuple[tuple[int, bool], ...] = ()
    samples: Mapping[str, Any] = field(default_factory=FrozenDict)
    prompt: str | None = None

    def __repr__(self) -> str:
        name = f" at {self.persona.name!r}" if self.persona else ""
        findings, messages = len(self.findings), len(self.tokens)
        counts = f"{counted(findings, 'finding')}, {counted(messages, 'message')}"
        return f"<Look{name}: {counts}{f', error: {self.error}' if self.error else ''}>"


def look(
    runner: Runner,
    path: str | Path,
    text: str | bytes,
    *,
    variables: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    model: str | None = None,
    texts: Texts | None = None,
) -> Look:
    """Lint and render the text of a persona file as if it were saved; nothing is run or sent.

    Whatever the text is, no exception is raised for it: each of its errors is in the result. No
    plugin changes the request; see `Runner.render`.

    Args:
        runner: Provides the library, the plugins and the config.
        path: The path at which the text would be saved; no file needs to be there.
        text: The YAML text. Bytes must be UTF-8.
        variables: Values for the persona's variables. A required variable without one gets a
            sample; see `Look.samples`.
        prompt: The user's message; None for a request without one, with a sample if the persona
            needs one; see `Look.prompt`.
        model: ``provider/model`` or an alias; None for the persona's or the config's.
        texts: Further texts that are not saved, by path, which the persona can extend or include.

    Raises:
        UsageError: An argument has the wrong type, or the path contains a NUL character.
    """
    _check(runner, path, text, texts, variables)
    _check_texts(prompt=prompt, model=model)
    overlay = {**{Path(at): other for at, other in (texts or {}).items()}, Path(path): text}
    linter = Linter(runner, texts=overlay)
    # The texts are also read while rendering.
    with overlaid(overlay):
        examined = linter.examine(Path(path))
        findings, persona = tuple(examined.findings), examined.persona
        if persona is None or examined.stops:
            return Look(findings, persona, error=next(iter(examined.stops), None))
        samples = FrozenDict(freeze(dict(_samples(persona, variables or {}))))
        values = {**(variables or {}), **samples}
        try:
            request, made_up = _previewed(runner, examined, prompt, values, model)
        except PersonakitError as error:
            problem = linter.placed(_problem(error, persona, values))
            return Look(findings, persona, error=problem, samples=samples)
    tokens = tuple(count_tokens(message.text, request.model) for message in request.messages)
    return Look(findings, persona, request, None, tokens, samples, made_up)


def _check(runner: Any, path: Any, text: Any, texts: Any, variables: Any) -> None:
    """Raise UsageError for an argument of the wrong type."""
    if not isinstance(runner, Runner):
        raise UsageError(f"runner must be a Runner, found {type(runner).__name__}")
    if not isinstance(texts or {}, Mapping):
        found = type(texts).__name__
        raise UsageError(f"texts must be a mapping of paths to texts, found {found}")
    for at, value in ((path, text), *(texts or {}).items()):
        if not isinstance(at, str | os.PathLike) or "\0" in str(at):
            raise UsageError(f"a path must be a string without NUL characters, found {at!r}")
        if not Path(at).name:
            raise UsageError(f"a path must name a file, found {str(at)!r}; write 'chef.yaml'")
        if not isinstance(value, str | bytes):
            found = type(value).__name__
            raise UsageError(f"the text of {at} must be a string or bytes, found {found}")
    if not isinstance(variables or {}, Mapping):
        found = type(variables).__name__
        raise UsageError(f"variables must be a mapping of names to values, found {found}")


def _check_texts(**given: Any) -> None:
    """Raise UsageError for an argument that is neither a string nor None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name} must be a string, found {type(value).__name__}")


def _samples(persona: Persona, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a value for each required variable without one, if a valid one can be made up."""
    for name, variable in persona.variables.items():
        if variable.required and name not in given:
            for value in (variable.sample(), _EMPTY.get(variable.type)):
                if not variable.faults(value):
                    yield name, value
                    break


def _previewed(
    runner: Runner,
    examined: Examined,
    prompt: str | None,
    variables: Mapping[str, Any],
    model: str | None,
) -> tuple[Request, str | None]:
    """Render a persona, with a sample if it needs a prompt; return the request and the sample.

    Raises:
        PersonakitError: See `_rendered`.
    """
    try:
        return _rendered(runner, examined, prompt, variables, model), None
    except TemplateError:
        compiled = examined.compiled
        assert compiled is not None
        if prompt is not None or compiled.persona.prompt is None or not compiled.takes_input:
            raise
    return _rendered(runner, examined, _PROMPT, variables, model), _PROMPT


def _rendered(
    runner: Runner,
    examined: Examined,
    prompt: str | None,
    variables: Mapping[str, Any],
    model: str | None,
) -> Request:
    """Render a persona with the templates that the linter compiled.

    Raises:
        PersonakitError: It cannot be rendered, or no provider has its model.
    """
    persona = examined.persona
    assert persona is not None
    runner.catalog.entry(persona).compiled = examined.compiled
    request = runner.render(persona, prompt, variables=variables, model=model)
    # A backend of the caller may know models of no provider.
    by_provider = runner._backend in (None, runner._own)
    try:
        if request.model and by_provider:
            runner.router.find_model(request.model)
    except ConfigError as error:
        if model or not persona.model:
            raise
        raise PersonaError([persona.document.problem(str(error), ("model",))]) from error
    return request


def _problem(error: PersonakitError, persona: Persona, values: Mapping[str, Any]) -> Problem:
    """Return an error of rendering as a problem of the file."""
    if isinstance(error, PersonaError):
        return error.problems[0]
    if not isinstance(error, VariableError):
        return Problem(str(error), persona.path)
    for name, variable in persona.variables.items():
        faults = variable.errors(values[name]) if name in values else []
        if faults or (variable.required and name not in values):
            message = faults[0] if faults else missing(variable)
            return persona.document.problem(message, ("variables", name), key=True)
    return persona.document.problem(str(error), ("variables",), key=True)
