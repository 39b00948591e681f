"""Loaders that are slow, or that load personas themselves, in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from personakit import PersonaError, Registry, hookimpl
from personakit.testing import runner


class Source:
    """A plugin whose loader is a function."""

    def __init__(self, load: Callable[[str], str]) -> None:
        self.load = load

    @hookimpl
    def setup(self, registry: Registry) -> None:
        registry.loader("db", self.load)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("names", ["xy", "xyz"])
def test_loaders_that_wait_for_one_another_in_threads_are_an_error(
    names: str, is_shared: bool
) -> None:
    others = dict(zip(names, names[1:] + names[0], strict=True))
    inside = threading.Barrier(len(names))
    entered: set[str] = set()

    def load(name: str) -> str:
        if name not in entered:  # after an error, it may be called again
            entered.add(name)
            inside.wait(60)
        running[name].load(f"db:{others[name]}")
        return "system: x"

    # The circle may pass through several runners; the last one closes it.
    running = {name: runner(plugins=[Source(load)])[0] for name in names}
    if is_shared:
        running = dict.fromkeys(names, running[names[0]])
    results: dict[str, str] = {}

    def run(name: str) -> None:
        with pytest.raises(PersonaError) as caught:
            running[names[names.index(name) - 1]].load(f"db:{name}")
        results[name] = str(caught.value)

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == sorted(names)
    assert all("its loader loads the same persona again" in text for text in results.values())
