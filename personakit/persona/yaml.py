"""Parsing YAML into plain data, with the position of every value.

PyYAML's own constructors are not used: a file of less than a kilobyte can make them crash or hang,
they accept duplicate keys, and they interpret `no`, `12:30:00` and `2001-01-01` by YAML 1.1. This
module builds dicts, lists and scalars from the events of PyYAML's C parser by the rules of YAML
1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), within limits.
"""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from personakit.base import STDIN, brief_repr, is_stream
from personakit.errors import PersonaError, Problem

if TYPE_CHECKING:
    from personakit.persona.mistakes.failure import Mistake

UNNAMED = "<string>"
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 60_000
MAX_INTEGER = 2**63 - 1

_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= {"true": True, "True": True, "TRUE": True}
_CONSTANTS |= {"false": False, "False": False, "FALSE": False}
# A number with a leading zero (01234) is usually a postal code, so it stays a string.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|"
    r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
# libyaml compares each %TAG directive with all earlier ones: quadratic time.
_TAG = re.compile(r"(?:\A\ufeff?|[\r\n\x85\u2028\u2029])%TAG\b")
# JSON escapes a character beyond U+FFFF as a surrogate pair, which YAML does not support.
_PAIR = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)

Path = tuple[str | int, ...]


class Mark(NamedTuple):
    """The position of a value; lines and columns count from 1.

    `text_line` is the line on which the text of a scalar begins: for a block scalar the line after
    its `|`. `literal` is True if the lines of the text are lines of the file, as below a `|`, and
    False where YAML folds lines. `end_line` and `end_column` are the position after a scalar or a
    flow collection, for a block scalar the start of the next token; 0 for a block collection.
    `key_end` is the column after the key.
    """

    line: int
    column: int
    key_line: int
    key_column: int
    text_line: int
    literal: bool = False
    end_line: int = 0
    end_column: int = 0
    key_end: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data with the position of each value.

    Attributes:
        data: The root: dict, list, str, int, float, bool or None.
        marks: The position of each value by its path, such as
            ``("variables", "guests", "minimum")``.
        path: The path of the file, as the user wrote it.
        folder: The absolute path of the folder that contains the file; None for a text.
        loaded: Whether a plugin loaded the text; `path` is then its reference, such as ``db:chef``.
    """

    data: Any
    marks: dict[Path, Mark] = field(repr=False, compare=False)
    path: str
    folder: str | None = None
    loaded: bool = False

    __repr__ = brief_repr

    @property
    def name(self) -> str:
        """The name of a persona that sets none."""
        if self.loaded or self.path in (UNNAMED, STDIN):
            return "persona"
        return pathlib.Path(self.path).stem

    def problem(self, message: str, at: Path = (), *, key: bool = False, code: str = "") -> Problem:
        """Return a problem with the position of the value at a path, or of its key.

        For a path that is not in the file, the position is that of its nearest ancestor.
        """
        while at and at not in self.marks:
            at, key = at[:-1], False
        mark = self.marks.get(at)
        if mark is None:
            return Problem(message, self.path, code=code)
        if key and mark.key_end:
            start, end = (mark.key_line, mark.key_column), (mark.key_line, mark.key_end)
        else:
            start, end = (mark.line, mark.column), (mark.end_line, mark.end_column)
        return Problem(message, self.path, *start, code, end_line=end[0], end_column=end[1])


@dataclass(slots=True)
class _Frame:
    """A collection whose end has not been parsed yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    start: Any
    flow: bool
    key: str | None = None
    key_mark: Any = None
    key_end: Any = None


def parse(
    source: str | bytes,
    path: str = UNNAMED,
    *,
    file: str | os.PathLike[str] | None = None,
    loaded: bool = False,
) -> Document:
    """Parse a YAML document.

    Args:
        source: The file's content; bytes must be UTF-8, with or without a byte order mark.
        path: The name of the file in errors.
        file: The file that contains the source; None for a text. Standard input is no file.
        loaded: Whether a plugin loaded the source, by the reference `path`.

    Raises:
        PersonaError: The source is not valid YAML, is not a single document, or exceeds a limit.
    """
    text = _decode(source, path)
    if text.lstrip().startswith("{"):
        text = _PAIR.sub(_pair, text)
    document = _Builder(text, path).build()
    if loaded:
        return Document(document.data, document.marks, path, loaded=True)
    if file is None or is_stream(file):
        return document
    # As named, not as resolved: a link to a file is in the folder of the link.
    folder = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    return Document(document.data, document.marks, path, folder)


