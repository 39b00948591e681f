"""Embeddings: https://platform.openai.com/docs/api-reference/embeddings/create."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

from personakit.backend.answers import checks
from personakit.backend.answers.answer import Answer
from personakit.backend.wire import Wire
from personakit.base import shown
from personakit.embeddings import Embeddings
from personakit.errors import BackendError, ConfigError, InvalidAnswer, ModelNotFound
from personakit.messages import Request, Response
from personakit.providers import EMBEDDINGS, Endpoint, Provider

_FORM = {"encoding_format": "base64"}
"""Numbers in base64 take a quarter of the space. A server may send numbers in JSON all the same."""
_NO_PATH = (404, 405)


def check(provider: Provider, foreign: Wire | None) -> None:
    """Check that a provider has embeddings; `foreign` is the wire of a plugin that it uses.

    Raises:
        ConfigError: It has none.
    """
    if provider.embed_batch < 1 or foreign is not None:
        raise without_embeddings(provider)


def without_embeddings(provider: Provider) -> ConfigError:
    """Return the error of a provider that has no embeddings."""
    return ConfigError(
        f"provider {provider.name!r} has no embeddings; choose a model of a provider that has "
        f"them, such as openai/text-embedding-3-small"
    )


def asked(request: Request) -> Request:
    """Return a request for numbers in base64, unless the server does not know that form."""
    return request.replace(
        parameters={**_FORM, **request.parameters},
        defaults=_FORM.keys() - request.parameters.keys(),
    )


def vectors_of(response: Response) -> Embeddings:
    """Return the embeddings in the response of an `EmbeddingAnswer`."""
    return Embeddings(response.parsed, response.model, response.usage)


class EmbeddingAnswer(Answer):
    """The answer to a request for embeddings; the vectors are `parsed` of its response."""

    vectors: tuple[tuple[float, ...], ...] = ()

    def whole(self, body: bytes) -> None:
        """Parse the body."""
        self.raw = data = checks.answer(body)
        entries = checks.array(data.get("data"))
        wanted = len(self.request.messages)
        if len(entries) != wanted:
            found = len(entries) if "data" in data else f"{shown(data)[:80]}, without `data`,"
            raise InvalidAnswer(f"the answer has {found} vectors for {wanted} texts")
        vectors: dict[int, tuple[float, ...]] = {}
        for place, entry in enumerate(map(checks.mapping, entries)):
            index = entry.get("index", place)
            if type(index) is not int or not 0 <= index < wanted or index in vectors:
                raise InvalidAnswer(
                    f"the answer has a vector of the text number {shown(index)[:40]}, which is "
                    f"none of the {wanted} texts, or has another vector"
                )
            vectors[index] = _vector(entry.get("embedding"))
        sizes = sorted({len(vector) for vector in vectors.values()})
        if len(sizes) > 1:
            raise InvalidAnswer(f"vectors have different lengths: {sizes[0]} and {sizes[-1]}")
        self.vectors = tuple(vectors[index] for index in range(wanted))

    def response(self, attempts: int = 1) -> Response:
        """Return the response, without a text."""
        return Response(
            "",
            model=checks.clean(str(self.raw.get("model") or "")),
            usage=self._usage(),
            request=self.request,
            parsed=self.vectors,
            attempts=attempts,
        )


class EmbeddingWire(Wire):
    """The API of embeddings, which most providers serve in OpenAI's form."""

    name = EMBEDDINGS
    title = "an API of embeddings"
    answers = EmbeddingAnswer

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return the path of embeddings."""
        return "embeddings"

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request, as embeddings.create() would send it."""
        texts = [message.text for message in request.messages]
        parameters = {key: value for key, value in request.parameters.items() if value is not None}
        return {**parameters, "input": texts, "model": endpoint.model}

    def error(self, status: int, data: Any) -> BackendError | None:
        """Return the error of a server without the API, which need not name the model."""
        if status not in _NO_PATH or "model" in str(data).lower():
            return None
        error = ModelNotFound(f"status {status}: POST embeddings is not there", status=status)
        error.advice = "check that the server has embeddings, and the address"
        return error


def _vector(value: Any) -> tuple[float, ...]:
    """Return a vector from JSON numbers, or from 32-bit floats in base64, little-endian.

    The openai client reads the same two forms:
    https://github.com/openai/openai-python/blob/main/src/openai/resources/embeddings.py
    """
    try:
        if isinstance(value, str):
            data = base64.b64decode(value, validate=True)
            vector = struct.unpack(f"<{len(data) // 4}f", data)
        else:
            vector = tuple(map(float, checks.array(value)))
    except (ValueError, TypeError, OverflowError, struct.error):
        vector = ()
    if not vector or not all(map(math.isfinite, vector)):
        raise InvalidAnswer(f"the answer contains {shown(value)[:40]} where a vector is expected")
    return vector
