"""The texts of personas that plugins load: `scheme:rest`."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from personakit.base import LOADED, entry_points
from personakit.errors import PersonaError, PersonakitError, PersonaNotFound, Problem
from personakit.library.loader import nearest

if TYPE_CHECKING:
    from personakit.registry import PersonaSource

ENTRY_POINTS = "personakit.loaders"
MAX_KEPT = 1000
MAX_LISTED = 100_000
_MAX_CAUSE = 300

_may_load: ContextVar[bool] = ContextVar("personakit_may_load", default=True)


class _LoaderNeeded(Exception):
    """A plugin would have to load a persona, within `NoLoading`."""


class NoLoading:
    """A block that ends, without an error, where a plugin would have to load a persona.

    A plugin's loader may wait for a server, so the event loop must not call it::

        with NoLoading():
            return library.load(reference)
        # Here the persona has to be loaded in a thread.
    """

    _token: Token[bool]

    def __enter__(self) -> None:
        self._token = _may_load.set(False)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        _may_load.reset(self._token)
        return kind is _LoaderNeeded


@dataclass(slots=True, eq=False)
class _Flight:
    """A call of a loader that is going on.

    Attributes:
        thread: The thread that makes it.
        done: Set at its end.
        text: What it returned; None until then, or if it failed.
        error: Its error; None if there is none, or if it was interrupted.
    """

    thread: int
    done: threading.Event = field(default_factory=threading.Event)
    text: str | bytes | None = None
    error: PersonakitError | None = None

    def wait(self) -> bool:
        """Wait for the end; return False, at once, if the call waits for this thread's own.

        Two loaders may each load the persona of the other, in two threads.
        """
        here = threading.get_ident()
        with _waiting_lock:
            flight: _Flight | None = self
            while flight is not None and not flight.done.is_set():
                if flight.thread == here:
                    return False
                flight = _waiting.get(flight.thread)
            _waiting[here] = self
        try:
            self.done.wait()
        finally:
            del _waiting[here]
        return True


# By the thread that waits, whatever runner its loader uses.
_waiting: dict[int, _Flight] = {}
_waiting_lock = threading.Lock()


class Sources:
    """The texts that plugins load, each kept as long as its plugin says.

    Threads that want the same text at the same time share one call of the plugin.

    Args:
        find: Returns what a plugin has registered for a scheme; None if no plugin has.
    """

    def __init__(self, find: Callable[[str], PersonaSource | None]) -> None:
        self._find = find
        self._kept: dict[str, tuple[float, str | bytes]] = {}
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()

    def find(self, scheme: str) -> PersonaSource | None:
        """Return what a plugin has registered for a scheme, which may import plugins."""
        if not _may_load.get():
            raise _LoaderNeeded
        return self._find(scheme)

    def kept(self, reference: str) -> bool:
        """Return whether the text of a reference is there without a call of its plugin."""
        kept = self._kept.get(reference)
        return kept is not None and time.monotonic() < kept[0]

    def text(self, reference: str) -> str | bytes:
        """Return the YAML of ``scheme:rest``.

        Raises:
            PersonaNotFound: No plugin provides the scheme, or it has no such persona.
            PersonaError: The plugin failed.
        """
        kept = self._kept.get(reference)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        scheme = reference.partition(":")[0]
        source = self.find(scheme)
        if source is None:
            raise PersonaNotFound(
                f"no file {reference[:80]}, and no installed plugin provides the scheme '{scheme}:'"
            )
        if not LOADED.match(reference):
            raise PersonaNotFound(
                f"no persona {reference[:80]!r}: after '{scheme}:', write at most 500 characters, "
                f"and no line break or control character"
            )
        return self._shared(reference, source)

    def _shared(self, reference: str, source: PersonaSource) -> str | bytes:
        """Return what a call returns, of this thread or of another that goes on."""
        while True:
            with self._lock:
                if self.kept(reference):
                    return self._kept[reference][1]
                flight = self._flights.get(reference)
                is_own = flight is None
                if flight is None:
                    flight = self._flights[reference] = _Flight(threading.get_ident())
            if is_own:
                return self._fly(reference, source, flight)
            if not flight.wait():
                raise _failed(reference, source, "its loader loads the same persona again")
            if flight.error is not None:
                import copy  # noqa: PLC0415

                # Two threads would add their frames to the traceback of the same error.
                raise copy.copy(flight.error) from flight.error.__cause__
            if flight.text is not None:
                return flight.text

    def _fly(self, reference: str, source: PersonaSource, flight: _Flight) -> str | bytes:
        try:
            flight.text = text = self._called(reference, source)
            self._keep(reference, source, text)
            return text
        except PersonakitError as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[reference]
            flight.done.set()

    def _keep(self, reference: str, source: PersonaSource, text: str | bytes) -> None:
        self._kept.pop(reference, None)
        if source.keep == 0:
            return
        end = float("inf") if source.keep is None else time.monotonic() + source.keep
        with self._lock:
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[reference] = end, text

    def _called(self, reference: str, source: PersonaSource) -> str | bytes:
        text: Any = None
        missing: BaseException | None = None
        try:
            text = source.function(reference.partition(":")[2])
        except (LookupError, PersonaNotFound) as error:
            missing = error
        except (Exception, SystemExit) as error:
            raise _failed(reference, source, _said(error)) from error
        if text is None:
            why = f" ({_said(missing)})" if missing else ""
            hint = self._hint(reference, source)
            message = f"no persona {reference!r}: plugin {source.plugin!r} does not have it{why}"
            raise PersonaNotFound(f"{message}{hint}") from missing
        if isinstance(text, str | bytes):
            return text
        found = f"expected the YAML as str or bytes, found {type(text).__name__}"
        if hasattr(text, "cr_frame"):
            text.close()  # it would warn that nothing awaits it
            found += "; write the loader with `def`"
        raise _failed(reference, source, found)

    def _hint(self, reference: str, source: PersonaSource) -> str:
        """Return a similar name; what lists the names may fail, too."""
        import difflib  # noqa: PLC0415

        scheme, _, rest = reference.partition(":")
        try:
            names = [name.partition(":")[2] for name in self._listed(scheme, source)]
        except PersonaError:
            names = []
        # Without the scheme, which makes all of them similar.
        close = difflib.get_close_matches(rest, nearest(rest, names), n=1)
        if close:
            return f"; did you mean {f'{scheme}:{close[0]}'!r}?"
        return f"; `personakit list {scheme}:` shows those that it has" if names else ""

    def listed(self, scheme: str) -> Mapping[str, str]:
        """Return the descriptions of the personas of a scheme by reference, sorted.

        Empty if no plugin provides the scheme or it lists none.

        Raises:
            PersonaError: The plugin failed.
        """
        source = self.find(scheme)
        return {} if source is None else self._listed(scheme, source)

    def _listed(self, scheme: str, source: PersonaSource) -> dict[str, str]:
        if source.list is None:
            return {}
        whole = f"{scheme}:"
        try:
            found = source.list()
            if isinstance(found, str | bytes):
                raise TypeError(f"expected names, found {found!r:.60}")
            pairs: Iterable[tuple[Any, Any]] = (
                found.items() if isinstance(found, Mapping) else ((name, "") for name in found)
            )
            listed = list(itertools.islice(pairs, MAX_LISTED))
        except (Exception, SystemExit) as error:
            raise _failed(whole, source, f"its list: {_said(error)}") from error
        references = {}
        for name, description in sorted(listed, key=str):
            if not isinstance(name, str) or not LOADED.match(whole + name):
                expected = "expected names, or a mapping of names to descriptions"
                raise _failed(whole, source, f"its list: {expected}, found {name!r:.60}")
            text = "" if description is None else str(description)
            references[whole + name] = " ".join(text.split())
        return references


def declared() -> list[str]:
    """Return the schemes that the installed packages declare, without importing a plugin.

    A package declares the scheme ``acme:`` with an entry point ``acme`` of the group
    ``personakit.loaders``.
    """
    return sorted({point.name for point in entry_points(ENTRY_POINTS)})


def _failed(reference: str, source: PersonaSource, why: str) -> PersonaError:
    return PersonaError([Problem(f"plugin {source.plugin!r} cannot load it: {why}", reference)])


def _said(error: BaseException) -> str:
    """Return an error on one line."""
    text = " ".join(str(error).split())[:_MAX_CAUSE]
    if isinstance(error, PersonakitError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