def _decode(source: str | bytes, path: str) -> str:
    if len(source) > MAX_BYTES:
        raise PersonaError(
            [Problem(f"the file is larger than the limit of {MAX_BYTES:,} bytes", path)]
        )
    if isinstance(source, str):
        return source
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PersonaError([Problem("the file is encoded as UTF-16; save it as UTF-8", path)])
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        column = error.start - (source.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte {source[error.start]:#04x} is not valid UTF-8; save the file as UTF-8"
        raise PersonaError([Problem(message, path, line, column)]) from None


def _pair(match: re.Match[str]) -> str:
    code = 0x10000 + ((int(match[2], 16) - 0xD800) << 10) + int(match[3], 16) - 0xDC00
    return f"{match[1]}\\U{code:08x}"


class _Builder:
    """A builder of data from parser events; its explicit stack avoids recursion."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.marks: dict[Path, Mark] = {}
        self.stack: list[_Frame] = []
        self.root: Any = None
        self.documents = 0
        self.nodes = 0

    def fail(self, message: str, mark: Any) -> NoReturn:
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise PersonaError([Problem(message, self.path, line, column)])

    def wrong(self, mistake: Mistake) -> PersonaError:
        """Return the error for a mistake of the syntax."""
        message, line, column = mistake
        return PersonaError([Problem(message, self.path, line, column)])

    def build(self) -> Document:
        directive = _TAG.search(self.text) if "%TAG" in self.text else None
        if directive:
            line = len(self.text[: directive.end()].splitlines())
            message = "found a %TAG directive; tags are not supported: remove it"
            raise PersonaError([Problem(message, self.path, line, 1)])
        # The import takes 9 ms, which a command that reads no file should not pay.
        import yaml  # noqa: PLC0415

        try:
            self.fold()
        except yaml.MarkedYAMLError as error:
            from personakit.persona.mistakes import explain  # noqa: PLC0415

            raise self.wrong(explain.syntax_error(error, self.text, self.path)) from None
        except (yaml.YAMLError, UnicodeEncodeError) as error:
            from personakit.persona.mistakes import characters  # noqa: PLC0415

            mistake = characters.control_character(self.text)
            if mistake is None:
                self.fail(f"not valid YAML: {' '.join(str(error).split())}", None)
            raise self.wrong(mistake) from None
        return Document(self.root, self.marks, self.path)

    def fold(self) -> None:
        import yaml  # noqa: PLC0415

        # PyYAML can be built without libyaml; its Python parser emits the same events, slower.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        handlers = {
            yaml.ScalarEvent: self.scalar,
            yaml.MappingStartEvent: self.mapping,
            yaml.SequenceStartEvent: self.sequence,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
            yaml.AliasEvent: self.alias,
            yaml.DocumentStartEvent: self.document,
        }
        for event in iter(loader(self.text).get_event, None):
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.fail(
                "found a second document; a file must contain exactly one: remove the line `---`, "
                "and write a text that follows it below `system: |`, indented",
                event.start_mark,
            )

    def alias(self, event: Any) -> None:
        self.fail(
            f"found the alias *{event.anchor}; anchors and aliases are not supported: "
            f"write the value out, or quote a string that begins with '*'",
            event.start_mark,
        )

    def check(self, event: Any) -> None:
        """Reject anchors, tags and too many nodes."""
        if event.anchor is not None:
            self.fail(
                f"found the anchor &{event.anchor}; anchors and aliases are not supported: "
                f"write the value out, or quote a string that begins with '&'",
                event.start_mark,
            )
        if event.tag is not None:
            self.fail(
                f"found the tag {event.tag!r}; tags are not supported: "
                f"remove it, or quote a string that begins with '!'",
                event.start_mark,
            )
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(f"the file exceeds the limit of {MAX_NODES:,} values", event.start_mark)

    def scalar(self, event: Any) -> None:
        self.check(event)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and type(frame.value) is dict:
            self.key(frame, event)
        elif event.style:
            self.add(event.value, event.start_mark, event.end_mark, event.style)
        else:
            self.add(self.resolve(event), event.start_mark, event.end_mark)

    def key(self, frame: _Frame, event: Any) -> None:
        key, mark = event.value, event.start_mark
        if not event.style and key == "<<":
            self.fail("merge keys (<<) are not supported: write the keys out", mark)
        if not key:
            self.fail("found an empty key; write `key: value`", mark)
        if key in frame.value:
            first = self.marks[(*frame.path, key)]
            self.fail(f"duplicate key {key!r}; line {first.key_line} sets it first", mark)
        frame.key, frame.key_mark, frame.key_end = key, mark, event.end_mark

    def resolve(self, event: Any) -> Any:
        """Return the value of a plain scalar by YAML 1.2's core schema."""
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in "0123456789+-.":
            return text
        if _INTEGER.match(text):
            number = int(text, 0) if len(text) <= 20 else MAX_INTEGER + 1
            if not -MAX_INTEGER - 1 <= number <= MAX_INTEGER:
                self.fail(
                    f"the integer {text[:24]}… does not fit in 64 bits; quote it if it is text",
                    event.start_mark,
                )
            return number
        if len(text) <= 64 and _FLOAT.match(text):
            named = text.lower().replace(".inf", "inf").replace(".nan", "nan")
            return float(named)
        return text

    def mapping(self, event: Any) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and type(frame.value) is dict and frame.key is None:
            braces = frame.flow and event.flow_style
            self.braces(frame.start) if braces else self.complex_key(event)
        self.open({}, event)

    def sequence(self, event: Any) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and type(frame.value) is dict and frame.key is None:
            self.complex_key(event)
        self.open([], event)

    def braces(self, mark: Any) -> NoReturn:
        from personakit.persona.mistakes import explain  # noqa: PLC0415

        raise self.wrong(explain.braces(self.text, mark.line, mark.column))

    def complex_key(self, event: Any) -> NoReturn:
        self.fail("found a collection as a key; keys must be strings", event.start_mark)

    def open(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        self.check(event)
        if len(self.stack) >= MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        path = self.add(value, event.start_mark, None)
        self.stack.append(_Frame(value, path, event.start_mark, bool(event.flow_style)))

    def end(self, event: Any) -> None:
        frame = self.stack.pop()
        if frame.flow:
            line, column = event.end_mark.line + 1, event.end_mark.column + 1
            mark = self.marks[frame.path]
            self.marks[frame.path] = mark._replace(end_line=line, end_column=column)

    def add(self, value: Any, mark: Any, end: Any, style: str = "") -> Path:
        """Add a value to the open collection, record its position and return its path."""
        line, column = mark.line + 1, mark.column + 1
        begin, literal = (line + 1, style == "|") if style in ("|", ">") else (line, False)
        last_line, last = (end.line + 1, end.column + 1) if end else (0, 0)
        if not self.stack:
            self.root = value
            self.marks[()] = Mark(line, column, line, column, begin, literal, last_line, last)
            return ()
        frame = self.stack[-1]
        if type(frame.value) is dict:
            key = frame.key or ""
            path: Path = (*frame.path, key)
            frame.value[key] = value
            place = (frame.key_mark.line + 1, frame.key_mark.column + 1)
            # A key of several lines is possible after "? " only.
            same_line = frame.key_end.line == frame.key_mark.line
            key_end = frame.key_end.column + 1 if same_line else 0
            frame.key = None
        else:
            assert isinstance(frame.value, list)
            path = (*frame.path, len(frame.value))
            frame.value.append(value)
            place, key_end = (line, column), 0
        self.marks[path] = Mark(
            line, column, *place, begin, literal, last_line, last, key_end
        )  # fmt: skip
        return path
