"""The backend: a request goes out through the openai client, an answer comes back checked.

The client does the HTTP: connections, keys, retries. Its `post` is used instead of
`chat.completions.create` because the latter transforms each message and lets wrong answers
through; the body is the same. One code path serves whole and streamed, sync and async.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from personakit import clients, sse
from personakit.chain import Emit, in_sync, io
from personakit.clients import Clients
from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    Timeout,
    UpstreamUnavailable,
)
from personakit.messages import Request, Response, ToolCall, Usage
from personakit.providers import Endpoint, Provider
from personakit.routing import Router


@dataclass(slots=True)
class Backend:
    """Sends requests to the providers of a runner.

    Attributes:
        router: Finds the provider and the address of a model.
        clients: The openai clients, kept for reuse.
    """

    router: Router
    clients: Clients

    async def send(self, request: Request, emit: Emit | None = None) -> Response:
        """Send a request and return the answer; with `emit`, stream it.

        Raises:
            BackendError: One of its family; `partial` holds the text that had arrived.
        """
        provider, model = self.router.find_model(request.model)
        if provider.connect is not None:
            endpoint = await io(provider.connect)(model)
        else:
            endpoint = self.router.endpoint(provider, model)
        body = body_of(request, endpoint, provider, stream=emit is not None)
        answer = _Answer(request, provider)
        try:
            reply = await self._post(request, provider, endpoint, body)
            try:
                if emit is None:
                    answer.whole(await _read(reply.response))
                else:
                    await _stream(reply.response, answer, emit)
            finally:
                await _close(reply)
        except BackendError as error:
            error.partial = error.partial or answer.text
            raise
        # The client's own errors and those of the HTTP library under it, which has two names.
        except Exception as error:
            raise translate(error, endpoint, answer.text) from error
        return answer.response()

    async def _post(
        self, request: Request, provider: Provider, endpoint: Endpoint, body: dict[str, Any]
    ) -> Any:
        options: dict[str, Any] = {"follow_redirects": False}
        if request.max_retries is not None:
            options["max_retries"] = request.max_retries
        if request.timeout is not None:
            options["timeout"] = request.timeout
        kind = clients.openai()
        if in_sync():
            client = self.clients.sync(provider, endpoint)
            return client.post(
                "/chat/completions",
                cast_to=object,
                body=body,
                options=options,
                stream=True,
                stream_cls=kind.Stream[object],
            )
        aclient = await self.clients.asynchronous(provider, endpoint)
        return await aclient.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options=options,
            stream=True,
            stream_cls=kind.AsyncStream[object],
        )


def body_of(
    request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
) -> dict[str, Any]:
    """Return the JSON body of a request, as chat.completions.create() would send it."""
    body: dict[str, Any] = {
        "messages": [message.to_api() for message in request.messages],
        "model": endpoint.model,
        **request.parameters,
    }
    if stream:
        body["stream"] = True
        if provider.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


async def _read(response: Any) -> bytes:
    """Return the body of a reply."""
    parts: list[bytes] = []
    if in_sync():
        parts.extend(response.iter_bytes())
    else:
        parts.extend([part async for part in response.aiter_bytes()])
    return b"".join(parts)


async def _stream(response: Any, answer: _Answer, emit: Emit) -> None:
    """Feed the events of a reply to an answer, letting its text out."""
    decoder = sse.Decoder()
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        answer.whole(await _read(response))
        await emit(answer.text)
        return
    # Both iterators are read by hand, so that one loop serves them.
    source: Iterator[bytes] | AsyncIterator[bytes]
    source = response.iter_bytes() if in_sync() else response.aiter_bytes()
    while not decoder.done:
        if isinstance(source, AsyncIterator):
            part = await anext(source, None)
        else:
            part = next(source, None)
        for data in decoder.feed(part) if part is not None else decoder.flush():
            text = answer.event(data)
            if text:
                await emit(text)
        if part is None:
            break
    answer.ended()


async def _close(reply: Any) -> None:
    if in_sync():
        reply.close()
    else:
        await reply.close()


class _Answer:
    """Puts an answer together out of a body or out of events, refusing what is none."""

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider
        self.raw: dict[str, Any] = {}
        self.text = ""
        self.finish_reason: str | None = None
        self.calls: dict[int, dict[str, str]] = {}

    def whole(self, body: bytes) -> None:
        """Take the body of a whole answer."""
        data = _object(body)
        message = _mapping(_choice(data).get("message"))
        self.raw = dict(data)
        self.text = _text(message)
        self.finish_reason = _optional_text(_choice(data).get("finish_reason"))
        for index, call in enumerate(message.get("tool_calls") or ()):
            self._call(index, _mapping(call))
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer("the answer has no finish reason", partial=self.text)
        if message.get("content") is None and not self.calls and not message.get("refusal"):
            raise InvalidAnswer("the answer has neither content nor tool calls")

    def event(self, body: bytes) -> str:
        """Take one event of a stream; return the text in it."""
        data = _object(body, self.text)
        self.raw |= {key: data[key] for key in data.keys() - {"choices"} if data[key] is not None}
        choices = data.get("choices") or ()
        if not choices:
            return ""
        choice = _mapping(choices[0])
        delta = _mapping(choice.get("delta") or {})
        for call in delta.get("tool_calls") or ():
            self._call(int(_mapping(call).get("index") or 0), call)
        self.finish_reason = _optional_text(choice.get("finish_reason")) or self.finish_reason
        text = _text(delta)
        self.text += text
        return text

    def ended(self) -> None:
        """Check that a stream has come to its end."""
        if self.finish_reason is None and self.provider.finish_reason:
            raise IncompleteAnswer(
                "the stream ended before the answer did (no finish reason came)", partial=self.text
            )

    def _call(self, index: int, call: Mapping[str, Any]) -> None:
        known = self.calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = _mapping(call.get("function") or {})
        known["id"] = call.get("id") or known["id"]
        known["name"] += function.get("name") or ""
        known["arguments"] += function.get("arguments") or ""

    def response(self) -> Response:
        """Return what has come."""
        calls = tuple(ToolCall(**call) for _, call in sorted(self.calls.items()))
        made = Response(
            text=self.text,
            tool_calls=calls,
            finish_reason=self.finish_reason,
            model=str(self.raw.get("model") or ""),
            id=str(self.raw.get("id") or ""),
            usage=_usage(self.raw.get("usage")),
            request=self.request,
        )
        if "choices" not in self.raw:
            choice = {
                "index": 0,
                "message": made.message.to_api(),
                "finish_reason": self.finish_reason,
            }
            self.raw |= {"object": "chat.completion", "choices": [choice]}
        return made.replace(raw=self.raw)


def _object(body: bytes, partial: str = "") -> Mapping[str, Any]:
    """Return the JSON object of a body or an event, raising what an error object says."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:80].decode("utf-8", "replace")
        found = f"it begins with {start!r}" if start else "it is empty"
        raise InvalidAnswer(f"the answer is no JSON: {found}", partial=partial) from None
    if not isinstance(data, dict):
        raise InvalidAnswer(f"the answer is {str(data)[:40]!r}, not an object", partial=partial)
    error = data.get("error")
    if error:
        raise _upstream_error(error, partial)
    return data


