"""Token counts: exact with the model's vocabulary, else estimated.

`pip install 'personakit[tokens]'` installs the vocabularies; nothing is ever downloaded. The tokens
that a chat format adds around each message are not counted: providers do not publish them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from personakit.base import install_command

# The vocabulary in splintr by the model's name, without the provider. Fine-tuned and distilled
# models are left out: they may use another vocabulary than their name suggests.
_VOCABULARIES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"gpt-oss", "o200k_base"),
        (r"(chatgpt-4o|gpt-4o|gpt-4\.[15]|gpt-[5-9]|o[1-9](?=-|\Z))", "o200k_base"),
        (r"(gpt-4|gpt-3\.5)(?=-|\Z)", "cl100k_base"),
        (r"(meta-)?llama-?3", "llama3"),
        (r"(meta-)?llama-?2", "llama2"),
        (r"deepseek-(v3|chat|reasoner|r1\Z)", "deepseek_v3"),
        (r"phi-?4(?=:|-?\Z)", "phi4"),
        (r"qwen-?(2|2\.5|3)(?=[:-]|\Z)", "qwen3"),
        (r"gemma-?3(?=[:-]|\Z)", "gemma3"),
        (r"gemma-?2(?=[:-]|\Z)", "gemma2"),
    )
)
_OTHERWISE = "o200k_base"

# The estimate adds a weight per piece of text, fitted to o200k_base: within 10 % for English, code
# and YAML, and within a third for most other languages.
_WORD, _SPACE = 7, 1
_PIECE = re.compile(
    r"(?P<word>[A-Za-z]+)|(?P<number>[0-9]{1,3})|(?P<space>\s+)|(?P<mark>[!-/:-@\[-`{-~]+)|"
    r"(?P<letters>[\u00aa-\u1fff\u2c00-\u2dff\ua640-\uabff]+)|"
    r"(?P<ideograph>[\u3000-\ua4cf\uac00-\ud7ff\uf900-\ufaff])|(?P<other>.)"
)


def count_tokens(text: str, model: str = "") -> tuple[int, bool]:
    """Return the number of tokens of a text, and whether it is exact.

    Args:
        text: The text.
        model: ``provider/model``; if it is empty or its vocabulary is unknown, the count is an
            estimate.
    """
    # A lone surrogate cannot be sent: a question mark is sent instead.
    text = text.encode("utf-8", "replace").decode("utf-8")
    name = vocabulary(model)
    encode = _encoder(name or _OTHERWISE)
    if encode is None:
        return _estimate(text), False
    return len(encode(text)), name is not None


def why_estimated(model: str) -> str:
    """Return why the count for a model is an estimate and what to do; empty if it is exact.

    Args:
        model: ``provider/model``; may be empty.
    """
    if _encoder(vocabulary(model) or _OTHERWISE) is None:
        command = install_command("personakit[tokens]")
        return f"the vocabularies are not installed; run: {command}"
    if not model:
        return "no model is chosen, and the vocabulary depends on the model"
    return "" if vocabulary(model) else f"the vocabulary of {model} is unknown"


def vocabulary(model: str) -> str | None:
    """Return the name of a model's vocabulary; None if it is unknown."""
    name = model.rpartition("/")[2].lower()
    if "distill" in name:
        return None
    return next((it for pattern, it in _VOCABULARIES if pattern.match(name)), None)


@functools.cache
def _encoder(name: str) -> Callable[[str], list[int]] | None:
    """Return the encoder of a vocabulary; None if the extra is not installed."""
    try:
        from splintr import Tokenizer  # noqa: PLC0415

        encode: Callable[[str], list[int]] = Tokenizer.from_pretrained(name).encode_ordinary
    except (ImportError, ValueError):
        return None
    return encode


def _estimate(text: str) -> int:
    """Return an estimate of the number of tokens of a text."""
    return round(sum(_weight(piece.lastgroup, piece[0]) for piece in _PIECE.finditer(text)))


def _weight(kind: str | None, piece: str) -> float:
    length = len(piece)
    if kind == "word":
        return max(1, length / _WORD)
    if kind == "space":
        return float("\n" in piece or length > _SPACE)
    if kind == "mark":
        return max(1, length / 2.2)
    if kind == "letters":
        return max(0.5, length / 2.8)
    return {"ideograph": 0.75, "number": 1.0}.get(kind or "", 1.2)
