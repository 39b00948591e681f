"""What the finish reasons of providers mean: not every answer that ended is whole."""

from __future__ import annotations

from personakit.backend.api_errors import later
from personakit.errors import BackendError, IncompleteAnswer, UpstreamUnavailable
from personakit.messages import Request

# By provider, from the API reference of each. `Response.finish_reason` has OpenAI's names for them.
# The table is not looked up by provider, because the same servers stand behind other addresses; no
# reason has two meanings.
_OPENAI = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",  # deprecated
    "content_filter": "content_filter",
}
_TABLE: dict[str, dict[str, str]] = {
    # https://platform.openai.com/docs/api-reference/chat/object
    "openai, azure, cerebras, groq, xai, ollama, llamacpp, vllm": _OPENAI,
    # https://docs.claude.com/en/api/messages, of gateways that pass it on
    "anthropic": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "tool_use": "tool_calls",
        "max_tokens": "length",
        "pause_turn": "length",  # a long turn that can be continued
        "model_context_window_exceeded": "length",
        "refusal": "content_filter",
    },
    # https://ai.google.dev/api/generate-content#FinishReason
    "gemini": {
        "safety": "content_filter",
        "recitation": "content_filter",
        "blocklist": "content_filter",
        "prohibited_content": "content_filter",
        "spii": "content_filter",
    },
    # https://docs.mistral.ai/api
    "mistral": {"model_length": "length"},
    # https://docs.together.ai/reference/chat-completions
    "together": {"eos": "stop"},
    # https://huggingface.co/docs/text-generation-inference
    "huggingface": {"eos_token": "stop"},
    # https://docs.bigmodel.cn, the API of GLM
    "zhipu": {"sensitive": "content_filter"},
}
_MEANINGS = {reason: meaning for table in _TABLE.values() for reason, meaning in table.items()}
# The upstream failed, and sending the request again may help: OpenRouter, Mistral and vLLM (error),
# DeepSeek (insufficient_system_resource), GLM (network_error), vLLM and SGLang (abort).
_FAILED = frozenset({"abort", "error", "insufficient_system_resource", "network_error"})


_LIMITS = ("max_completion_tokens", "max_tokens")


def meaning(reason: str | None) -> str | None:
    """Return the meaning of a finish reason: stop, tool_calls, length or content_filter.

    None, and any reason that is not in the table, are returned unchanged.
    """
    return None if reason is None else _MEANINGS.get(reason.lower(), reason)


def failure(reason: str) -> BackendError | None:
    """Return the error of a finish reason that does not end a whole answer; None for others."""
    if reason.lower() in _MEANINGS:
        return None
    if reason.lower() in _FAILED:
        error = UpstreamUnavailable(
            f"the upstream failed during the answer (finish reason: {reason})"
        )
        error.advice = later()
        return error
    return IncompleteAnswer(f"the answer ended with the unknown finish reason {reason[:80]!r}")


def without_answer(reason: str | None, request: Request, reasoning: str) -> BackendError | None:
    """Return the error of an answer without text and tool calls; None if it may be empty.

    Args:
        reason: The meaning of its finish reason.
        request: The request as it was sent.
        reasoning: The model's thoughts.
    """
    if reason == "content_filter":
        error = IncompleteAnswer(
            "the provider held the answer back (finish reason: content_filter)"
        )
        error.advice = "rephrase the prompt, or choose another model"
        return error
    if reason == "length":
        used = "the model's reasoning used up the token limit"
        cause = used if reasoning else "the token limit was reached"
        error = IncompleteAnswer(f"{cause} before the answer began (finish reason: length)")
        name = next((name for name in _LIMITS if request.parameters.get(name)), None)
        limit = f"now {request.parameters[name]}" if name else "not set: the provider has its own"
        error.advice = f"raise {name or 'max_tokens'} ({limit})"
        return error
    if reasoning:
        return IncompleteAnswer("the answer has reasoning, but neither content nor tool calls")
    return None