def _upstream_error(error: Any, partial: str) -> BackendError:
    """Return what an error object in a body or an event says."""
    said = error.get("message") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    kind = _BY_STATUS.get(code if isinstance(code, int) else 0, UpstreamUnavailable)
    return kind(f"the upstream reports an error: {str(said)[:500]}", partial=partial)


def _choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise InvalidAnswer(f"the answer has no choices; its keys are {', '.join(data)[:200]}")
    return _mapping(choices[0])


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidAnswer(f"the answer holds {str(value)[:40]!r} where an object belongs")
    return value


def _text(message: Mapping[str, Any]) -> str:
    """Return the text of a message or delta; a refusal is the answer's text, too."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(_mapping(part).get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise InvalidAnswer(f"the content is {str(content)[:40]!r}, not a text")
    return content or _optional_text(message.get("refusal")) or ""


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    numbers = [value.get(name) for name in names]
    return Usage(*(number if isinstance(number, int) else 0 for number in numbers))


_BY_STATUS: dict[int, type[BackendError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: Timeout,
    413: BadRequest,
    422: BadRequest,
    429: RateLimited,
}
_ADVICE: dict[type[BackendError], str] = {
    AuthenticationFailed: "check the key that the provider's environment variable holds",
    ModelNotFound: "check the model's name, given as provider/model",
    QuotaExhausted: "the account has no credit left",
    RateLimited: "wait and try again",
    Timeout: "try again, or give it more time",
    UpstreamUnavailable: "check that the address is right and the server runs",
}


def translate(error: Exception, endpoint: Endpoint, partial: str = "") -> BackendError:
    """Return an error of personakit's family for one of the openai client's.

    Args:
        error: What the client raised.
        endpoint: Where the request went.
        partial: The text that had arrived.
    """
    kind = clients.openai()
    status = getattr(error, "status_code", None)
    family: type[BackendError]
    if isinstance(error, kind.APITimeoutError) or "Timeout" in type(error).__name__:
        family, said = Timeout, "it did not answer in time"
    elif status is not None:
        family = _BY_STATUS.get(status, BadRequest if status < 500 else UpstreamUnavailable)
        if status == 429 and getattr(error, "code", None) == "insufficient_quota":
            family = QuotaExhausted
        said = f"status {status}: {_said(error)}"
        if 300 <= status < 400:
            family, said = UpstreamUnavailable, f"status {status}: it redirects, which is not followed"
    else:
        family = IncompleteAnswer if partial else UpstreamUnavailable
        cause = error.__cause__ or error
        said = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    advice = f"; {_ADVICE[family]}" if family in _ADVICE else ""
    return family(
        f"{endpoint.model} at {endpoint.base_url}: {said}{advice}",
        partial=partial,
        status=status,
        request_id=getattr(error, "request_id", None) or "",
    )


def _said(error: Exception) -> str:
    """Return what the upstream said in an error's body."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    text = str(said or getattr(error, "message", error))
    return " ".join(text.split())[:500]

