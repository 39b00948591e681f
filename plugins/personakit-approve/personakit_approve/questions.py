"""The question about a tool call: a line for a person, and the call in full."""

import json
import re

from personakit import ToolCall

YES, NO, FOR_RUN, FOR_GOOD = "yes", "no", "yes for this run", "yes for good"
CHOICES = (YES, NO, FOR_RUN, FOR_GOOD)

_MOST_NAME = 100
_MOST_ARGUMENTS = 40
# Another name is quoted: it could look like the rest of the question.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")


def text(call: ToolCall) -> str:
    """Return the question on one line, with the beginning of the arguments.

    Characters that do not print, such as those that control a terminal, are JSON escapes.
    """
    given = _object(call)
    if given is None:
        arguments = _written(call.arguments[: _MOST_ARGUMENTS + 1])
    else:
        arguments = ", ".join(f"{_name(key)}={_written(value)}" for key, value in given.items())
    return f"Allow {_name(call.name)}({_line(arguments, _MOST_ARGUMENTS)})?"


def details(call: ToolCall) -> str:
    """Return the arguments as indented JSON; as the model wrote them if they are no object."""
    given = _object(call)
    if given is None:
        return call.arguments
    # A lone surrogate cannot be encoded; in JSON, it can be written as an escape.
    written = json.dumps(given, ensure_ascii=False, indent=2)
    return written.encode("utf-8", "backslashreplace").decode()


def _object(call: ToolCall) -> dict[str, object] | None:
    """Return the arguments as the tool gets them; None if they are not a JSON object."""
    # The text of a JSON object cannot contain itself.
    return None if call.parsed == {"arguments": call.arguments} else call.parsed


def _name(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return _line(_written(name), _MOST_NAME)


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(written: str, most: int) -> str:
    cut = written if len(written) <= most else f"{written[: most - 1]}…"
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in cut)
