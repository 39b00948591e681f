"""What each key of a persona file means, in a sentence: an editor shows it while one types."""

from __future__ import annotations

KEYS = {
    "name": "The persona's name: the stem of the file unless it is given.",
    "description": "What it does, in one sentence, for `personakit list`.",
    "version": 'Free text; quote it, as in "1.0".',
    "extends": "The persona, or list of personas, that this one takes over from.",
    "tags": "Words for `personakit list --tag`.",
    "authors": "Who wrote it.",
    "license": "Free text, such as an SPDX identifier.",
    "source": "Where it comes from.",
    "metadata": "A mapping that is yours; nothing reads it.",
    "model": "provider/model, such as openai/gpt-5-mini. Better left to the caller.",
    "parameters": "Keyword arguments of chat.completions.create().",
    "variables": "What the templates take: by name a default, or the keys of the long form.",
    "system": "The system message, a Jinja2 template.",
    "messages": "Few-shot messages after the system message; each content is a template.",
    "prompt": "A template of the user's message, in which `input` is what the user typed.",
    "tools": "Names of tools, which plugins bring.",
    "output": "A JSON Schema that the answer must have; sent as response_format.",
    "history": "How much of a conversation is sent, as in {keep: 20}.",
    "plugins": "The plugins around this persona's calls, first = outermost.",
    "tests": "What the messages or the answer must be like; `personakit test` runs them.",
    "template": "jinja, or none: every text is literal.",
}
PARAMETERS = {
    "frequency_penalty": "Makes words less likely the more often they have come; -2 to 2.",
    "logit_bias": "Makes tokens more or less likely: token ids with numbers from -100 to 100.",
    "logprobs": "Return the log probabilities of the answer's tokens.",
    "max_completion_tokens": "The most tokens of the answer, those of reasoning included.",
    "max_tokens": "The most tokens of the answer.",
    "presence_penalty": "Makes words that have come less likely; -2 to 2.",
    "reasoning_effort": "How much a reasoning model thinks before it answers.",
    "response_format": "The form of the answer; see `output` for a JSON Schema.",
    "seed": "An integer that makes answers repeatable, as far as the model can.",
    "stop": "A text, or up to 16, at which the answer ends.",
    "temperature": "0 for the likeliest words, up to 2 for surprising ones.",
    "top_logprobs": "The number of likeliest tokens to return at each place; 0 to 20.",
    "top_p": "Only the likeliest words whose probabilities come to this; 0 to 1.",
    "verbosity": "How long answers are.",
}
VARIABLE = {
    "type": "The type of its values; `string` unless the default says otherwise.",
    "default": "The value when none is given.",
    "required": "true when a value must be given; so it is without a default.",
    "enum": "The only values allowed.",
    "minimum": "The least number; of a text or array, its least length.",
    "maximum": "The greatest number; of a text or array, its greatest length.",
    "pattern": "A regular expression that a text must match somewhere; no look-around.",
    "description": "What it is for.",
    "example": "A value to show; never used.",
}
TEST = {
    "name": "What the test is called.",
    "variables": "Values for the persona's variables.",
    "prompt": "What the user says.",
    "model": "The model to ask.",
    "render": "Checks of the rendered messages; no model is needed.",
    "expect": "Checks of the model's answer.",
}
CHECKS = {
    "contains": "The text holds this, or all of a list.",
    "contains_any": "The text holds one of a list.",
    "not_contains": "The text holds none of these.",
    "matches": "The text matches this pattern somewhere.",
    "equals": "The text is this.",
    "max_words": "The text has no more words.",
    "max_tokens": "The text has no more tokens.",
    "json_schema": "The text is JSON of this schema.",
    "judge": "The text satisfies a rubric, in the judgement of a model.",
}
JUDGE = {
    "rubric": "What a good answer is.",
    "persona": "The persona that judges.",
    "model": "The model that judges.",
}
ROLES = {
    "system": "A further system message.",
    "developer": "A message of the developer.",
    "user": "What the user said.",
    "assistant": "What the assistant answered.",
}
KEEP = "How many of the newest messages of a conversation are sent, at most."
ON_ERROR = "fail stops the run when the plugin fails; skip goes on without it."
