"""Parameters that a client sends under the names that they have in the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FORM = ("name", "description", "schema", "strict")


def as_chat(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body with the parameters of the Responses API as a chat completion has them.

    Cursor sends them to this API, and OpenRouter's clients send `reasoning`. A parameter that the
    body also has under its name of chat completions is kept. Values are not checked here.
    Source of the names: https://platform.openai.com/docs/guides/migrate-to-responses.
    """
    found: dict[str, Any] = {}
    used = []
    if "max_output_tokens" in body:
        used.append("max_output_tokens")
        if body.get("max_completion_tokens") is None:
            found["max_tokens"] = body["max_output_tokens"]
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, Mapping):
        used.append("reasoning")
        found["reasoning_effort"] = reasoning.get("effort")
    if isinstance(text, Mapping):
        used.append("text")
        found |= {"verbosity": text.get("verbosity"), "response_format": _form(text.get("format"))}
    if not used:
        return body
    rest = {name: value for name, value in body.items() if name not in used and value is not None}
    return {**found, **rest}


def _form(form: Any) -> Any:
    """Return a `text.format` as a `response_format`, which has the schema in a mapping."""
    if not isinstance(form, Mapping) or form.get("type") != "json_schema" or "json_schema" in form:
        return form
    inner = {name: form[name] for name in _FORM if name in form}
    return {"type": "json_schema", "json_schema": inner}
