"""Format strings of Python, of which names alone are taken over."""

from __future__ import annotations

import re
import string

from personakit.formats.draft import Draft
from personakit.formats.note import Unreadable
from personakit.formats.templates import Builder, Text

_NAME = re.compile(r"[A-Za-z_]\w*\Z")


def from_fstring(source: str, draft: Draft) -> Text:
    """Return a format string as a template.

    Args:
        source: The text, in which ``{name}`` is a variable and ``{{`` a brace.
        draft: Its variables are declared; a format or a conversion of one is noted and left out.

    Raises:
        Unreadable: It is no format string, or a field is no name.
    """
    builder = Builder()
    try:
        parts = list(string.Formatter().parse(source))
    except ValueError as error:
        raise Unreadable(
            f"not a format string: {error}; a brace of the text is written twice"
        ) from None
    for text, name, form, conversion in parts:
        builder.text(text)
        if name is None:
            continue
        if not _NAME.match(name):
            raise Unreadable(f"{{{name}}} is no variable; a brace of the text is written twice")
        if form or conversion:
            draft.note(
                "logic",
                f"{{{name}}} has the format {form or conversion!r}, which is left out",
                field=name,
                lost=True,
            )
        builder.expression(draft.variable(name))
    return builder.built()
