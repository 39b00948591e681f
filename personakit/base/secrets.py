"""Secrets: a key as a value that is used and never shown.

What prints, formats, logs or dumps a `Secret` gets ``***``, also where a traceback prints the local
variables of its frames; only `Secret.reveal` gives the text. Nothing here keeps the text in a
variable of its own while something can fail.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

MASK = "***"
SHORTEST = 4
"""Characters that a secret needs to be looked for in a text: a shorter one is in many a word."""
_PART = 16
"""Characters of a long secret that are hidden without the rest: a message may have been cut."""
LONGEST = 8192
"""Characters that a key may have: servers refuse longer headers."""


class Secret:
    """A text that is never shown: a key, a token, the value of a header.

    Two of the same text are equal and have the same hash; an empty one is false. It can be copied,
    but neither pickled nor written as JSON.

    Args:
        value: The text; or a secret, of which this is another one.
    """

    __slots__ = ("__value",)
    __value: str

    def __init__(self, value: str | Secret) -> None:
        if isinstance(value, Secret):
            value = value.__value
        if not isinstance(value, str):
            kind = type(value).__name__
            del value  # a traceback with local variables would show it
            raise TypeError(f"a secret is a str, found {kind}")
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> str:
        """Return the text."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self is other:
            return True
        # It takes the same time wherever two texts differ.
        from hmac import compare_digest  # noqa: PLC0415

        return compare_digest(
            self.__value.encode("utf-8", "surrogatepass"),
            other.__value.encode("utf-8", "surrogatepass"),
        )

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError(
            "a Secret is not pickled, for its text would stand in what is written; pass "
            "secret.reveal() where the text is to go, or let the other process look the key up"
        )

    def fault(self) -> str:
        """Return what is wrong with it as a key, without saying it; empty when nothing is.

        A key goes into an HTTP header: printable ASCII (RFC 9110, 5.5), and no key has a space.
        """
        if not self.__value:
            return "is empty"
        if not (self.__value.isascii() and self.__value.isprintable() and " " not in self.__value):
            return "holds a space or a character that no key has; copy it again"
        if len(self.__value) > LONGEST:
            return f"has more than {LONGEST} characters, which no server takes"
        return ""

    def hide(self, text: str) -> str:
        """Return a text with ``***`` in place of this secret, however it is written there.

        Found are the secret as it is, escaped as in JSON or a Python literal, percent-encoded, and
        base64 of anything that holds it; and of a long one its beginning, where a text was cut. One
        of fewer than `SHORTEST` characters is not looked for.
        """
        if len(self.__value) < SHORTEST:
            return text
        for form in self.__forms():
            if form in text:
                text = text.replace(form, MASK)
        if len(self.__value) > _PART and self.__value[:_PART] in text:
            text = self.__beginnings(text)
        return text

    def __beginnings(self, text: str) -> str:
        first, *rest = text.split(self.__value[:_PART])
        found = [first]
        for part in rest:
            same = map(operator.eq, part, self.__value[_PART:])
            found += [MASK, part[len(list(itertools.takewhile(bool, same))) :]]
        return "".join(found)

    def __forms(self) -> Iterator[str]:
        import base64  # noqa: PLC0415
        import json  # noqa: PLC0415
        from urllib.parse import quote, quote_plus  # noqa: PLC0415

        raw = self.__value
        yield raw
        yield from {json.dumps(raw)[1:-1], json.dumps(raw, ensure_ascii=False)[1:-1]} - {raw}
        yield repr(raw)[1:-1]
        yield from {quote(raw, safe=""), quote(raw), quote_plus(raw)} - {raw}
        # What base64 makes of a part depends on where in three bytes it begins; the characters at
        # both ends also hold bits of the neighbours.
        data = raw.encode("utf-8", "surrogatepass")
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + data).decode()
            whole = (offset + len(data)) * 8 // 6
            inner = encoded[-(-offset * 8 // 6) : whole]
            if len(inner) >= 2 * SHORTEST:
                yield inner
                yield inner.translate({ord("+"): "-", ord("/"): "_"})


class Hidden(Mapping[str, str]):
    """A mapping of texts, such as an environment, whose values no `repr` shows.

    Args:
        values: The mapping, followed as it changes.
    """

    __slots__ = ("__values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self.__values = values

    def __getitem__(self, name: str) -> str:
        return self.__values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__values)

    def __len__(self) -> int:
        return len(self.__values)

    def __contains__(self, name: object) -> bool:
        return name in self.__values

    def __repr__(self) -> str:
        return f"<{len(self)} hidden values>"


def hide(value: Any, secrets: Iterable[Secret]) -> Any:
    """Return a value with ``***`` in place of secrets: in a text, or in the texts of plain data."""
    known = [secret for secret in secrets if secret]
    return _hidden(value, known) if known else value


def _hidden(value: Any, secrets: list[Secret]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = secret.hide(value)
        return value
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        return _hidden(text, secrets).encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return {_hidden(k, secrets): _hidden(v, secrets) for k, v in value.items()}
    if isinstance(value, list | tuple):
        items = [_hidden(item, secrets) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def scrub(
    error: BaseException, secrets: Iterable[Secret], outer: BaseException | None = None
) -> None:
    """Take secrets out of an error and of all that led to it, in place.

    In their messages and attributes secrets become ``***``. The frames of their tracebacks keep
    files and lines and lose their local variables: those of an HTTP library hold the headers that
    it was writing.

    Args:
        error: An error that was caught; frames that still run keep their variables.
        secrets: What to look for.
        outer: What was being handled before, ``sys.exception()``; that is left as it is.
    """
    import traceback  # noqa: PLC0415

    known = [secret for secret in secrets if secret]
    waiting: list[BaseException | None] = [error]
    seen = {id(None), id(outer)}
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        waiting += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        else:
            found.args = _hidden(found.args, known)
        for name, value in list(vars(found).items()):
            if isinstance(value, str | bytes | list | tuple | dict):
                setattr(found, name, _hidden(value, known))
        traceback.clear_frames(found.__traceback__)
