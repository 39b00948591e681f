"""``POST /v1/chat/completions``: from a request to a run, and from its answer to a reply."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
from typing import Any

from personakit.base import run_id
from personakit.errors import ConfigError, JournalError, PersonakitError, UsageError
from personakit.journal import Resumption, Suspended
from personakit.messages import Request
from personakit.persona import Persona
from personakit.server.access import Access, Caller
from personakit.server.completions import body
from personakit.server.completions.errors import is_servers, not_resumable, refusal
from personakit.server.completions.held import Held, unknown_run
from personakit.server.completions.request import build
from personakit.server.completions.run import Paid, Run
from personakit.server.completions.streaming import Streaming
from personakit.server.completions.tools import wrong
from personakit.server.gate import Gate
from personakit.server.http import Exchange, Refusal
from personakit.server.metrics import Metrics
from personakit.server.models import Models
from personakit.server.settings import Settings

_log = logging.getLogger("personakit.server")
# A key of the body can have any characters, a header cannot (RFC 9110, 5.5).
_UNSHOWN = re.compile(rb"[^ -~]")


class Completions:
    """Answers chat completions."""

    def __init__(
        self,
        runner: Any,
        settings: Settings,
        access: Access,
        models: Models,
        gate: Gate,
        metrics: Metrics,
    ) -> None:
        self._runner, self._settings = runner, settings
        self._access, self._models = access, models
        self._gate, self._metrics = gate, metrics

    async def answer(self, exchange: Exchange) -> None:
        """Answer a request."""
        caller = self._access.caller(exchange)
        header = exchange.headers.get("x-personakit-variables", "")
        asked = body.read(await exchange.json(), header, self._settings.limits.variables)
        persona = await self._models.find(asked.model, caller)
        exchange.watch()
        let_in = functools.partial(self._let_in, exchange, asked, persona, caller)
        await self._access.admitted(caller, let_in)

    async def _let_in(
        self, exchange: Exchange, asked: body.Asked, persona: Persona, caller: Caller
    ) -> None:
        """Answer a request within the limits of its key."""
        await self._gate.enter()
        run = None
        try:
            run = await self._run(exchange, asked, persona, caller)
            await self._ran(exchange, run)
        except UsageError as error:
            # Nothing was sent: it is a refusal, not a run.
            raise self._refused(exchange, run, error) from error
        finally:
            self._gate.leave()

    async def _run(
        self, exchange: Exchange, asked: body.Asked, persona: Persona, caller: Caller
    ) -> Run:
        """Return the run that a client asks for."""
        held = Held(self._access.ledger, self._runner.journals, caller.name)
        options = {
            "tools": asked.tools.tools,
            "on_suspend": "return" if asked.tools.approves else "tell",
            "conversation": _conversation(exchange, caller),
        }
        prompt: Request | Resumption
        answers = await held.answers(asked.messages)
        if answers is not None:
            suspended = await self._suspended(answers.run)
            prompt, identity = answers.to(suspended), answers.run
            exchange.extra.append((b"x-personakit-run", identity.encode()))
            return Run(
                identity, persona, prompt, options, asked, caller, held, before=suspended.text
            )
        identity = run_id(time.time())
        messages = await held.restored(asked.messages)
        prompt, ignored = build(
            self._runner,
            persona,
            asked,
            messages,
            caller,
            self._settings,
            self._model(exchange, caller),
        )
        exchange.extra.append((b"x-personakit-run", identity.encode()))
        if ignored:
            shown = _UNSHOWN.sub(b"?", ", ".join(ignored)[:1000].encode("ascii", "replace"))
            exchange.extra.append((b"x-personakit-ignored", shown))
        return Run(identity, persona, prompt, {**options, "run_id": identity}, asked, caller, held)

    async def _suspended(self, identity: str) -> Suspended:
        """Return a suspended run.

        Raises:
            Refusal: It ended or was removed (404), or it cannot be read (409).
        """
        try:
            found: Suspended = await asyncio.to_thread(self._runner.suspended, identity)
        except JournalError as error:
            _log.warning("personakit: run %s: %s", identity, error)
            raise not_resumable() from None
        except UsageError:
            raise unknown_run() from None
        return found

    async def _ran(self, exchange: Exchange, run: Run) -> None:
        """Run, reply, and count the run."""
        started, first, status, paid = time.perf_counter(), None, "cancelled", Paid()
        self._metrics.started()
        try:
            if run.asked.stream:
                streaming = Streaming(exchange, run)
                try:
                    response = await streaming.reply(self._runner)
                finally:
                    first = streaming.first and streaming.first - started
                paid = Paid.of(response.spent)
            else:
                paid = await self._whole(exchange, run)
            status = "ok"
        except PersonakitError as error:
            paid = Paid.of(error.spent)
            if isinstance(error, UsageError):
                status = "refused"
                raise
            found = self._told(exchange, error)
            status = found.code or "error"
            if found.code != "budget_exceeded":
                found.reason = ""  # it is counted as a run
            raise found from error
        finally:
            self._metrics.ended(
                persona=run.persona.name,
                key=run.caller.name,
                status=status,
                seconds=time.perf_counter() - started,
                first=first,
                usage=paid.usage,
                cost=paid.cost,
            )

    async def _whole(self, exchange: Exchange, run: Run) -> Paid:
        """Answer with a whole chat completion, and return what it has paid."""
        response: Any = await self._runner.arun(run.persona, run.prompt, **run.options)
        calls = [call.id for call in getattr(response, "tool_calls", ())]
        questions = await run.keep(response, calls)
        paid = Paid.of(response.spent)
        cost = paid.cost
        headers = [] if cost is None else [(b"x-personakit-cost-usd", f"{cost:.9f}".encode())]
        await exchange.reply(200, run.completion(response, questions, paid), headers)
        return paid

    def _told(self, exchange: Exchange, error: PersonakitError) -> Refusal:
        found = refusal(error)
        if is_servers(found):
            _log.error("personakit: request %s: %s", exchange.id, error)
        return found

    def _refused(self, exchange: Exchange, run: Run | None, error: UsageError) -> Refusal:
        if isinstance(run and run.prompt, Resumption):
            _log.warning("personakit: request %s: %s", exchange.id, error)
            return not_resumable()
        if isinstance(error, ConfigError) and "x-personakit-model" in exchange.headers:
            _log.error("personakit: request %s: %s", exchange.id, error)
            return _unusable_model()
        return self._told(exchange, error)

    def _model(self, exchange: Exchange, caller: Caller) -> str | None:
        """Return the upstream model that the client chooses; None if it does not.

        Raises:
            Refusal: The key may not choose it (403), or it is a file of the server (400).
        """
        model = exchange.headers.get("x-personakit-model", "").strip()
        if not model:
            return None
        if not caller.allows_model(model):
            raise Refusal(
                403,
                f"the key {caller.name!r} may not choose the model {model[:80]!r}; leave out the "
                f"header x-personakit-model, or ask for a key with `--models {model[:80]}`",
                type="permission_error",
                code="model_not_allowed",
                param="x-personakit-model",
            )
        if self._runner.plugins.names_file(model):  # the server would read any file
            raise _unusable_model()
        return model


def _conversation(exchange: Exchange, caller: Caller) -> str | None:
    """Return the id of the client's chat for the run log, as Open WebUI sends it."""
    chat = exchange.headers.get("x-openwebui-chat-id", "")
    return f"{caller.name or 'local'}:{chat[:100]}" if chat else None


def _unusable_model() -> Refusal:
    message = (
        "the model of the header x-personakit-model cannot be used: it must be `provider/model` or "
        "an alias, with a provider that this server has a key for; its log has the cause"
    )
    return wrong("x-personakit-model", message)
