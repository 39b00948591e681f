"""How the embedded model chooses its words; `benchmarks/answers.py` measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 400
"""The most tokens in an answer of the embedded model; longer answers repeat themselves."""

SAMPLING: Mapping[str, Any] = {
    # The sampler sees the probabilities before the temperature changes them, so this keeps 135
    # million parameters coherent at a persona's 0.9, too.
    "min_p": 0.5,
    "repeat_penalty": 1.05,
    "repeat_last_n": 64,
    # What repeats more than 8 tokens of the prompt or the answer; shorter phrases may come again.
    "dry_multiplier": 0.8,
    "dry_allowed_length": 8,
    "dry_penalty_last_n": 2048,
    # llama.cpp's own breakers include the line break, so repeated lines would cost nothing. It
    # refuses an empty list; this token ends an answer, so nothing within one is a breaker.
    "dry_sequence_breakers": ("<|im_end|>",),
    # The same token, favoured: the model knows places to end at, and passes most of them.
    "logit_bias": {"2": 2.0},
}
"""What a request does not set, in the names of llama.cpp's server:
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"""
