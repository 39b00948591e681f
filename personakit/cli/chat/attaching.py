"""What goes with the next message of a chat: attachments and fragments."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from personakit.attachments import Attachment, check_total
from personakit.cli.shared.fragments import Fragment, joined
from personakit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Attached:
    """Attachments and texts, in the order in which they were added."""

    items: tuple[Attachment | Fragment, ...] = ()

    @classmethod
    def of(cls, files: Iterable[str], texts: Iterable[str]) -> Attached:
        """Return what the values of `-a` and `-f` name.

        Raises:
            UsageError: See `with_file` and `with_text`.
        """
        attached = cls()
        for file in files:
            attached = attached.with_file(file, "-a", or_text=False)
        for text in texts:
            attached = attached.with_text(text, "-f")
        return attached

    def with_file(self, source: str, option: str, *, or_text: bool = True) -> Attached:
        """Return these and an image, a PDF or audio, or the text of a file.

        Args:
            source: A path, or the http or https URL of an image.
            option: The option or the command that names it, for errors.
            or_text: Whether a text file is a fragment, and not an error.

        Raises:
            UsageError: It cannot be read or sent, or all attachments are too large together.
        """
        source = _named(source, option)
        try:
            added: Attachment | Fragment = Attachment.of(source)
        except UsageError:
            fragment = _text(source, option) if or_text else None
            if fragment is None:
                raise
            added = fragment
        return self._with(added)

    def with_text(self, source: str, option: str) -> Attached:
        """Return these and the text of a file or a URL; see `Fragment.read`."""
        return self._with(Fragment.read(_named(source, option), option))

    def _with(self, added: Attachment | Fragment) -> Attached:
        attached = Attached((*self.items, added))
        check_total(attached.attachments)
        return attached

    @property
    def attachments(self) -> list[Attachment]:
        """The images, PDFs and audio."""
        return [item for item in self.items if isinstance(item, Attachment)]

    @property
    def names(self) -> str:
        """The names, for people."""
        return ", ".join(item.name or getattr(item, "url", "") for item in self.items)

    def message(self, line: str) -> tuple[str, dict[str, Any]]:
        """Return the text of a message with the fragments, and the options of its turn."""
        text = joined((item for item in self.items if isinstance(item, Fragment)), line)
        return text or line, {"attachments": self.attachments} if self.attachments else {}


def _text(source: str, option: str) -> Fragment | None:
    """Return the fragment of a file that is text and not empty, else None."""
    if not os.path.isfile(os.path.expanduser(source)):  # noqa: PTH111, PTH113 - never raises
        return None
    try:
        fragment = Fragment.read(source, option)
    except UsageError:
        return None
    return fragment if fragment.text else None


def _named(source: str, option: str) -> str:
    """Return the path that a source names; a terminal quotes the path of a dropped file.

    Raises:
        UsageError: It is ``-``, which stands for standard input elsewhere.
    """
    if source == "-":
        raise UsageError(
            f"{option}: standard input contains the messages of a chat; specify a file"
        )
    try:
        words = shlex.split(source)
    except ValueError:
        return source
    return words[0] if len(words) == 1 and not os.path.exists(source) else source  # noqa: PTH110
