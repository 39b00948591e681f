"""Find phone numbers with the `phonenumbers` library.

PhoneNumberMatcher alone is not sufficient: it stops silently after 65,535 failed attempts, each
attempt may copy the rest of the text, and it misses a number that only a space separates from other
digits ("06 12 34 56 78 2 fois"). So it gets pieces of bounded length, and the remaining text is
split at spaces and tried again.
"""

import re
import sys
from collections.abc import Iterator

from phonenumbers import Leniency, PhoneNumberMatcher

from personakit_redact import coarse, numbering
from personakit_redact.spans import without

# A superset of the matcher's candidates: digits with at most four other characters between.
_RUN = re.compile(
    r"(?:[+\uff0b(\[\uff08\uff3b][^\w\n,:;]{0,4}){0,2}\d++(?:(?:[^\w\n,:;]|[xX]){1,4}+\d++)*+"
)
_DATE = re.compile(
    r"(?<![\d+])(?<!\d[-./])(?:"
    r"(?:19|20)\d\d([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|1[0-2])\2(?:19|20)\d\d"
    r")(?![-./]?\d)"
)
# The text after a run that the matcher needs: an extension ("ext. 12"), or one character.
_AFTER = re.compile(r"[ \t\u00a0,;]{0,4}+[^\W\d_]{1,12}+[^\w\n]{0,4}+\d{1,20}+|.", re.DOTALL)
_WORD = re.compile(r"[+\uff0b]?[^\s+\uff0b]+")
_WORDS = 9
# The matcher's longest candidate has about 550 characters.
_PIECE, _OVERLAP = 8192, 600
_MOST_CHECKED = 800  # characters in runs
# A run with more digits is a table or a list, in which only valid numbers count.
_LONE = 40

Found = tuple[int, int]


def phones(text: str, region: str) -> list[Found]:
    """Return the start and end of the phone numbers in `text`; some may overlap.

    `region` is the ISO 3166 code of the national numbers to find, "" for international ones only.
    """
    text = without(text, (date.span() for date in _DATE.finditer(text)))
    runs, end = list[re.Match[str]](), len(text)
    left = _MOST_CHECKED
    for run in _runs(text):
        left -= run.end() - run.start()
        if left < 0:
            end = run.start()
            break
        runs.append(run)
    found = _checked(text[:end], runs, region)
    return [*found, *coarse.phones(text, end, region)] if end < len(text) else found


def _checked(text: str, runs: list[re.Match[str]], region: str) -> list[Found]:
    """Return the numbers in the runs of `text` that the library accepts."""
    if not runs:
        return []
    found = [span for run in runs for span in _matched(text, run, region)]
    text = without(text, found)
    found += [span for run in _runs(text) for span in _stretches(text, run, region)]
    return found


def _runs(text: str) -> Iterator[re.Match[str]]:
    fewest = numbering.DIGITS.start
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= fewest and _count(run[0]) >= fewest:
            yield run


def _matched(text: str, run: re.Match[str], region: str) -> Iterator[Found]:
    """Yield the matches of PhoneNumberMatcher in a run of `text`, possibly with duplicates."""
    lone = _count(run[0]) <= _LONE
    after = _AFTER.match(text, run.end())
    stop = after.end() if after else run.end()
    last = max(run.end() - _OVERLAP, run.start() + 1)
    for start in range(run.start(), last, _PIECE - _OVERLAP):
        low = max(start - 1, 0)
        piece = text[low : min(start + _PIECE, stop)]
        for begin, end in _numbers(piece, region, lone=lone):
            if low + end > start and low + begin < run.end():
                yield low + begin, low + end


def _numbers(piece: str, region: str, *, lone: bool) -> Iterator[Found]:
    """Yield the valid numbers in `piece`, and possible numbers in the format of a phone number."""
    international = "+" in piece or "\uff0b" in piece
    levels = [Leniency.VALID] * bool(region or international)
    levels += [Leniency.POSSIBLE] * bool(international or (region and lone))
    for level in levels:
        for match in PhoneNumberMatcher(piece, region or None, level, sys.maxsize):
            if _count(match.raw_string) in numbering.DIGITS and (
                level == Leniency.VALID
                or numbering.INTERNATIONAL.match(piece, match.start)
                or numbering.has_usual_groups(match.raw_string, match.number)
            ):
                yield match.start, match.end


def _stretches(text: str, run: re.Match[str], region: str) -> Iterator[Found]:
    """Yield the numbers in a run of `text` that start and end at a space, the longest first."""
    words = [word.span() for word in _WORD.finditer(text, *run.span())]
    if len(words) == 1:  # the matcher has checked it already
        return
    after = 0
    for first, (start, _) in enumerate(words):
        for last in range(min(first + _WORDS, len(words)) - 1, first - 1, -1):
            end = words[last][1]
            # Skip tables of single digits: they cost the most, and the matcher finds such numbers.
            sparse = end - start < 3 * (last - first)
            if first >= after and not sparse and numbering.is_number(text[start:end], region):
                yield start, end
                after = last + 1
                break


def _count(text: str) -> int:
    return sum(map(str.isdigit, text))
