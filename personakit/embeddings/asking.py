"""Ask for the embeddings of texts, in as many requests as their provider needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from personakit.base import describe, time_left
from personakit.embeddings.value import Embeddings, Vector
from personakit.errors import ConfigError, InvalidAnswer
from personakit.messages import Message, Request
from personakit.providers import EMBEDDINGS
from personakit.usage import Charge, Usage

MOST_BYTES = 300_000
"""The most bytes of the texts of one request. OpenAI accepts 300,000 tokens in one
(https://platform.openai.com/docs/api-reference/embeddings/create), and a token of its models has at
least one byte."""

Ready = Callable[[Request], tuple[Request, int]]
Ask = Callable[[Request], Awaitable[Embeddings]]


def embed(
    ready: Ready,
    backend: Any,
    ask: Ask,
    origin: Any,
    texts: Sequence[str],
    model: str,
    parameters: Mapping[str, Any],
) -> Awaitable[Embeddings]:
    """Check the arguments of a `send.embed`; return the awaitable of its result.

    Args:
        ready: Returns a request with the model of an alias and the config's timeout, and the most
            texts that its provider accepts in one.
        backend: Sends the requests; a dry run leaves here.
        ask: Sends one request, with a user message for each text.
        origin: The request or the tool call of the hook.
        texts: The texts.
        model: ``provider/model`` or an alias.
        parameters: Other parameters of the API.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A text is empty, or there is no model.
    """
    own = _texts(texts)
    if not isinstance(model, str):
        raise TypeError(f"send.embed(): model must be a string, found {describe(model)}")
    if not model:
        raise ValueError("send.embed(): model is empty; write provider/model")
    if leave := getattr(backend, "leave", None):
        leave(origin)
    request = Request(
        model,
        parameters=parameters,
        persona=getattr(origin, "persona", ""),
        max_retries=getattr(origin, "max_retries", None),
        timeout=getattr(origin, "timeout", None),
        api=EMBEDDINGS,
    )
    return _ask(ready, ask, request, own)


def _texts(given: Any) -> list[str]:
    """Return the texts of a call.

    Raises:
        TypeError: They are no list of texts.
        ValueError: One of them is empty.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        found = f"found {describe(given)}"
        raise TypeError(f"send.embed() takes a list of texts, {found}; write send.embed([text], …)")
    own = list(given)
    for number, text in enumerate(own):
        if not isinstance(text, str):
            raise TypeError(f"send.embed() takes texts; number {number} is {describe(text)}")
        if not text.strip():
            raise ValueError(f"send.embed(): text number {number} is empty; leave it out")
    return own


async def _ask(ready: Ready, ask: Ask, request: Request, texts: list[str]) -> Embeddings:
    """Return the embeddings of texts, in their order."""
    if not texts:
        return Embeddings((), request.model, Usage(), 0.0)  # nothing is sent
    request, most = ready(request)
    parts: list[Embeddings] = []
    vectors: list[Vector] = []
    for batch in batches(texts, most):
        time_left()
        messages = tuple(Message("user", text) for text in batch)
        part = await ask(request.replace(messages=messages))
        parts.append(part)
        vectors += part.vectors
        _check(request.model, vectors, part, batch)
    charges = tuple(Charge(request.model, one.model, one.usage, one._given_cost()) for one in parts)
    usage = Usage.sum(one.usage for one in parts)
    return Embeddings(tuple(vectors), parts[0].model, usage, _charges=charges)


async def ask_backend(backend: Any, texts: Sequence[str], request: Request) -> Embeddings:
    """Return the embeddings of texts from a backend.

    Raises:
        ConfigError: The backend has no `embed`, or it returns something else.
    """
    name, advice = type(backend).__name__, "`async def embed(self, texts, request)`"
    if not hasattr(backend, "embed"):
        raise ConfigError(
            f"{request.model}: the runner's backend {name} has no embeddings; give it an {advice}"
        )
    result = await backend.embed(texts, request)
    if not isinstance(result, Embeddings):
        raise ConfigError(
            f"the runner's backend {name} returned {describe(result)} from {advice}; return a "
            f"personakit.Embeddings"
        )
    return result


def _check(model: str, vectors: list[Vector], part: Embeddings, texts: Sequence[str]) -> None:
    """Check that an answer has one vector for each text, and all have the same length.

    Raises:
        InvalidAnswer: It has not.
    """
    if len(part.vectors) != len(texts):
        raise InvalidAnswer(
            f"{model}: the answer has {len(part.vectors)} vectors for {len(texts)} texts; {_OTHER}"
        )
    sizes = sorted({len(vectors[0]), *map(len, part.vectors)})
    if len(sizes) > 1:
        raise InvalidAnswer(
            f"{model}: its vectors have different lengths ({sizes[0]} and {sizes[-1]}); {_OTHER}"
        )


_OTHER = "check that it is a model of embeddings, and that its server is up to date"


def batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield texts in lists of at most `most` and `MOST_BYTES`; a larger text is alone in one."""
    batch: list[str] = []
    size = 0
    for text in texts:
        added = len(text.encode("utf-8", "surrogatepass"))
        if batch and (len(batch) == most or size + added > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += added
    if batch:
        yield batch
