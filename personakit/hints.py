"""What to do about YAML that cannot be read, in place of the parser's own words."""

from __future__ import annotations

from typing import Any


def explain(error: Any, text: str, mark: Any) -> str:
    """Turn the parser's message into what an author can act on."""
    problem = error.problem or "cannot be read"
    lines = text.split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "{{" in line.split("#")[0] and ("expected" in problem or "did not find" in problem):
        return (
            'an unquoted value holds "{{" at its start, which YAML reads as a mapping; '
            'quote it ("{{ name }}"), or write the text below a "|"'
        )
    if "mapping values are not allowed" in problem:
        if mark and ": " not in line[: mark.column]:
            return (
                "found a key below a value that is complete already; check the indentation, "
                'or write a text of several lines below a "|"'
            )
        return (
            'found a second ": " on this line; quote a value that holds ": ", '
            'or write the text below a "|"'
        )
    if "cannot start any token" in problem:
        if line[: mark.column + 1].strip(" ").startswith("\t") if mark else False:
            return "found a tab; YAML indents with spaces"
        return f"{problem}; quote a value that begins with it"
    if "escape" in problem or "hexdecimal" in problem:
        hint = 'in "double quotes" write \\\\ for a backslash, or use single quotes'
        if "Unicode" in problem:
            hint = "a surrogate is half a character: write the character itself"
        return f"{problem}; {hint}"
    if error.context in ("while scanning an alias", "while scanning an anchor"):
        return "anchors and aliases are not supported; quote a text that begins with '*' or '&'"
    context = f" ({error.context})" if error.context else ""
    return f"not YAML: {problem}{context}"
