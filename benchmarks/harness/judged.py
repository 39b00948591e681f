"""What can be judged of an answer without a model: its end, repetitions, language and length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

PHRASE = 10
"""Words of a phrase that a good answer has once."""
LINE = 3
"""Words from which a line counts; shorter ones, such as headings, may come again."""

COMMON = {
    "English": frozenset(
        "the and of to is are you your for with it that this on be as can".split()
    ),
    "French": frozenset("le la les et de des est une un vous votre pour à du que dans pas".split()),
    "Spanish": frozenset("el la los y de que es una un por para en me te mi tu qué con".split()),
}
"""Words that make up a fifth to a half of any text of that language."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a persona demands of its answers, as far as a program sees it.

    Attributes:
        language: A key of `COMMON`.
        words: The fewest and the most words.
        has: Patterns that occur, each on a line of its own or in one.
        lacks: Patterns that do not occur.
    """

    language: str = "English"
    words: tuple[int, int] = (1, 400)
    has: Sequence[str] = field(default=())
    lacks: Sequence[str] = field(default=())

    def faults(self, text: str) -> list[str]:
        """Return what is wrong with an answer."""
        flags = re.IGNORECASE | re.MULTILINE
        faults = [f"no {it}" for it in self.has if not re.search(it, text, flags)]
        faults += [f"has {it}" for it in self.lacks if re.search(it, text, flags)]
        if language(text) != self.language:
            faults.append(f"not {self.language}")
        count = len(text.split())
        if not self.words[0] <= count <= self.words[1]:
            faults.append(f"{count} words")
        return faults


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def language(text: str) -> str:
    """Return the language whose common words a text has most of; empty if it has hardly any."""
    every = words(text)
    counts = {name: sum(word in common for word in every) for name, common in COMMON.items()}
    name, most = max(counts.items(), key=lambda pair: pair[1])
    return name if most * 20 >= len(every) > 0 else ""


def repeated_lines(text: str) -> list[str]:
    """Return the lines that come again, without their numbers, bullets and case."""
    lines = (re.sub(r"^[\W\d_]+|\W+$", "", line).lower() for line in text.splitlines())
    counts = Counter(line for line in lines if len(line.split()) >= LINE)
    return [line for line, count in counts.items() if count > 1]


def repeated_phrases(text: str) -> list[str]:
    """Return the phrases of `PHRASE` words that come again."""
    every = words(text)
    phrases = (" ".join(every[at : at + PHRASE]) for at in range(len(every) - PHRASE + 1))
    return [phrase for phrase, count in Counter(phrases).items() if count > 1]
