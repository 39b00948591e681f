"""Fragments: texts from files, URLs and standard input, put before the prompt as data.

Each is an element of XML with its name, as the guides of model providers advise for documents in a
prompt. Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-engineering/long-context-tips
"""

from __future__ import annotations

import codecs
import errno
import html
import itertools
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from personakit.base import printable, read_file
from personakit.cli.shared.input import LARGEST, needed_stdin, unreadable
from personakit.cli.shared.output import one_line
from personakit.config import expanded
from personakit.errors import UsageError

STDIN = "standard input"
_URL = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_ELEMENT = re.compile(
    r"""<(document(?:-[0-9]+)?) name="[^"\n]*">\n.*?</\1>(?:\n\n|\Z)""", re.DOTALL
)
_CLOSING = re.compile(r"<\s*/\s*(document[\w.-]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A text with the name that the model reads."""

    name: str
    text: str = field(repr=False)

    @classmethod
    def read(cls, source: str, option: str = "-f") -> Fragment:
        """Return the text of a file, of an http or https URL, or of standard input for ``-``.

        Args:
            source: The path, the URL or ``-``.
            option: The option or command that names it, for errors.

        Raises:
            UsageError: It cannot be read, is larger than `LARGEST` or is not text.
        """
        if source == "-":
            return cls(STDIN, _checked(needed_stdin(f"`{option} -`"), STDIN, option))
        if _URL.match(source):
            name = _without_user(source, option)
            return cls(name, _checked(_fetched(source, name, option), name, option))
        if _SCHEME.match(source):
            raise UsageError(
                f"{option}: {source[:60]!r}: a URL must begin with http:// or https://; save other "
                f"content as a file"
            )
        return cls(source, _checked(_in_file(source, option), source, option))


def joined(fragments: Iterable[Fragment], prompt: str | None) -> str | None:
    """Return the prompt after its fragments; None if there is neither.

    The name of the elements is ``document``, or ``document-1`` and so on, the first that no text
    closes. The result depends on nothing else, so that caches and logs find it again.

    Args:
        fragments: The fragments, in their order. Their texts are not changed, except that each
            ends with a line break.
        prompt: The prompt; None for the fragments alone.
    """
    texts = list(fragments)
    closed = {name.lower() for one in texts for name in _CLOSING.findall(one.text)}
    names = itertools.chain(["document"], (f"document-{number}" for number in itertools.count(1)))
    tag = next(name for name in names if name not in closed)
    parts = []
    for one in texts:
        name, is_whole = html.escape(one_line(printable(one.name))), one.text.endswith("\n")
        text = one.text if is_whole or not one.text else f"{one.text}\n"
        parts.append(f'<{tag} name="{name}">\n{text}</{tag}>')
    return "\n\n".join([*parts, *([] if prompt is None else [prompt])]) if parts else prompt


def prompt_in(text: str) -> str:
    """Return the prompt after its fragments, for a list of messages; the text if there is none."""
    at = 0
    while found := _ELEMENT.match(text, at):
        at = found.end()
    return text[at:] or text


def read_all(sources: Iterable[str], option: str = "-f") -> list[Fragment]:
    """Return the fragments of several sources.

    Raises:
        UsageError: One of them cannot be read, or together they are larger than `LARGEST`.
    """
    fragments, size = [], 0
    for source in sources:
        fragments.append(Fragment.read(source, option))
        size += len(fragments[-1].text)
        if size > LARGEST:
            raise UsageError(f"{option}: the texts together have more than {LARGEST:,} characters")
    return fragments


def _in_file(name: str, option: str) -> str:
    path = expanded(name)
    try:
        return read_file(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {name} is not UTF-8 (byte {error.start}){_ADVICE}") from None
    except OSError as error:
        files = f"{name.rstrip('/')}/FILE"
        advice = f"; name each of its files, as in {option} {files}"
        raise UsageError(
            f"{unreadable(path, option, error)}{advice if error.errno == errno.EISDIR else ''}"
        ) from None


_ADVICE = "; a fragment is text: use -a for an image, a PDF or audio, or save the text as UTF-8"


def _checked(text: str, name: str, option: str) -> str:
    """Return a text without NUL characters, which no text has."""
    if "\0" in text:
        raise UsageError(f"{option}: {name} is not text (it contains NUL characters){_ADVICE}")
    return text


# Codecs of domain names, which take quadratic time.
_SLOW = ("idna", "punycode")


def _fetched(url: str, name: str, option: str) -> str:
    """Return the text at a URL."""
    from personakit.backend import fetch  # noqa: PLC0415

    try:
        data, charset = fetch(url, LARGEST)
    except OSError as error:
        raise UsageError(f"{option}: cannot read {name}: {error.strerror}") from None
    try:
        encoding = codecs.lookup(charset or "utf-8").name
        if encoding in _SLOW:
            raise LookupError(encoding)
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError:
        fault = f"has the unknown encoding {str(charset)[:40]!r}"
    except UnicodeError as error:
        fault = f"is not {(charset or 'utf-8').upper()} (byte {getattr(error, 'start', 0)})"
    raise UsageError(f"{option}: {name} {fault}{_ADVICE}")


def _without_user(url: str, option: str) -> str:
    """Return a URL without the user and the password, which no model needs."""
    parts = None
    with suppress(ValueError):
        parts = urlsplit(url)
    if parts is None or not parts.hostname:
        raise UsageError(
            f"{option}: invalid URL {url[:80]!r}; expected one such as https://example.com/a.txt"
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
