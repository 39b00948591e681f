"""The rules by themselves, and what is said of wrong options."""

from typing import Any

import pytest
from personakit_guard import Guard, Input
from personakit_guard.rules import Rules

from personakit import Config, PersonakitError, Runner, Timeout
from personakit.testing import MODES, Upstream, in_mode
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
        (
            {"output": {"patterns": ["ok", "ab(?=c)"]}},
            r"output\.patterns\[1\].*look-around.*linear",
        ),
        ({"output": {"patterns": ["a(b"]}}, r"patterns\[0\].*unclosed group"),
        ({"output": {"patterns": [""]}}, r"patterns\[0\] is empty"),
        ({"input": {"deny": ["x" * 201]}}, r"deny\[0\] has 201 characters"),
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


@pytest.mark.parametrize(
    "marks", ["\u0301\u0316" * 200_000, "\u0301" * 200_000 + "\u0316" * 200_000]
)
def test_many_combining_marks_take_linear_time(marks: str) -> None:
    # Sorting them takes minutes; a word beside them is found all the same.
    rules = Rules("input", ["devil"], ["d.vil"], None)
    assert rules.broken(f"a{marks} b") == ""
    assert rules.broken(f"a{marks} devil") == "input.deny[0]"
    assert Rules("input", ["e\u0301" * 40], [], None).broken("\u00e9" * 40) == "input.deny[0]"


@pytest.mark.parametrize("at", [*range(99_990, 100_010), 199_998, 250_000])
def test_a_word_is_found_anywhere_in_a_long_text(at: int) -> None:
    rules = Rules("input", ["devil"], [], None)
    assert rules.broken("." * at + "devil" + "." * 100_000) == "input.deny[0]"
    assert rules.broken("." * at + "devils" + "." * 100_000) == ""
    assert rules.broken("." * at + "adevil") == ""
    assert Rules("input", ["a" * 200], [], None).broken("a" * at + " ") == ""


def test_a_text_too_long_for_a_pattern_is_refused() -> None:
    rules = Rules("input", [], ["ok", "a{5000}"], None)
    assert rules.broken("b" * 10_001).startswith("input.patterns[1] (a text of 10,001 characters")


@pytest.mark.parametrize("mode", MODES)
def test_the_rules_stop_at_the_deadline(mode: str) -> None:
    guard = Guard(input=Input(deny=tuple(f"word{n}" for n in range(2000)), patterns=("x",)))
    running = Runner(Config(model="test/m", path=()), backend=Upstream(["x"]), plugins=[guard])
    with pytest.raises(Timeout, match=r"deadline of 0\.1 s"):
        in_mode(mode, running, a_persona(), "word " * 200_000, deadline=0.1)
