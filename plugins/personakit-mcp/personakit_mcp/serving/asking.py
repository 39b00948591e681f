"""Asking the user of a client, in the way of its version of the specification.

A client of 2025-11-25 is sent a request, ``elicitation/create``, while its own one is answered. One
of 2026-07-28 gets an `InputRequiredResult`, and sends its request again with what the user said.
What the server has to know then is in the `requestState`, which `seal` makes unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from personakit import Question, Variable
from personakit_mcp.serving.wording import encodable

TTL = 3600.0
"""Seconds in which a client has to send the answers."""
_FIELD = "answer"
_MOST = 20_000
_ASKABLE = ("string", "integer", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Form:
    """What the user is asked.

    Attributes:
        key: What tells it from the other forms of a request.
        message: The text above its fields.
        properties: The JSON Schemas of its fields, by name.
    """

    key: str
    message: str
    properties: Mapping[str, Mapping[str, Any]]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the form; every field is required."""
        fields = {name: dict(field) for name, field in self.properties.items()}
        return {"type": "object", "properties": fields, "required": list(fields)}


class InputRequired(Exception):
    """The client has to send its request again, with what the user said.

    Attributes:
        result: What it is told.
    """

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__()
        self.result = result


class Desk:
    """Asks the user of a client.

    Args:
        ctx: The context of the request.
        params: Its parameters, which may have answers of the user.

    Attributes:
        is_new: Whether the request is one of 2026-07-28 or later.
        can_ask: Whether the client shows forms.
        state: What the server kept in the request; empty for the first one.
    """

    def __init__(self, ctx: Any, params: types.CallToolRequestParams) -> None:
        self._ctx = ctx
        self.is_new = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self.can_ask = _shows_forms(ctx) and (self.is_new or ctx.session.can_send_request)
        # Before 2026-07-28 there was no state, so a client that sends one has made it up.
        kept = params.request_state if self.is_new else None
        self.state: dict[str, Any] = json.loads(kept or "{}")
        self._answers = dict(params.input_responses or {}) if self.is_new else {}

    async def ask(self, form: Form, state: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what the user wrote into a form; None if the user did not answer.

        Args:
            form: The form.
            state: What `state` will be if the client has to send its request again.

        Raises:
            InputRequired: The client has to.
        """
        if self.is_new:
            return self._answer(form, state)
        try:
            result = await self._ctx.session.elicit_form(
                form.message, form.schema(), related_request_id=self._ctx.request_id
            )
        except MCPError:
            return None  # the client cannot show this form
        return _content(result)

    def _answer(self, form: Form, state: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if form.key in self._answers:
            return _content(self._answers.pop(form.key))
        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(
                message=form.message, requested_schema=form.schema()
            )
        )
        kept = json.dumps(state, ensure_ascii=False)
        required = types.InputRequiredResult(input_requests={form.key: request}, request_state=kept)
        raise InputRequired(required)


def form_of_arguments(missing: Sequence[Variable | None], name: str, fault: str) -> Form | None:
    """Return the form for arguments without a value; None if a field cannot have such a value.

    Args:
        missing: The variables; None stands for the input.
        name: The name of the persona.
        fault: What was wrong with the last answer; empty if there was none.
    """
    if any(each is not None and each.type not in _ASKABLE for each in missing):
        return None
    fields = dict(map(_field, missing))
    message = f"{name} needs {', '.join(fields)}."
    return Form("arguments", f"{fault}\n{message}" if fault else message, fields)


def form_of_questions(questions: Sequence[Question]) -> Form:
    """Return the form for the questions of plugins and tools during a run."""
    fields: dict[str, Any] = {}
    texts: list[str] = []
    for number, question in enumerate(questions, 1):
        text = encodable(question.text)
        texts.append(f"{question.plugin} asks: {text}" if question.plugin else text)
        if question.details:
            cut = len(question.details) > _MOST
            texts.append(encodable(question.details[:_MOST]) + ("…" if cut else ""))
        field: dict[str, Any] = {"type": "string", "title": text[:200]}
        if question.choices:
            field["enum"] = list(map(encodable, question.choices))
        fields[_FIELD if len(questions) == 1 else f"{_FIELD}_{number}"] = field
    # A client that sends a request again must not answer the next question with the old answer.
    key = "questions " + " ".join(question.id for question in questions)
    return Form(key, "\n".join(texts), fields)


def answers(questions: Sequence[Question], content: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers of a form by the ids of their questions."""
    fields = form_of_questions(questions).properties
    pairs = zip(questions, fields, strict=True)
    return {each.id: str(content[name]) for each, name in pairs if content.get(name) is not None}


def seal(secrets: Sequence[bytes], audience: str, bind: Callable[[Any], str]) -> Any:
    """Return the middleware that seals what a client keeps for the server between two requests.

    Args:
        secrets: The keys; empty for a key of this process.
        audience: The name of the server.
        bind: Returns the name of the caller, given the context of a request: another caller cannot
            use the state.
    """
    made: list[Any] = []

    async def sealed(ctx: Any, call_next: Any) -> Any:
        is_call = ctx.method == "tools/call" and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if not is_call:
            return await call_next(ctx)
        if not made:
            # It imports a library of cryptography, which prompts do not need.
            from mcp.server import request_state  # noqa: PLC0415

            security = (
                request_state.RequestStateSecurity(keys=secrets, ttl=TTL, bind_principal=bind)
                if secrets
                else request_state.RequestStateSecurity.ephemeral(ttl=TTL)
            )
            security.bind_principal = bind
            made.append(request_state.RequestStateBoundary(security, default_audience=audience))
        return await made[0](ctx, call_next)

    return sealed


def _shows_forms(ctx: Any) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities and capabilities.elicitation
    # An empty object means forms, as before there were others.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _content(result: Any) -> Mapping[str, Any] | None:
    action, content = getattr(result, "action", ""), getattr(result, "content", None)
    return content if action == "accept" and content is not None else None


def _field(variable: Variable | None) -> tuple[str, dict[str, Any]]:
    if variable is None:
        return "input", {"type": "string", "title": "input", "description": "Your message."}
    # A form has no values of any type: the text is read as JSON, else as it is.
    kind = "string" if variable.type == "any" else variable.type
    field: dict[str, Any] = {"type": kind, "title": variable.name}
    if variable.description:
        field["description"] = variable.description
    schema = variable.to_schema()
    if variable.enum:
        # The choices of a form are texts.
        return variable.name, {**field, "type": "string", "enum": list(map(str, variable.enum))}
    bounds = ("minimum", "maximum", "minLength", "maxLength")
    return variable.name, field | {key: schema[key] for key in bounds if key in schema}
