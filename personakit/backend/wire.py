"""A wire: how the requests of one API are written, and its answers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from personakit.backend.answers.answer import Answer
from personakit.base import Secret
from personakit.errors import BackendError
from personakit.messages import Message, Request, ToolCall
from personakit.providers import Endpoint, Provider

if TYPE_CHECKING:
    from personakit.schemas import SchemaSubset


class Wire:
    """How the requests of one API are written, and its answers read.

    A subclass implements `path` and `body`, and names its `answers`. One instance serves all
    requests, from all threads, so it keeps nothing about any of them. Connections, keys, retries,
    the deadline, the decoding of events, and the sync and the async API are the backend's.

    Attributes:
        name: Its name in ``api:`` of a provider and of a persona.
        title: The API's name in messages.
        parameters: The names of `Request.parameters` that it can say; None for all.
        features: Fields of `personakit.Provider` that have other values with this wire, such as
            ``{"json_schema": True}``.
        schemas: The subset of JSON Schema for a structured answer; None for all of it. A schema
            that it cannot express is written into the system message.
        answers: The class of its answers.
    """

    name: str
    title: str = "the provider's API"
    parameters: frozenset[str] | None = None
    schemas: SchemaSubset | None = None
    features: ClassVar[Mapping[str, Any]] = {}
    answers: type[Answer] = Answer

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return what follows the provider's address in the URL, with a query if need be."""
        raise NotImplementedError

    def headers(self, key: Secret | None) -> Mapping[str, str | None]:
        """Return headers besides those of every request; None removes one.

        Args:
            key: The provider's key. Every request has it as ``Authorization: Bearer``.
        """
        return {}

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request.

        Args:
            request: The request; its parameters are among `parameters`.
            endpoint: The address, and the upstream's name of the model.
            provider: Its provider.
            stream: Whether the answer is to be streamed.

        Raises:
            ConfigError: The API cannot say what the request contains.
        """
        raise NotImplementedError

    def answer(self, request: Request, provider: Provider) -> Answer:
        """Return the parser of one answer, by default one of `answers`."""
        return self.answers(request, provider, self.name)

    def error(self, status: int, data: Any) -> BackendError | None:
        """Return the error of a reply with a status of 400 or more; None for that of its status.

        Without this, the message is the body's, as far as its form is a usual one. The address, the
        time to wait and the request's id are added.

        Args:
            status: The HTTP status.
            data: The JSON of the body; its text if it is not JSON.
        """
        return None

    def kept(self, message: Message, request: Request, provider: Provider) -> tuple[Any, ...]:
        """Return what `Answer.keep` kept of a message.

        It is empty for a message of another wire, provider or model: signatures and encrypted
        thoughts are valid only where they come from.
        """
        origin = (provider.name, self.name, request.model)
        for item in message.items:
            # A file may contain anything.
            if (
                isinstance(item, Mapping)  # type: ignore[redundant-expr]
                and (item.get("provider"), item.get("wire"), item.get("model")) == origin
                and isinstance(items := item.get("items"), tuple | list)
            ):
                return tuple(entry for entry in items if isinstance(entry, Mapping))
        return ()

    def parts(
        self, message: Message, request: Request, provider: Provider
    ) -> Iterator[str | ToolCall | Mapping[str, Any]]:
        """Yield the texts and the calls of an answer and, between them, what was kept of it.

        Args:
            message: An assistant message.
            request: The request that it is sent with.
            provider: The provider that it is sent to.
        """
        from personakit.backend.answers.order import ordered  # noqa: PLC0415

        entries = self.kept(message, request, provider)
        for _, part in ordered(message.text, message.tool_calls, entries):
            if part:
                yield part

    @staticmethod
    def limit(request: Request, endpoint: Endpoint) -> int | None:
        """Return the most tokens of an answer: the request's, at most the endpoint's."""
        parameters = request.parameters
        asked = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
        limits = [limit for limit in (asked, endpoint.max_tokens) if limit is not None]
        return min(limits, default=None)
