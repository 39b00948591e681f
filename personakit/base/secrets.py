"""Secrets: values such as API keys that are used but never shown.

Printing, formatting, logging or dumping a `Secret` gives ``***``, even in a traceback that shows
the local variables of its frames; only `Secret.reveal` returns the text. For the same reason, no
code in this module keeps the text in a local variable while an exception can occur.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from personakit.errors import UsageError
from personakit.frozen import check_plain

MASK = "***"
SHORTEST = 4
"""The shortest secret, in characters, that `hide` replaces: a shorter one occurs in many words."""
_PART = 16
"""The length of the prefix of a long secret that is hidden on its own: messages get truncated."""
LONGEST = 8192
"""The longest key, in characters: servers reject longer headers."""


class Secret:
    """A string that is never shown: a key, a token, the value of a header.

    Secrets with the same text are equal and have the same hash; an empty secret is false. A secret
    can be copied, but not pickled or serialized as JSON.

    Args:
        value: The text, or another secret to copy.
    """

    __slots__ = ("__forms", "__value")
    __forms: tuple[str, ...]
    __value: str

    def __init__(self, value: str | Secret) -> None:
        if isinstance(value, Secret):
            value = value.__value
        if not isinstance(value, str):
            kind = type(value).__name__
            del value  # a traceback with local variables would show it
            raise TypeError(f"a secret must be a str, found {kind}")
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
        # Constant time: the duration must not reveal where two texts differ.
        from hmac import compare_digest  # noqa: PLC0415

        return compare_digest(
            self.__value.encode("utf-8", "surrogatepass"),
            other.__value.encode("utf-8", "surrogatepass"),
        )

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret is immutable")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError(
            "a Secret cannot be pickled: the output would contain its text; pass "
            "secret.reveal() explicitly, or let the other process look up the key"
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415

        def check(value: Any, info: Any) -> Secret:
            if isinstance(value, Secret):
                return value
            if not isinstance(value, str):
                raise ValueError("expected a string")
            find = (info.context or {}).get("secret", Secret)
            return find(value)  # type: ignore[no-any-return]

        return core_schema.with_info_plain_validator_function(check)

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: Any, _handler: Any) -> dict[str, Any]:
        rule = {"x-user-option": "only the user may set it"}
        return {"type": "string", "format": "password", "writeOnly": True, **rule}

    def fault(self) -> str:
        """Return why this is not a valid key, without the text; an empty string if it is valid.

        A key is sent in an HTTP header: printable ASCII (RFC 9110, 5.5) without spaces.
        """
        if not self.__value:
            return "is empty"
        if not (self.__value.isascii() and self.__value.isprintable() and " " not in self.__value):
            return "contains a space or a character that is invalid in a key; copy it again"
        if len(self.__value) > LONGEST:
            return f"has more than {LONGEST} characters, the most that servers accept"
        return ""

    def hide(self, text: str) -> str:
        """Return a text with ``***`` in place of this secret in any of its encodings.

        Replaced are the plain secret, its escaped forms in JSON and Python literals, its
        percent-encoded forms, and the base64 of any text that contains it; for a long secret also
        its beginning, where a message was truncated. A secret of fewer than `SHORTEST` characters
        is not replaced.
        """
        if not self.occurs_in(text):
            return text
        for form in self.__forms:
            if form in text:
                text = text.replace(form, MASK)
        if len(self.__value) > _PART and self.__value[:_PART] in text:
            text = self.__beginnings(text)
        return text

    def occurs_in(self, text: str) -> bool:
        """Return whether `hide` would change a text."""
        if len(self.__value) < SHORTEST:
            return False
        try:
            forms = self.__forms
        except AttributeError:
            # Encoding takes 20 µs, and the same key is looked for in every text.
            forms = tuple(dict.fromkeys(self.__encoded()))
            object.__setattr__(self, "_Secret__forms", forms)
        if len(self.__value) > _PART and self.__value[:_PART] in text:
            return True
        return any(map(text.__contains__, forms))

    def __beginnings(self, text: str) -> str:
        first, *rest = text.split(self.__value[:_PART])
        parts = [first]
        for part in rest:
            same = map(operator.eq, part, self.__value[_PART:])
            parts += [MASK, part[len(list(itertools.takewhile(bool, same))) :]]
        return "".join(parts)

    def __encoded(self) -> Iterator[str]:
        import base64  # noqa: PLC0415
        import json  # noqa: PLC0415
        from urllib.parse import quote, quote_plus  # noqa: PLC0415

        raw = self.__value
        yield raw
        yield from {json.dumps(raw)[1:-1], json.dumps(raw, ensure_ascii=False)[1:-1]} - {raw}
        yield repr(raw)[1:-1]
        yield from {quote(raw, safe=""), quote(raw), quote_plus(raw)} - {raw}
        # The base64 of a substring depends on its offset modulo three bytes; the characters at
        # both ends also encode bits of the neighbouring bytes.
        data = raw.encode("utf-8", "surrogatepass")
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + data).decode()
            whole = (offset + len(data)) * 8 // 6
            inner = encoded[-(-offset * 8 // 6) : whole]
            if len(inner) >= 2 * SHORTEST:
                yield inner
                yield inner.translate({ord("+"): "-", ord("/"): "_"})


class Later(Secret):
    """A secret that is looked up when its text is first needed.

    Args:
        find: Returns it, or raises the error of a missing one.
    """

    __slots__ = ("_find", "_found")
    _find: Callable[[], Secret]
    _found: Secret | None

    def __init__(self, find: Callable[[], Secret]) -> None:
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "_found", None)

    @property
    def _Secret__value(self) -> str:  # noqa: N802 - the attribute of the base class
        found = self._found or self._find()
        object.__setattr__(self, "_found", found)
        return found.reveal()


class Hidden(Mapping[str, str]):
    """A read-only view of a mapping of strings, such as an environment, whose repr has no values.

    Args:
        values: The mapping; the view follows its changes.
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
    """Return a string, or plain data with strings, with ``***`` in place of secrets."""
    nonempty = [secret for secret in secrets if secret]
    if nonempty and not isinstance(value, str):
        # They hardly ever occur, and one search of the whole is faster than one of each string.
        texts: list[str] = []
        _collect(value, texts)
        text = "\0".join(texts)
        nonempty = [secret for secret in nonempty if secret.occurs_in(text)]
    return _hidden(value, nonempty) if nonempty else value


