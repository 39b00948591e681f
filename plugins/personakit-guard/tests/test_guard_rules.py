"""The rules by themselves, and what is said of wrong options."""

from typing import Any

import pytest
from personakit_guard import Guard, Input
from personakit_guard.rules import Rules

from personakit import Config, PersonakitError, Runner
from personakit.testing import Upstream
from personakit.testing import persona as a_persona


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("devil", "a DEVIL!"),
        ("devil", "_devil_"),
        ("devil", "de\u200bvil"),
        ("devil", "de\u00advil"),
        ("devil", "de\x00vil"),
        ("devil", "\uff44\uff45\uff56\uff49\uff4c"),
        ("devil", "\\u0064evil"),
        ("devil", "\\ud835\\udc1devil"),
        ("devil", "devil\ud800"),
        ("devil", "devil\u8c22\u8c22"),
        ("straße", "STRASSE"),
        ("bad  word", "bad\n\u00a0word"),
        ("c++", "in c++17"),
        ("\u6076\u9b54", "\u662f\u6076\u9b54\u5417"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_a_denied_word_is_found(word: str, text: str) -> None:
    assert Rules("input", [word], [], None).broken(text) == "input.deny[0]"


@pytest.mark.parametrize("text", ["devilish", "bedevil", "d evil", "", "dévil"])
def test_only_whole_words_count(text: str) -> None:
    assert Rules("input", ["devil"], [], None).broken(text) == ""


def test_a_length_is_counted_in_characters() -> None:
    rules = Rules("output", [], [], 3)
    assert rules.broken("äöü") == ""
    assert rules.broken("äöüß") == "output.max_length of 3 characters"


def test_a_hostile_text_does_not_hang_a_pattern() -> None:
    # A backtracking matcher takes 2**50000 steps here.
    rules = Rules("input", ["a b"], ["^(a+)+$", "(x+x+)+y"], None)
    assert rules.broken("a" * 50000 + "!" + "x" * 50000) == ""
    assert rules.broken("xxy\ud800") == "input.patterns[1]"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no rule is set"),
        ({"input": {}}, "no rule is set"),
        ({"input": {"denny": ["x"]}}, "denny"),
        ({"inptu": {"deny": ["x"]}}, "did you mean 'input'"),
        ({"input": {"deny": ["x", "\u200b"]}}, r"input\.deny\[1\]"),
        ({"output": {"patterns": ["ok", "ab(?=c)"]}}, r"output\.patterns\[1\].*character 3"),
        ({"output": {"patterns": ["a(b"]}}, r"patterns\[0\].*character 1.*missing \)"),
        ({"output": {"patterns": [""]}}, r"patterns\[0\] is empty"),
        ({"input": {"max_length": 0}}, "max_length is 0"),
        ({"output": {"deny": ["x"], "action": "warn"}}, "action"),
        ({"output": {"deny": ["x"], "attempts": 0}}, "attempts is 0"),
        ({"input": {"deny": ["x"], "action": "reask"}}, "action"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    running = Runner(Config(model="test/m", path=()), backend=Upstream())
    with pytest.raises(PersonakitError, match=said):
        running.run(a_persona(plugins=[{"guard": options}]), "Hi")


def test_the_options_are_plain_values() -> None:
    assert Guard(input=Input(deny=("x",))).input == Input(deny=("x",))
