"""Keys of a persona file that are at the wrong level, or have the name of another format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from personakit.base import describe
from personakit.errors import did_you_mean
from personakit.persona import parameters, tests, variables
from personakit.persona.mistakes.declarations import role_hint, synonyms
from personakit.persona.mistakes.failure import ASSIGNMENT
from personakit.persona.yaml import Document, Path

_NO_TEXT = (
    "the persona sends nothing: it has neither `system:`, `messages:` nor `prompt:`; "
    "write `system:` with the system message, such as `system: You are a chef.`"
)
_EMPTY = (
    "`system:` has no text; write it after the colon, or indented below `system: |`, and quote a "
    "text that begins with #"
)
_UNKNOWN = "; chat completions have no such parameter"
_ROLES = ("user", "assistant", "developer")


# OpenAI, Anthropic, LangChain, Promptfile, GitHub's .prompt.yml, Ollama's Modelfile, assistants.
_SYNONYMS = synonyms(
    system="instruction instructions system_prompt system_message systemprompt persona preamble",
    prompt="user_prompt prompt_template question user_message",
    messages="examples example_messages few_shot few_shots conversation dialog",
    variables="vars var inputs input_variables arguments args placeholders fields",
    parameters="params param model_parameters modelparameters model_settings settings options "
    "config generation_config hyperparameters",
    output="schema json_schema output_schema response_schema outputs format",
    tools="functions tool",
    extends="extend base parent inherit inherits from include",
    model="engine model_name model_id",
    name="title id slug",
    authors="creator created_by",
    description="summary about",
    tags="labels keywords categories category",
    tests="test testcases evals",
    plugins="plugin",
)
_PARAMETERS = synonyms(
    temperature="temp",
    max_tokens="max_length max_new_tokens max_output_tokens num_predict maxtokens",
    stop="stop_sequences stop_words",
    frequency_penalty="repeat_penalty repetition_penalty",
    reasoning_effort="effort thinking",
)
_ELSEWHERE = ("top_k", "top_a", "min_p", "typical_p", "num_ctx", "mirostat")


# What to write, by the key.
_LEVELS = {
    **{name: f"; put it under `messages:`, as `- {name}: …`" for name in _ROLES},
    **dict.fromkeys(tests.KEYS + tests.EXPECT, "; put it in an entry of `tests:`"),
    **{
        name: f"; put it below the name of a variable: `variables: {{NAME: {{{name}: …}}}}`"
        for name in variables.KEYS
    },
    **{name: f"; {reason}" for name, reason in parameters.REFUSED.items()},
    **{name: f"; write `{key}:`" for name, key in _SYNONYMS.items()},
    **dict.fromkeys(("role", "content"), "; write it under `messages:`, as `- user: text`"),
    **dict.fromkeys(_ELSEWHERE, _UNKNOWN),
    "keep": "; put it under `history:`, as in `history: {keep: 20}`",
    "provider": "; write it before the model: `model: provider/model`",
}


def not_a_mapping(data: Any) -> str:
    """Return the message for a file that has no keys; it must not show what may be any file."""
    kinds = {str: "a string", list: "a list", type(None): "an empty file"}
    message = (
        f"expected a mapping with at least `system:`, found {kinds.get(type(data), 'a value')}"
    )
    if isinstance(data, list):
        return f"{message}; write `key: value` without `- `"
    if not isinstance(data, str):
        return message
    if data.startswith("<"):
        return f"{message} that begins with <, as a web page does; download the file itself"
    if ASSIGNMENT.match(data):
        return f'{message}; write `key: value` instead of `key = "value"`'
    return f"{message}; write a text below `system: |`, indented"


def root(key: str, value: Any, data: Mapping[str, Any]) -> str:
    """Return where an unknown key of a persona file belongs, as ``; …``; empty if it is not known.

    Args:
        key: The key.
        value: Its value.
        data: The whole file.
    """
    name = _snake(key)
    inner = name if name in parameters.ALLOWED else _PARAMETERS.get(name)
    if inner is not None:
        return f"; put it under `parameters:`, as in `parameters: {{{inner}: {_short(value)}}}`"
    if name in _LEVELS:
        return _LEVELS[name]
    if " " in key.strip():
        return "; if the line is a part of a text, write all of it below `system: |`, indented"
    if any(_uses(data.get(text), key) for text in ("system", "prompt")):
        return f"; declare a variable under `variables:`, as in `variables: {{{key}: …}}`"
    return ""


def parameter(name: str, keys: Iterable[str]) -> str:
    """Return what to write for an unknown parameter, as ``; …``; empty if it is not known."""
    if name in keys:
        return f"; write `{name}:` beside `parameters:`, not below it"
    snake = _snake(name)
    if snake in _ELSEWHERE:
        return _UNKNOWN
    known = snake if snake in parameters.ALLOWED else _PARAMETERS.get(snake)
    return f"; write {known}" if known else ""


def no_text(document: Document) -> tuple[str, Path]:
    """Return the message for a file that sends nothing, and the path that it is about."""
    for at, mark in document.marks.items():
        if len(at) > 1 and at[-1] == "system" and at[0] != "messages":
            place = f"`system:` on line {mark.key_line} is below `{at[0]}:`"
            return f"the persona sends nothing: {place}, so indent it less", at
    return (_EMPTY, ("system",)) if "system" in document.data else (_NO_TEXT, ())


def message_form(item: Any) -> str:
    """Return the correction of a message in the form of the API, or an example."""
    if isinstance(item, dict) and item.keys() >= {"role", "content"}:
        return f"`- {_short(item['role'])}: {_short(item['content'])}`"
    if isinstance(item, dict) and item.keys() <= {"system", *_ROLES}:
        return " and ".join(f"`- {role}: …`" for role in item)
    return "`- user: What is in season?`"


def role(name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown role of a message."""
    hint = role_hint(name) or did_you_mean(name, known)
    return f"unknown role {name!r}: use one of {', '.join(known)}{hint}"


def tool(value: Any) -> str:
    """Return the message for an item of `tools:` that is not the name of a tool."""
    hint = "write the name of an installed tool, as in `tools: [search]`; `personakit plugins` "
    return f"tools: expected a name, found {describe(value)}; {hint}lists what is installed"


def _snake(key: str) -> str:
    """Return a key in lower case, with underscores between its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[- ]", "_", key.strip()).lower()


def _uses(text: Any, name: str) -> bool:
    word = re.escape(name[:64])
    return isinstance(text, str) and bool(re.search(rf"\{{[{{%][^}}]*\b{word}\b", text))


def _short(value: Any) -> str:
    if isinstance(value, str):
        line = value.strip().partition("\n")[0]
        return line if len(line) <= 40 and line == value.strip() else f"{line[:40]}…"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return "…"
