"""Counting tokens: exactly where the vocabulary is known, honestly where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personakit.tokens import count_tokens, vocabulary, why_estimated

ROOT = Path(__file__).parent.parent
WITHOUT = "import sys; sys.modules['splintr'] = None\nfrom personakit.tokens import *\n"


def without_the_extra(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("text", "model", "count"),
    [
        ("", "openai/gpt-5-mini", 0),
        ("hello world", "openai/gpt-4o", 2),
        ("hello world", "gpt-4", 2),
        ("<|endoftext|>", "openai/gpt-5", 7),  # typed text, and no end of anything
        ("antidisestablishmentarianism", "openai/gpt-4o", 6),
        ("antidisestablishmentarianism", "openai/gpt-3.5-turbo", 6),
        ("日本語のテキスト。", "openai/o3-mini", 7),
        ("a\r\n\tb  c", "openrouter/openai/gpt-4.1", 5),
        ("half \ud83d", "openai/gpt-4o", 2),
    ],
)
def test_a_known_vocabulary_counts_exactly(text: str, model: str, count: int) -> None:
    assert count_tokens(text, model) == (count, True)
    assert why_estimated(model) == ""


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-5.1-codex", "o200k_base"),
        ("openai/chatgpt-4o-latest", "o200k_base"),
        ("openai/gpt-4.5-preview", "o200k_base"),
        ("openai/o1", "o200k_base"),
        ("openai/gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-oss-20b", "o200k_base"),
        ("ollama/llama3.2", "llama3"),
        ("groq/meta-llama/Llama-3.3-70B-Instruct", "llama3"),
        ("deepseek/deepseek-chat", "deepseek_v3"),
        ("ollama/deepseek-r1:7b", None),  # a distilled Qwen
        ("x/deepseek-r1-distill-llama-70b", None),
        ("ollama/qwen3:8b", "qwen3"),
        ("ollama/qwen35", None),
        ("ollama/gemma3:4b", "gemma3"),
        ("ollama/phi4", "phi4"),
        ("ollama/phi4-mini", None),  # another vocabulary than phi4's
        ("anthropic/claude-x", None),
        ("local/octopus", None),
        ("o", None),
        ("", None),
    ],
)
def test_the_vocabulary_of_a_model(model: str, name: str | None) -> None:
    assert vocabulary(model) == name
    assert count_tokens("hello there", model)[1] is (name is not None)


@given(st.text(st.characters()), st.sampled_from(["", "gpt-4", "openai/gpt-5", "x/y"]))
def test_any_text_has_a_count(text: str, model: str) -> None:
    count, _ = count_tokens(text, model)
    assert count <= len(text.encode("utf-8", "surrogatepass"))
    assert (count == 0) == (not text)


def test_without_a_model_it_is_an_estimate_that_says_so() -> None:
    assert count_tokens("hello world") == (2, False)
    assert "no model is chosen" in why_estimated("")
    assert "mistral/new" in why_estimated("mistral/new")


def test_without_the_extra_it_is_an_estimate_that_says_so() -> None:
    assert without_the_extra("print(count_tokens('hello world', 'openai/gpt-5'))") == "(2, False)"
    assert "[tokens]" in without_the_extra("print(why_estimated('openai/gpt-5'))")


def test_the_estimate_is_near_for_personas_code_and_other_languages() -> None:
    files = [*sorted(ROOT.glob("personas/*.yaml"))[:8], Path(__file__)]
    exact = [count_tokens(file.read_text("utf-8"), "openai/gpt-5")[0] for file in files]
    code = f"for f in {[str(f) for f in files]}: print(count_tokens(open(f).read())[0])"
    for near, count in zip(without_the_extra(code).split(), exact, strict=True):
        assert abs(int(near) / count - 1) < 0.15
    others = [
        "Vous êtes un chef qui propose des recettes saines, faciles, rapides et économiques.",
        "Du bist ein freundlicher Küchenchef und schlägst gesunde und günstige Rezepte vor.",
        "你是一位厨师,提供健康、简单、快速、经济的食谱。切勿使用用户过敏的食物。",
    ]
    for text in others:
        found = int(without_the_extra(f"print(count_tokens({text!r})[0])"))
        assert abs(found / count_tokens(text, "openai/gpt-5")[0] - 1) < 0.35
