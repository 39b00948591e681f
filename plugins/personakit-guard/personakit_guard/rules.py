"""The rules that need no model: denied words, patterns and a length, all in linear time."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# Characters that are not seen (Unicode's default ignorables), control characters, lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Scripts that set no blanks between words: there a word is found inside others.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_LETTER = rf"[^\W_{_UNSPACED}]"
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([nrtbf])|(["\\/]))')


class Rules:
    """The rules of one side.

    Args:
        side: ``input`` or ``output``, as a refusal names it.
        deny: Words and phrases.
        patterns: Regular expressions of RE2.
        max_length: In characters; None for no limit.

    Raises:
        ValueError: An entry is empty or no regular expression.
    """

    def __init__(
        self, side: str, deny: Sequence[str], patterns: Sequence[str], max_length: int | None
    ) -> None:
        if max_length is not None and max_length < 1:
            raise ValueError(f"{side}.max_length is {max_length}; give 1 or more characters")
        self._side, self._longest = side, max_length
        self._deny = [_word(f"{side}.deny[{n}]", word) for n, word in enumerate(deny)]
        self._patterns = [_regex(f"{side}.patterns[{n}]", one) for n, one in enumerate(patterns)]

    def __bool__(self) -> bool:
        return bool(self._deny or self._patterns or self._longest)

    def broken(self, text: str) -> str:
        """Return the name of the first rule that `text` breaks, as ``input.deny[0]``, or ""."""
        if self._longest is not None and len(text) > self._longest:
            return f"{self._side}.max_length of {self._longest} characters"
        for reading in dict.fromkeys((text, _unescaped(text))):
            plain = visible(reading)
            folded = fold(plain)
            for kind, found, rules in (
                ("deny", folded, self._deny),
                ("patterns", plain, self._patterns),
            ):
                for number, rule in enumerate(rules):
                    if rule.search(found):
                        return f"{self._side}.{kind}[{number}]"
        return ""


def visible(text: str) -> str:
    """Return `text` in the form NFKC, without characters that are not seen."""
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", text))


def fold(text: str) -> str:
    """Return `text` without case, each run of blanks as one."""
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


def _unescaped(text: str) -> str:
    """Return `text` as a reader of JSON sees it: a tool call may spell a word with escapes."""
    if "\\" not in text:
        return text

    def read(found: re.Match[str]) -> str:
        code, blank, same = found.groups()
        return chr(int(code, 16)) if code else " " if blank else same

    # Through UTF-16, so that two escaped surrogates become the one character they stand for.
    halves = _ESCAPE.sub(read, text).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace")


def _word(name: str, word: str) -> re.Pattern[str]:
    plain = fold(visible(word))
    if not plain:
        raise ValueError(f"{name} is {word!r}, which holds nothing that is seen; give a word")
    before = rf"(?<!{_LETTER})" if re.match(_LETTER, plain[0]) else ""
    after = rf"(?!{_LETTER})" if re.match(_LETTER, plain[-1]) else ""
    return re.compile(before + re.escape(plain) + after)


def _regex(name: str, pattern: str) -> Any:
    """Compile with RE2, whose search takes time linear in the text whatever the pattern."""
    import re2  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    if not pattern:
        raise ValueError(f"{name} is empty, so it would refuse everything; give a pattern")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0]
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        at = pattern.find(said.rpartition(": ")[2]) + 1
        raise ValueError(
            f"{name} is no regular expression of RE2, at character {max(at, 1)}: {said}; RE2 has "
            f"no look-around and no back-references"
        ) from None
