"""A fake model, and runners that use only it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, AnyStr

from personakit.base import Emit, brief_repr
from personakit.config import Config
from personakit.embeddings import Embeddings
from personakit.hookspecs import Piece
from personakit.messages import Request, Response
from personakit.persona import Persona
from personakit.runner import Runner
from personakit.testing.memory_journals import MemoryJournals
from personakit.testing.vectors import word_vectors, words_of
from personakit.usage import Usage

if TYPE_CHECKING:
    from personakit.journal import Asker, JournalStorage, OnSuspend

Answer = str | Response | Exception | Callable[[Request], "str | Response"]
"""An answer of `Upstream`: a text, a response, an error to raise, or a function of the request."""
Vectors = None | Embeddings | Exception | Callable[[Request], Embeddings]
"""An answer of `Upstream` to a request for embeddings."""


def pieces(text: AnyStr, size: int) -> Generator[AnyStr]:
    """Yield a text in pieces of `size` characters; 0 for the whole text at once."""
    step = size or max(len(text), 1)
    return (text[start : start + step] for start in range(0, len(text), step))


@dataclass(slots=True)
class Upstream:
    """A fake model that answers from a list; pass it to ``Runner(backend=...)``.

    Attributes:
        answers: For each request in turn: a text, a `Response`, an exception to raise, or a
            function of the request. The last one answers all further requests.
        size: The number of characters in a streamed piece; 0 streams the text as one piece.
        fail_after: Raise ConnectionError after this many characters of a text; None for never.
        requests: The received requests.
        embeddings: For each request for embeddings in turn: None for vectors of the words in the
            texts, an `Embeddings`, an exception to raise, or a function of the request. The last
            one answers all further requests.
        embedded: The received requests for embeddings; each message is a text.
    """

    answers: Sequence[Answer] = ("Hello!",)
    size: int = 3
    fail_after: int | None = None
    requests: list[Request] = field(default_factory=list)
    embeddings: Sequence[Vectors] = (None,)
    embedded: list[Request] = field(default_factory=list)

    __repr__ = brief_repr

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Answer the next request."""
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, str):
            usage = Usage(len(request.messages), len(answer), len(request.messages) + len(answer))
            answer = Response(answer, finish_reason="stop", model=request.model, usage=usage)
        text = answer.text if self.fail_after is None else answer.text[: self.fail_after]
        if emit is not None:
            if getattr(emit, "wanted", False):
                for thought in pieces(answer.reasoning, self.size) if answer.reasoning else ():
                    await emit.note(Piece("reasoning", thought))  # type: ignore[attr-defined]
            for piece in pieces(text, self.size):
                await emit(piece)
        if self.fail_after is not None:
            raise ConnectionError(f"the fake upstream fails after {self.fail_after} characters")
        return answer.replace(request=request)

    async def embed(self, texts: Sequence[str], request: Request) -> Embeddings:
        """Answer the next request for embeddings."""
        answer = self.embeddings[min(len(self.embedded), len(self.embeddings) - 1)]
        self.embedded.append(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Embeddings):
            return answer
        if answer is not None:
            return answer(request)
        tokens = sum(len(words_of(text)) for text in texts)
        size = request.parameters.get("dimensions")
        vectors = word_vectors(texts, size) if size else word_vectors(texts)
        return Embeddings(vectors, request.model, Usage(tokens, 0, tokens))


def runner(  # noqa: PLR0913 - each is a setting of its own
    answers: Sequence[Answer] = ("Hello!",),
    *,
    plugins: Iterable[Any] = (),
    size: int = 3,
    embeddings: Sequence[Vectors] = (None,),
    select: Iterable[str] | None = None,
    path: Iterable[str | Path] = (),
    ask: Asker | None = None,
    on_suspend: OnSuspend = "raise",
    journals: JournalStorage | None = None,
    **settings: Any,
) -> tuple[Runner, Upstream]:
    """Return a runner that uses no config, no environment and no network, and its upstream.

    Args:
        answers: The answers of the model; see `Upstream`.
        plugins: Plugins around every persona's own: objects or names.
        size: The number of characters in a streamed piece; 0 streams a text as one piece.
        embeddings: The answers to requests for embeddings; see `Upstream`.
        select: The names of the installed plugins that may be loaded; None for all.
        path: Folders of personas to search before those of installed packages.
        ask: Answers the questions of plugins and tools; None for nobody.
        on_suspend: What happens to a run that asks where nobody answers; see `Options`.
        journals: Keeps the journals of suspended runs; None for a new `MemoryJournals`.
        settings: Other fields of `Config`, such as `plugin_options` or `allow_tools`.
    """
    upstream = Upstream(answers, size, embeddings=embeddings)
    chosen = None if select is None else frozenset(select)
    config = Config(**{"model": "test/model", "path": (), "select": chosen, **settings})
    kept = MemoryJournals() if journals is None else journals
    waits: dict[str, Any] = {"ask": ask, "on_suspend": on_suspend, "journals": kept}
    return Runner(config, path=path, plugins=plugins, backend=upstream, **waits), upstream


def persona(system: str | None = "You are a test.", **keys: Any) -> Persona:
    """Return a persona.

    Args:
        system: The system message, a template; None for none.
        keys: Other keys of the file format, such as `variables`.
    """
    return Persona.parse(json.dumps({"name": "test", "system": system, **keys}), "test.yaml")