def _collect(value: Any, texts: list[str]) -> None:
    """Add the strings in plain data to a list, keys included."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, bytes):
        texts.append(value.decode("utf-8", "surrogateescape"))
    elif isinstance(value, Mapping):
        _collect([*value], texts)
        _collect([*value.values()], texts)
    elif isinstance(value, list | tuple):
        texts += [item for item in value if type(item) is str]
        for item in value:
            if type(item) not in _SIMPLE:
                _collect(item, texts)


_SIMPLE = (str, type(None), int, float, bool)


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


def _scrubbed(value: Any, secrets: list[Secret]) -> Any:
    try:
        check_plain(value, "a value")
    except UsageError as error:
        # The HTTP client keeps the body of a failed request, whatever a server sent.
        return str(error)
    return _hidden(value, secrets)


def scrub(
    error: BaseException, secrets: Iterable[Secret], outer: BaseException | None = None
) -> None:
    """Remove secrets from an error and from its causes and contexts, in place.

    In messages and attributes, secrets become ``***``. The frames of the tracebacks keep their
    files and lines but lose their local variables: those of an HTTP library contain the headers
    that it was writing.

    Args:
        error: A caught error; frames that still run keep their variables.
        secrets: The secrets to remove.
        outer: The exception that was being handled before, ``sys.exception()``; it is not changed.
    """
    import traceback  # noqa: PLC0415

    nonempty = [secret for secret in secrets if secret]
    waiting: list[BaseException | None] = [error]
    seen = {id(None), id(outer)}
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        else:
            current.args = tuple(_scrubbed(value, nonempty) for value in current.args)
        for name, value in list(vars(current).items()):
            if isinstance(value, str | bytes | list | tuple | dict):
                setattr(current, name, _scrubbed(value, nonempty))
        traceback.clear_frames(current.__traceback__)
