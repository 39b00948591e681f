"""The rules that need no model (words, patterns, length), all in linear time."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# Invisible characters (Unicode's default ignorables), control characters, lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Scripts without spaces between words: in them, a word also matches inside other words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_LETTER = rf"[^\W_{_UNSPACED}]"
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([nrtbf])|(["\\/]))')


class Rules:
    """The rules of one side.

    Args:
        side: ``input`` or ``output``, the first part of a rule's name.
        deny: Words and phrases.
        patterns: Regular expressions in RE2 syntax.
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
        self._deny = [_word(f"{side}.deny[{n}]", word) for n, word in enumerate(deny)]
        self._patterns = [_regex(f"{side}.patterns[{n}]", one) for n, one in enumerate(patterns)]

    def __bool__(self) -> bool:
        return bool(self._deny or self._patterns or self._longest)

    def broken(self, text: str) -> str:
        """Return the name of the first rule that `text` breaks, like ``input.deny[0]``, or ""."""
        if self._longest is not None and len(text) > self._longest:
            return f"{self._side}.max_length of {self._longest} characters"
        for reading in dict.fromkeys((text, _unescaped(text))):
            plain = visible(reading)
            folded = fold(plain)
            for kind, subject, rules in (
                ("deny", folded, self._deny),
                ("patterns", plain, self._patterns),
            ):
                for number, rule in enumerate(rules):
                    if rule.search(subject):
                        return f"{self._side}.{kind}[{number}]"
        return ""


def visible(text: str) -> str:
    """Return `text` in NFKC, without invisible characters."""
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", text))


def fold(text: str) -> str:
    """Return `text` casefolded, with each run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


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


def _word(name: str, word: str) -> re.Pattern[str]:
    plain = fold(visible(word))
    if not plain:
        raise ValueError(f"{name} is {word!r}, which has no visible characters; use a word")
    before = rf"(?<!{_LETTER})" if re.match(_LETTER, plain[0]) else ""
    after = rf"(?!{_LETTER})" if re.match(_LETTER, plain[-1]) else ""
    return re.compile(before + re.escape(plain) + after)


def _regex(name: str, pattern: str) -> Any:
    """Compile a pattern with RE2, whose search time is linear in the text for every pattern."""
    import re2  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    if not pattern:
        raise ValueError(f"{name} is empty and would match every text; use a pattern")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        at = pattern.find(reason.rpartition(": ")[2]) + 1
        raise ValueError(
            f"{name} is not a valid RE2 pattern, at character {max(at, 1)}: {reason}; RE2 does not "
            f"support look-around and back-references"
        ) from None
