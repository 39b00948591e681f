"""What the answers of a batch depend on, from its runner, its persona and its settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from personakit.batch.records.head import Head
from personakit.batch.records.journal import Files
from personakit.batch.rows import Source, Stamp
from personakit.batch.settings import Settings
from personakit.persona import Persona
from personakit.runner import Runner


def head_of(
    runner: Runner, persona: Persona, model: str, settings: Settings, source: Source
) -> Head:
    """Return what the answers of a batch depend on.

    Args:
        runner: Runs the persona.
        persona: The persona.
        model: ``provider/model``.
        settings: The settings.
        source: The table. If its size and time are those of the last run, it is not read.
    """
    columns, stamp = settings.columns, source.stamp(_earlier(settings.out, source))
    return Head(
        persona=persona.name,
        hash=runner.hash(persona),
        model=model,
        parameters=dict(settings.parameters),
        plugins=_plugins(runner, persona),
        variables=dict(columns.fixed),
        columns={
            "key": columns.key,
            "input": columns.input,
            "map": dict(columns.names),
            "keep": columns.keep,
            "dedupe": settings.dedupe,
        },
        source={"name": source.name, **dataclasses.asdict(stamp)},
    )


def model_of(runner: Runner, persona: Persona, chosen: str | None) -> str:
    """Return ``provider/model``, which answers unless a plugin chooses another one.

    Args:
        runner: Runs the persona.
        persona: The persona.
        chosen: The model of the settings, or an alias; None for the persona's or the config's.
    """
    catalog = runner.catalog
    model = runner.config.resolve(chosen) if chosen else catalog.entry(persona).model
    return model or catalog.own_model(persona) or runner.router.default_model()


def _plugins(runner: Runner, persona: Persona) -> dict[str, str]:
    """Return the versions of the plugins around each row by their names."""
    catalog = runner.catalog
    installed, result = catalog.plugins.installed(), {}
    for use in (*catalog.outer, *persona.plugins):
        name = use if isinstance(use, str) else getattr(use, "name", "")
        plugin = installed.get(name)
        known = name or type(use).__name__
        result[known] = "" if plugin is None else f"{plugin.distribution} {plugin.version}"
    return result


def _earlier(out: Path, source: Source) -> Stamp | None:
    """Return the stamp of a source when its batch began; None if it has not, or of another one."""
    head = Files.of(out).first_head()
    if head is None or head.source.get("name") != source.name:
        return None
    return Stamp(*(head.source[name] for name in ("size", "modified", "digest")))
