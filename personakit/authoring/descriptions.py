"""Descriptions of the keys of a persona file, shown by editors."""

from __future__ import annotations

KEYS = {
    "name": "The persona's name; by default the file name without its extension.",
    "description": "What the persona does, in one sentence; `personakit list` shows it.",
    "version": 'Free text; quote it, as in "1.0".',
    "extends": "The persona, or list of personas, to inherit from.",
    "tags": "Keywords for `personakit list --tag`.",
    "authors": "The authors of the persona.",
    "license": "Free text, such as an SPDX identifier.",
    "source": "Where the persona comes from.",
    "metadata": "A mapping for your own use; personakit ignores it.",
    "model": "provider/model, such as openai/gpt-5-mini. Usually left to the caller.",
    "api": "The API of OpenAI to use: chat, responses, or auto, which chooses by the model.",
    "parameters": "Keyword arguments of chat.completions.create().",
    "variables": "The variables of the templates: each name with a default, or with a mapping.",
    "system": "The system message, a Jinja2 template; or {text: ..., cache: true}.",
    "messages": "Few-shot messages after the system message; each content is a template. "
    "With {append: [...]}, those of the parent come first.",
    "prompt": "A template of the user's message; `input` is the text that the user typed.",
    "tools": "Names of tools that plugins provide.",
    "output": "A JSON Schema that the answer must match; sent as response_format.",
    "history": "How much of a conversation is sent, as in {keep: 20}.",
    "plugins": "The plugins around this persona's calls; the first is the outermost.",
    "tests": "Tests of the messages or the answer; `personakit test` runs them.",
    "template": "jinja, or none for literal texts.",
}
CACHE = (
    "Whether the provider is asked to keep the prompt up to here for the next requests; for APIs "
    "that want to be asked."
)
PARAMETERS = {
    "frequency_penalty": "Makes tokens less likely the more often they have occurred; -2 to 2.",
    "logit_bias": "Makes tokens more or less likely: token IDs with numbers from -100 to 100.",
    "logprobs": "Return the log probabilities of the answer's tokens.",
    "max_completion_tokens": "The maximum number of tokens of the answer, including reasoning.",
    "max_tokens": "The maximum number of tokens of the answer.",
    "presence_penalty": "Makes tokens that have occurred less likely; -2 to 2.",
    "reasoning_effort": "How much a reasoning model thinks before it answers.",
    "response_format": "The format of the answer; use `output` for a JSON Schema.",
    "seed": "An integer that makes answers repeatable, as far as the model supports it.",
    "stop": "A text, or a list of up to 16 texts, that ends the answer.",
    "temperature": "The randomness of the answer, from 0 (likeliest tokens) to 2.",
    "top_logprobs": "The number of likeliest tokens to return at each position; 0 to 20.",
    "top_p": "Use only the likeliest tokens whose probabilities add up to this; 0 to 1.",
    "verbosity": "How long answers are.",
}
VARIABLE = {
    "type": "The type of the values; by default the type of `default`, or else `string`.",
    "default": "The value if none is set.",
    "required": "Whether a value must be set; by default true for a variable without a default.",
    "enum": "The allowed values.",
    "minimum": "The smallest number; for a text or array, the minimum length.",
    "maximum": "The largest number; for a text or array, the maximum length.",
    "pattern": "A regular expression that must match somewhere in a text; no look-around.",
    "items": "The declaration of each item of an array.",
    "properties": "The declarations of the fields of an object: each name with a default, or with "
    "a mapping.",
    "additional": "Whether the object may have more fields than `properties`; by default false.",
    "description": "What the variable is for.",
    "example": "A value for documentation; it is never used.",
}
TEST = {
    "name": "The name of the test.",
    "variables": "Values for the persona's variables.",
    "prompt": "The user's message.",
    "model": "The model to ask.",
    "render": "Checks of the rendered messages; no model is needed.",
    "expect": "Checks of the model's answer.",
}
CHECKS = {
    "contains": "The text contains this, or each text of a list.",
    "contains_any": "The text contains at least one text of a list.",
    "not_contains": "The text contains none of these.",
    "matches": "This regular expression matches somewhere in the text.",
    "equals": "The text equals this.",
    "max_words": "The maximum number of words in the text.",
    "max_tokens": "The maximum number of tokens in the text.",
    "json_schema": "The text is JSON that matches this schema.",
    "judge": "A model judges that the text satisfies this rubric.",
}
JUDGE = {
    "rubric": "The criteria for a good answer.",
    "persona": "The persona that judges.",
    "model": "The model that judges.",
}
ROLES = {
    "system": "An additional system message.",
    "developer": "A developer message.",
    "user": "A user message.",
    "assistant": "An assistant message.",
}
APPEND = "Messages after those of the parent."
KEEP = "The maximum number of a conversation's newest messages to send."
ON_ERROR = "fail stops the run if the plugin fails; skip continues without it."
