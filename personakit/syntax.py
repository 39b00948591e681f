"""What a mistake in the syntax of a template is, and what would be right."""

from __future__ import annotations

from personakit.errors import did_you_mean

# What authors write for what Jinja expects, by what its message holds; the first counts.
_HINTS = {
    "token ':', got '}'": "; between {{ and }} stands one expression, without further braces",
    "got '='": "; compare with ==",
    "got 'if'": "; write {% elif … %} for else if",
    "unexpected '}'": "; an expression ends in }}, a statement in %}",
    "got '}'": "; an expression ends in }}, a statement in %}",
    "got '&'": "; write `and`",
    "unexpected char '&'": "; write `and`",
    "unexpected char '!'": "; write `not`",
    "unexpected char '?'": "; write x if y else z",
    "'name', got '|'": "; write `or`",
    "unknown tag 'else": "; write {% elif … %} for else if",
    "unknown tag 'elsif": "; write {% elif … %} for else if",
}
_TAGS = "if elif else endif for endfor set endset include macro endmacro filter endfilter".split()
_CURLED = "\u201c\u201d\u201e\u2018\u2019"


def explain(message: str | None) -> str:
    """Return Jinja's message with what would be right, where that is known."""
    said = (message or "cannot be read").rstrip(".")
    hint = next((hint for part, hint in _HINTS.items() if part in said), "")
    if any(quote in said for quote in _CURLED):
        hint = "; write straight quotes"
    elif said.startswith("Encountered unknown tag") and not hint:
        tag = said.split("'")[1]
        hint = did_you_mean(tag, _TAGS) or f" (tags: {', '.join(_TAGS)})"
        hint = "; there is nothing open that it belongs to" if tag in _TAGS else hint
    return f"template syntax: {said}{hint}"
