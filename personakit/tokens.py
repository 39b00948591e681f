"""How many tokens a text has: counted by the model's own vocabulary, or estimated.

`pip install 'personakit[tokens]'` brings the vocabularies; nothing is ever downloaded. What a chat
format adds around each message is not counted: providers do not publish it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

# Which vocabulary of splintr a model reads with, by its name without the provider. A fine-tuned or
# distilled model may read with another one than its name says, so those are not here.
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

# Pieces of a text, each with the tokens that it has by itself and those of each character: fitted
# to o200k_base, within a tenth for English, code and YAML, a third for most other languages.
_WORD, _SPACE = 7, 1
_PIECE = re.compile(
    r"(?P<word>[A-Za-z]+)|(?P<number>[0-9]{1,3})|(?P<space>\s+)|(?P<mark>[!-/:-@\[-`{-~]+)|"
    r"(?P<letters>[\u00aa-\u1fff\u2c00-\u2dff\ua640-\uabff]+)|"
    r"(?P<ideograph>[\u3000-\ua4cf\uac00-\ud7ff\uf900-\ufaff])|(?P<other>.)"
)


def count_tokens(text: str, model: str = "") -> tuple[int, bool]:
    """Return how many tokens a text has, and whether that is exact.

    Args:
        text: The text.
        model: ``provider/model``; without one, or with one whose vocabulary is not known, the
            count is an estimate.
    """
    # Half a surrogate pair cannot be sent; what goes out is a question mark.
    text = text.encode("utf-8", "replace").decode("utf-8")
    name = vocabulary(model)
    encode = _encoder(name or _OTHERWISE)
    if encode is None:
        return _estimate(text), False
    return len(encode(text)), name is not None


def why_estimated(model: str) -> str:
    """Return why a count for a model is an estimate, and what would mend it; empty when it is not.

    Args:
        model: ``provider/model``, or nothing.
    """
    if _encoder(vocabulary(model) or _OTHERWISE) is None:
        return "pip install 'personakit[tokens]' brings the vocabularies to count with"
    if not model:
        return "no model is chosen, and each has a vocabulary of its own"
    return "" if vocabulary(model) else f"the vocabulary of {model} is not known"


def vocabulary(model: str) -> str | None:
    """Return the name of the vocabulary that a model reads with, or None when it is not known."""
    name = model.rpartition("/")[2].lower()
    if "distill" in name:
        return None
    return next((it for pattern, it in _VOCABULARIES if pattern.match(name)), None)


@functools.cache
def _encoder(name: str) -> Callable[[str], list[int]] | None:
    """Return what turns text into tokens; None when the extra is not installed."""
    try:
        from splintr import Tokenizer  # noqa: PLC0415

        encode: Callable[[str], list[int]] = Tokenizer.from_pretrained(name).encode_ordinary
    except (ImportError, ValueError):
        return None
    return encode


def _estimate(text: str) -> int:
    """Return about how many tokens a text has."""
    return round(sum(_weight(found.lastgroup, found[0]) for found in _PIECE.finditer(text)))


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
