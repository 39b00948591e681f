"""The rules that need no model (words, patterns, length), all in linear time."""

import re
import unicodedata
from collections.abc import Sequence

from personakit import Pattern, time_left

# Invisible characters (Unicode's default ignorables), control characters, lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Scripts without spaces between words: in them, a word also matches inside other words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_LETTER = re.compile(rf"[^\W_{_UNSPACED}]")
_OTHER = re.compile(rf"[\W_{_UNSPACED}]")
# Normalization sorts a run of combining marks in quadratic time; no language has so many.
_MARKS = re.compile(r"[^\w\s]{31,}")
_MOST_MARKS = 30
_JOINER = "\u034f"
_LONGEST_WORD = 200
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([nrtbf])|(["\\/]))')


class Rules:
    """The rules of one side.

    Args:
        side: ``input`` or ``output``, the first part of a rule's name.
        deny: Words and phrases.
        patterns: Regular expressions in the syntax of `personakit.Pattern`.
        max_length: The most characters of a text; None for no limit.

    Raises:
        ValueError: `max_length` is less than 1, or an entry is empty or not a valid pattern.
    """

    def __init__(
        self, side: str, deny: Sequence[str], patterns: Sequence[str], max_length: int | None
    ) -> None:
        if max_length is not None and max_length < 1:
            raise ValueError(f"{side}.max_length is {max_length}; use 1 or more characters")
        self._side, self._longest = side, max_length
        self._deny = [_Word(f"{side}.deny[{n}]", word) for n, word in enumerate(deny)]
        self._patterns = [_pattern(f"{side}.patterns[{n}]", one) for n, one in enumerate(patterns)]

    def __bool__(self) -> bool:
        return bool(self._deny or self._patterns or self._longest)

    def broken(self, text: str) -> str:
        """Return the name of the first rule that `text` breaks, like ``input.deny[0]``, or "".

        A text that is too long for a pattern breaks the rule.

        Raises:
            Timeout: The deadline of the run has passed.
        """
        if self._longest is not None and len(text) > self._longest:
            return f"{self._side}.max_length of {self._longest} characters"
        for reading in dict.fromkeys((text, _unescaped(text))):
            plain = visible(reading)
            folded = fold(plain) if self._deny else ""
            for number, word in enumerate(self._deny):
                if word.search(folded):
                    return f"{self._side}.deny[{number}]"
            for number, pattern in enumerate(self._patterns):
                try:
                    broken = pattern.search(plain)
                except ValueError as error:
                    return f"{self._side}.patterns[{number}] ({error})"
                if broken:
                    return f"{self._side}.patterns[{number}]"
        return ""


class _Word:
    """A word or phrase, which must not be a part of another word.

    Args:
        name: The name of the rule.
        word: As the persona's author wrote it.

    Raises:
        ValueError: The word is empty or too long.
    """

    def __init__(self, name: str, word: str) -> None:
        plain = fold(visible(word))
        if not plain:
            raise ValueError(f"{name} is {word!r}, which has no visible characters; use a word")
        if len(plain) > _LONGEST_WORD:
            raise ValueError(f"{name} has {len(plain)} characters; use at most {_LONGEST_WORD}")
        self._word = plain
        self._starts, self._ends = (bool(_LETTER.match(plain[at])) for at in (0, -1))

    def search(self, text: str) -> bool:
        """Return whether the word is in a text.

        Raises:
            Timeout: The deadline of the run has passed.
        """
        time_left()
        at = text.find(self._word)
        while at >= 0:
            end = at + len(self._word)
            within = self._starts and at and _LETTER.match(text, at - 1)
            if not within and not (self._ends and _LETTER.match(text, end)):
                return True
            # Within a long word, no place before its end is the beginning of another one.
            after = _OTHER.search(text, at + 1) if self._starts else None
            if self._starts and after is None:
                return False
            at = text.find(self._word, after.start() if after else at + 1)
        return False


def visible(text: str) -> str:
    """Return `text` in NFKC, without invisible characters."""
    return _normalized(_HIDDEN.sub("", text))


def fold(text: str) -> str:
    """Return `text` casefolded, with each run of white space as one space."""
    return " ".join(_normalized(text.casefold()).split())


def _normalized(text: str) -> str:
    """Return `text` in NFKC, in linear time: after 30 combining marks, further ones stay apart."""
    time_left()
    return unicodedata.normalize("NFKC", _MARKS.sub(_apart, text)).replace(_JOINER, "")


def _apart(match: re.Match[str]) -> str:
    """Return a run of marks with a joiner after each 30, as in Unicode's stream-safe format."""
    count, parts = 0, list[str]()
    for character in match[0]:
        count = count + 1 if unicodedata.combining(character) else 0
        if count > _MOST_MARKS:
            parts.append(_JOINER)
            count = 1
        parts.append(character)
    return "".join(parts)


def _unescaped(text: str) -> str:
    """Return `text` with JSON escapes decoded: a tool call may spell a word with escapes."""
    if "\\" not in text:
        return text

    def read(match: re.Match[str]) -> str:
        code, blank, same = match.groups()
        return chr(int(code, 16)) if code else " " if blank else same

    # Through UTF-16, so that two escaped surrogates become one character.
    halves = _ESCAPE.sub(read, text).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace")


def _pattern(name: str, pattern: str) -> Pattern:
    if not pattern:
        raise ValueError(f"{name} is empty and would match every text; use a pattern")
    try:
        return Pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{name} is not a valid pattern: {error}") from None
