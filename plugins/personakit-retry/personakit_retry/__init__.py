"""A personakit plugin that retries after transient errors and falls back to other models."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

import personakit
from personakit import PersonakitError, Request, Response, Send, UserOption, hookimpl

__all__ = ["Retry"]

Passing = Literal[
    "RateLimited", "Timeout", "UpstreamUnavailable", "IncompleteAnswer", "InvalidAnswer"
]
"""The transient errors, after which the same request may succeed."""

_OF_THE_MODEL = (
    personakit.QuotaExhausted,
    personakit.ModelNotFound,
    personakit.AuthenticationFailed,
)
"""The errors that are specific to a model, after which another model may succeed."""

MOST_ATTEMPTS = 100
"""The most attempts that a persona can ask for; each is paid."""


@dataclass(eq=False)
class Retry:
    """Retries after transient errors, and fallback to other models.

    Attributes:
        attempts: The most attempts for each model.
        backoff: The most seconds before the second attempt, doubled before each further one. The
            wait is random between 0 and this value, so that many callers do not retry at once.
        max_wait: The most seconds between two attempts; if the upstream requests a longer wait
            (Retry-After), the model is not asked again.
        fallback: The models, as provider/model, to ask in turn after the previous one failed.
        on: The errors after which the same model is asked again.

    Raises:
        ValueError: A number is out of range, or a model is not written as provider/model.
    """

    # A call is repeated, and not the work of these.
    inside_of = ("cache", "schema")

    attempts: int = 3
    backoff: float = 0.5
    max_wait: float = 30.0
    fallback: list[Annotated[str, UserOption("model")]] = field(default_factory=list)
    on: list[Passing] = field(
        default_factory=lambda: [
            "RateLimited", "Timeout", "UpstreamUnavailable", "IncompleteAnswer", "InvalidAnswer"
        ]
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise ValueError(
                f"attempts is {self.attempts}; use 1 to {MOST_ATTEMPTS} (the first attempt counts)"
            )
        for name in ("backoff", "max_wait"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name} is {seconds}; use a finite number of seconds, 0 or more")
        for model in self.fallback:
            if not all(model.partition("/")[::2]):
                raise ValueError(f"fallback contains {model!r}; write it as provider/model")
        self._passing = tuple(getattr(personakit, name) for name in self.on)

    @hookimpl
    async def chat(self, request: Request, send: Send) -> Response:
        """Send the request until it succeeds, unless text was already streamed."""
        tried: list[str] = []

        async def once(model: str) -> Response:
            # Disable the client's retries, which would multiply the attempts.
            asked = request.replace(model=model, max_retries=0)
            try:
                return await send.live(asked)
            except PersonakitError as error:
                tried.append(f"{model}: {type(error).__name__}: {error}")
                raise

        models = list(dict.fromkeys((request.model, *self.fallback)))
        for model in models:
            try:
                response: Response = await self._retrying(send)(once, model)
            except PersonakitError as error:
                lasting = not isinstance(error, (*self._passing, *_OF_THE_MODEL))
                if lasting or send.started or model == models[-1]:
                    if len(tried) > 1:
                        error.add_note("\n".join([f"attempts: {len(tried)}", *tried]))
                    raise
            else:
                break
        if not tried:
            return response
        summary = {"attempts": len(tried) + 1, "model": model}
        return response.replace(metadata={**response.metadata, "retry": summary})

    def _retrying(self, send: Send) -> AsyncRetrying:
        """Return the retry loop for one model; it awaits only `sleep`, so it fits all modes."""

        def again(error: BaseException) -> bool:
            wait = getattr(error, "retry_after", None) or 0.0
            return isinstance(error, self._passing) and not send.started and wait <= self.max_wait

        return AsyncRetrying(
            sleep=personakit.sleep,
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            retry=retry_if_exception(again),
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait: the upstream's Retry-After, else a random time."""
        error = state.outcome.exception() if state.outcome else None
        asked: float | None = getattr(error, "retry_after", None)
        if asked is not None:
            return asked
        return wait_random_exponential(multiplier=self.backoff, max=self.max_wait)(state)
