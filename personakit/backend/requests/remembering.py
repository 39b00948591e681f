"""Openai clients that remember what is the same in all requests of a kind."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Ways to authenticate other than a key; the client asks for them in several steps of each request.
_OTHER_AUTH = ("_provider_runtime", "_workload_identity_auth", "_api_key_provider")
_UNIQUE = os.urandom(8).hex()
_numbers = itertools.count()
# What `openapi_dumps` of openai calls, which creates an encoder for each body.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class _Headers(dict[str, Any]):
    """The headers in the options of a kind of request.

    Attributes:
        requests: A request of that kind with empty content, by the number of attempts before it.
    """

    def __init__(self, headers: Mapping[str, Any]) -> None:
        super().__init__(headers)
        self.requests: dict[int, Any] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """What requests have in common that differ in their bodies alone.

    Attributes:
        url: The complete URL.
        options: The options of `post`.
        template: The options of `request` without a body; None if this version has other ones.
    """

    url: str
    options: Mapping[str, Any]
    template: Any = None

    @classmethod
    def of(cls, package: Any, url: str, options: Mapping[str, Any]) -> Kind:
        """Return a kind of request.

        Args:
            package: The openai package.
            url: The complete URL.
            options: The options of `post`, all of them: the client would copy its defaults.
        """
        final: Any = getattr(getattr(package, "_models", None), "FinalRequestOptions", None)
        if not hasattr(final, "model_copy"):
            return cls(url, options)
        template = final.construct(method="post", url=url, **options)
        headers = _Headers(template.headers)
        return cls(url, options, template.model_copy(update={"headers": headers}))

    def send(self, client: Any, body: Any, cast_to: Any) -> Any:
        """Send a request through a client; return its unparsed reply, or the awaitable."""
        # The key marks the attempts of a request; the client takes 10 µs to make one.
        fresh = {"idempotency_key": f"personakit-{_UNIQUE}-{next(_numbers)}"}
        if self.template is None:
            options = {**self.options, **fresh}
            return client.post(self.url, cast_to=cast_to, body=body, options=options, stream=True)
        # `post` would convert and validate all options, which takes 20 µs.
        options = self.template.model_copy(update={"json_data": body, **fresh})
        return client.request(cast_to, options, stream=True)


@functools.cache
def remembering(client: Any) -> Any:
    """Return a subclass of an openai client that prepares each `Kind` of request once.

    The client would merge the headers and parse the URL of each request, which takes as long as
    sending it. A version of it whose methods have other names does so.

    Args:
        client: ``openai.OpenAI`` or ``openai.AsyncOpenAI``.
    """
    is_async = asyncio.iscoroutinefunction(getattr(client, "_send_request", None))
    parents = (_AsyncRemembering if is_async else _Remembering, client)
    return functools.update_wrapper(type("Remembering", parents, {}), client, updated=())


class _Remembering:
    _client: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_key_only = all(getattr(self, name, 0) is None for name in _OTHER_AUTH)
        self._remembers = getattr(self, "_idempotency_header", 0) is None

    def _build_request(self, options: Any, *, retries_taken: int = 0) -> Any:
        build: Any = super()._build_request  # type: ignore[misc]
        headers = options.headers
        if type(headers) is not _Headers or not self._remembers:
            return build(options, retries_taken=retries_taken)
        known = headers.requests.get(retries_taken)
        if known is not None:
            try:
                content = _encode(options.json_data).encode()
            except (TypeError, ValueError):
                # The client can encode more types, or explains why it cannot.
                return build(options, retries_taken=retries_taken)
            return _like(known, content, self._client.cookies)
        request = build(options, retries_taken=retries_taken)
        if "cookie" not in request.headers:
            headers.requests[retries_taken] = _like(request, b"", None)
        return request

    @property
    def custom_auth(self) -> Any:
        return None if self._has_key_only else super().custom_auth  # type: ignore[misc]


class _AsyncRemembering(_Remembering):
    async def _prepare_options(self, options: Any) -> Any:
        if self._has_key_only:
            return options
        return await super()._prepare_options(options)  # type: ignore[misc]

    async def _prepare_request(self, request: Any) -> None:
        if not self._has_key_only:
            await super()._prepare_request(request)  # type: ignore[misc]

    async def _send_request(self, request: Any, *, stream: bool, **options: Any) -> Any:
        if self._has_key_only:
            return await self._client.send(request, stream=stream, **options)
        return await super()._send_request(request, stream=stream, **options)  # type: ignore[misc]


def _like(known: Any, content: bytes, cookies: Any) -> Any:
    """Return a request like a known one, with another content and the current cookies."""
    stream = type(known.stream)(content)
    # Attempts add to the extensions, which not every version of `Request` copies.
    extensions = dict(known.extensions)
    # A copy of its headers, which `Request` takes as they are if it also gets a stream.
    request = type(known)(
        known.method, known.url, headers=known.headers, stream=stream, extensions=extensions
    )
    request.headers["Content-Length"] = str(len(content))
    request.headers.encoding = known.headers.encoding
    request.read()
    if cookies:
        cookies.set_cookie_header(request)
    return request
