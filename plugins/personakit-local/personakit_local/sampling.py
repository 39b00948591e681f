"""How the embedded model chooses its words; `benchmarks/answers.py` measures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 400
"""The most tokens in an answer of the embedded model; longer answers repeat themselves."""

SAMPLING: Mapping[str, Any] = {
    "min_p": 0.2,
    "dry_multiplier": 0.8,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 2048,
    # llama.cpp's own breakers include the line break, so a repeated line costs nothing. It
    # refuses an empty list; this token ends an answer, so nothing within one is a breaker.
    "dry_sequence_breakers": ["<|im_end|>"],
}
"""The parameters that a request does not set, as llama.cpp's server names them:
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"""
