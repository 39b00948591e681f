"""The licence of a source, from its LICENSE file."""

from __future__ import annotations

import re

from personakit.formats.note import Unreadable
from personakit.formats.sources import Tree

_FILES = ("license", "license.md", "license.txt", "licence", "licence.md", "copying")
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+-]+)")
# Names of https://spdx.org/licenses/, with words of each text, the more special ones first.
_TEXTS = (
    ("Apache-2.0", r"Apache License\s+Version 2\.0"),
    ("AGPL-3.0-only", r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3"),
    ("LGPL-3.0-only", r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-3.0-only", r"GNU GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-2.0-only", r"GNU GENERAL PUBLIC LICENSE\s+Version 2"),
    ("MPL-2.0", r"Mozilla Public License Version 2\.0"),
    ("CC0-1.0", r"CC0 1\.0 Universal|Creative Commons Legal Code\s+CC0"),
    ("CC-BY-SA-4.0", r"Attribution-ShareAlike 4\.0 International"),
    ("CC-BY-4.0", r"Attribution 4\.0 International"),
    ("Unlicense", r"This is free and unencumbered software"),
    ("BSD-3-Clause", r"Redistribution and use in source(?:.|\n)*Neither the name"),
    ("BSD-2-Clause", r"Redistribution and use in source"),
    ("ISC", r"ISC License|Permission to use, copy, modify, and/or distribute"),
    ("MIT", r"MIT License|Permission is hereby granted, free of charge, to any person"),
)


def license_of(tree: Tree) -> str:
    """Return the SPDX name of the licence of a source; empty if it has none that is known."""
    if tree.file and not tree.url:
        return ""
    for path in (*tree.paths, *tree.beside):
        if len(path.parts) == 1 and path.name.lower() in _FILES:
            file = tree.find(path)
            try:
                text = file.data[:20_000].decode("utf-8", "replace") if file else ""
            except Unreadable:
                continue
            if (named := _SPDX.search(text)) is not None:
                return named[1]
            for name, words in _TEXTS:
                if re.search(words, text):
                    return name
    return ""
