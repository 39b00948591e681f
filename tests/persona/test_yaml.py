"""Reading YAML: what every scalar means, where every value stands, and what is refused."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personakit import PersonaError
from personakit.persona import yaml


def fault(source: str | bytes) -> tuple[int, int, str]:
    """Return the line, column and message of the one problem that a source has."""
    with pytest.raises(PersonaError) as caught:
        yaml.parse(source, "x.yaml")
    (problem,) = caught.value.problems
    assert problem.path == "x.yaml"
    return problem.line, problem.column, problem.message


# --- scalars ------------------------------------------------------------------------------------

SCALARS: list[tuple[str, Any]] = [
    ("no", "no"), ("No", "No"), ("NO", "NO"), ("off", "off"), ("on", "on"), ("yes", "yes"),
    ("y", "y"), ("true", True), ("True", True), ("TRUE", True), ("tRUE", "tRUE"),
    ("false", False), ("False", False), ("FALSE", False),
    ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"),
    ("12:30:45", "12:30:45"), ("1:30", "1:30"), ("2001-01-01", "2001-01-01"),
    ("2001-99-99", "2001-99-99"), ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("0", 0), ("-0", 0), ("7", 7), ("+7", 7), ("-7", -7), ("01234", "01234"), ("-01", "-01"),
    ("1_000", "1_000"), ("1,000", "1,000"), ("0x1F", 31), ("0x1f", 31), ("0X1F", "0X1F"),
    ("0o17", 15), ("0o8", "0o8"), ("0b11", "0b11"), ("-0x1F", "-0x1F"), ("0x", "0x"),
    ("9223372036854775807", 2**63 - 1), ("-9223372036854775807", 1 - 2**63),
    ("0x7fffffffffffffff", 2**63 - 1),
    ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("+.5", 0.5), ("1e3", 1000.0),
    ("1E3", 1000.0), ("1e+3", 1000.0), ("1.5e-3", 0.0015), ("1e", "1e"), ("e3", "e3"),
    (".", "."), ("-", [None]), ("+", "+"), ("..", ".."), ("1.2.3", "1.2.3"), ("01.5", "01.5"),
    (".inf", math.inf), ("-.inf", -math.inf), ("+.Inf", math.inf), (".INF", math.inf),
    ("inf", "inf"), ("nan", "nan"), ("-.nan", "-.nan"), ("=", "="), ("<<", "<<"),
    ("1e999999", math.inf), ("٣", "٣"), ("1٣", "1٣"),
    ("'no'", "no"), ('"7"', "7"), ("'null'", "null"), ('"true"', "true"), ("''", ""),
    ('"~"', "~"), ("'it''s'", "it's"), (r'"a\tb\n\x41\u00e9\U0001F600\/"', "a\tb\nAé😀/"),
    ("a b", "a b"), ("a #b", "a"), ("a#b", "a#b"), ("a:b", "a:b"), ("http://x.y", "http://x.y"),
    ("-a", "-a"), ("?a", "?a"), (":a", ":a"), ("é", "é"), ("😀", "😀"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = yaml.parse(text).data
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number_is_a_float(text: str) -> None:
    assert math.isnan(yaml.parse(text).data)


def test_a_scalar_means_the_same_in_every_place() -> None:
    assert yaml.parse("a: no\nb: [no, 1, {c: ~}]").data == {
        "a": "no",
        "b": ["no", 1, {"c": None}],
    }
    assert yaml.parse("no: 1\n1: 2\n~: 3").data == {"no": 1, "1": 2, "~": 3}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a: |\n  one\n  two\n", "one\ntwo\n"),
        ("a: |-\n  one\n  two\n\n", "one\ntwo"),
        ("a: |+\n  one\n\n", "one\n\n"),
        ("a: >\n  one\n  two\n\n  three\n", "one two\nthree\n"),
        ("a: |2\n    one\n", "  one\n"),
        ("a: |\r\n  one\r\n  two\r\n", "one\ntwo\n"),
        ("a: one\n  two\n", "one two"),
        ("a: |\n  {{ x }}: # no comment\n", "{{ x }}: # no comment\n"),
        ("a: |\n  x\n  \ty\n", "x\n\ty\n"),
    ],
)
def test_a_text_of_several_lines(source: str, text: str) -> None:
    assert yaml.parse(source).data == {"a": text}


@pytest.mark.parametrize("source", ["", "   \n", "# only a comment\n", "---\n", "%YAML 1.2\n---\n"])
def test_nothing_is_null(source: str) -> None:
    assert yaml.parse(source).data is None


# --- places -------------------------------------------------------------------------------------


def test_every_value_and_key_has_its_place() -> None:
    found = yaml.parse('name: x\nvariables:\n  guests:\n    minimum: 1\ntags: [a, "b"]\n')
    places = {at: mark[:4] for at, mark in found.marks.items()}
    assert places == {
        (): (1, 1, 1, 1),
        ("name",): (1, 7, 1, 1),
        ("variables",): (3, 3, 2, 1),
        ("variables", "guests"): (4, 5, 3, 3),
        ("variables", "guests", "minimum"): (4, 14, 4, 5),
        ("tags",): (5, 7, 5, 1),
        ("tags", 0): (5, 8, 5, 8),
        ("tags", 1): (5, 11, 5, 11),
    }


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a: one", 1), ("a:\n  one", 2), ('a: "one"', 1), ("a: |\n  one", 2), ("a: >-\n  one", 2),
        ("a: | # why\n  one", 2), ("b: 1\na:\n  |\n  one", 4),
    ],
)  # fmt: skip
def test_the_line_on_which_a_text_begins(source: str, line: int) -> None:
    assert yaml.parse(source).marks["a",].text_line == line


def test_a_problem_points_at_the_nearest_place_there_is() -> None:
    found = yaml.parse("a:\n  b: 1\n", "x.yaml")
    assert str(found.problem("wrong", ("a", "b"))) == "x.yaml:2:6: wrong"
    assert str(found.problem("wrong", ("a", "b"), key=True)) == "x.yaml:2:3: wrong"
    assert str(found.problem("wrong", ("a", "c", "d"), key=True)) == "x.yaml:2:3: wrong"
    assert str(found.problem("wrong", ("z",))) == "x.yaml:1:1: wrong"


def test_columns_count_characters() -> None:
    assert yaml.parse("é😀: x").marks["é😀",].column == 5


# --- what is refused ----------------------------------------------------------------------------

QUOTE = "which YAML reads as a mapping; quote it"
SECOND = 'found a second ": " on this line; quote a value that contains ": "'

REFUSED: list[tuple[str, int, int, str]] = [
    ("a: 1\nb: 2\na: 3", 3, 1, "duplicate key 'a'; line 1 sets it first"),
    ("x:\n  a: 1\n  'a': 2", 3, 3, "duplicate key 'a'; line 2 sets it first"),
    ("{a: 1, a: 2}", 1, 8, "duplicate key 'a'"),
    ("1: a\n'1': b", 2, 1, "duplicate key '1'"),
    ("a: &x 1", 1, 4, "found the anchor &x; anchors and aliases are not supported"),
    ("a: &x 1\nb: *x", 1, 4, "anchor"),
    ("a: *x", 1, 4, "found the alias *x; anchors and aliases are not supported"),
    ("a: *", 1, 4, "a text cannot begin with *, which is an alias in YAML; quote"),
    ("- &x [*x]", 1, 3, "anchor"),
    ("<<: {a: 1}", 1, 1, "merge keys (<<) are not supported: write the keys out"),
    ("a: !!str 1", 1, 4, "found the tag 'tag:yaml.org,2002:str'; tags are not supported"),
    ("a: !env HOME", 1, 4, "found the tag '!env'"),
    ("a: !!python/name:os.system", 1, 4, "tags are not supported"),
    ("--- !!map {}", 1, 5, "tag"),
    ("%TAG ! tag:x,2000:\n---\na: 1", 1, 1, "%TAG"),
    ("# why\n%TAG ! tag:x,2000:\n---\na: 1", 2, 1, "%TAG"),
    ("%FOO bar\n---\na: 1", 1, 1, "unknown directive"),
    ("%YAML 2.0\n---\na: 1", 1, 1, "incompatible YAML document"),
    ("a: 1\n---\nb: 2", 2, 1, "found a second document; a file must contain exactly one"),
    ("? \n: 1", 1, 2, "found an empty key"),
    ("'': 1", 1, 1, "found an empty key"),
    ("? [a]\n: 1", 1, 3, "found a collection as a key; keys must be strings"),
    ("? {a: 1}\n: 1", 1, 3, "found a collection as a key"),
    ("{[a]: 1}", 1, 2, "found a collection as a key"),
    ("a: 9223372036854775808", 1, 4, "the integer 9223372036854775808… does not fit in 64 bits"),
    ("a: 0x8000000000000000", 1, 4, "does not fit in 64 bits"),
    (f"a: {'9' * 5000}", 1, 4, "quote it if it is text"),
    ("system: {{ x }}", 1, 9, QUOTE),
    ("system: {{ x }} is here", 1, 9, QUOTE),
    ("tags: [{{ x }}]", 1, 8, QUOTE),
    ("- {{ x", 1, 3, QUOTE),
    ("system: {% if x %}a{% endif %}", 1, 9, QUOTE),
    ("system: Answer: yes", 1, 15, SECOND),
    ("a: b: c", 1, 5, SECOND),
    ("system: one\n  two: three", 2, 3, "check the indentation"),
    ("system: `x`", 1, 9, "quote a value that begins with it"),
    ("system: @x", 1, 9, "quote a value that begins with it"),
    ("a:\n\tb: 1", 2, 1, "found a tab; indent with spaces"),
    ('a: "\\d"', 1, 5, "write \\\\ for a backslash, or use single quotes"),
    ('a: "\\x4"', 1, 5, "write \\\\ for a backslash"),
    ('a: "\\ud83d"', 1, 7, "write the character itself"),
    ('a: "x', 1, 4, "the \" that opens here is not closed"),
    ("a: [1, 2\n\n", 1, 4, "the [ that opens here is not closed"),
    ("a: {b: 1\nc: 2\n", 1, 4, "the { that opens here is not closed; add } at its end"),
    ("a: 1\n b: 2", 2, 2, "check the indentation"),
    ("a: 1\nb", 2, 1, "found a line without a key"),
    ("[1, 2]]", 1, 7, "found more after the end of the value"),
    ("a: b\n- c", 2, 1, "found a list item (`- `) where a key is expected"),
    ("[" * 33, 1, 33, "nested more than 32 levels deep"),
    ("- " * 33 + "a", 1, 65, "nested more than 32 levels deep"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "line", "column", "part"), REFUSED)
def test_what_is_refused_has_its_place_and_a_way_out(
    source: str, line: int, column: int, part: str
) -> None:
    found = fault(source)
    assert part in found[2]
    assert found[:2] == (line, column)


@pytest.mark.parametrize("depth", [1, 32])
def test_the_depth_that_is_allowed(depth: int) -> None:
    yaml.parse("[" * depth + "]" * depth)


def test_the_size_of_a_file_is_limited() -> None:
    yaml.parse("#" * yaml.MAX_BYTES)
    wanted = (0, 0, "the file is larger than the limit of 1,048,576 bytes")
    assert fault("#" * (yaml.MAX_BYTES + 1)) == wanted
    assert fault(b"#" * (yaml.MAX_BYTES + 1)) == wanted


def test_the_number_of_values_is_limited() -> None:
    most = yaml.MAX_NODES - 1
    assert len(yaml.parse(f"[{'a,' * most}]").data) == most
    assert fault(f"[{'a,' * (most + 1)}]") == (
        1,
        2 * most + 2,
        "the file exceeds the limit of 60,000 values",
    )


@pytest.mark.parametrize(
    ("source", "line", "column", "part"),
    [
        (b"a: 1\nb: caf\xe9\n", 2, 7, "byte 0xe9 is not valid UTF-8"),
        (b"\xff", 1, 1, "byte 0xff is not valid UTF-8"),
        (b"a: \xc3", 1, 4, "byte 0xc3 is not valid UTF-8"),
        (b"a: \xed\xa0\x80", 1, 4, "byte 0xed is not valid UTF-8"),
        ("a: 1".encode("utf-16"), 0, 0, "the file is encoded as UTF-16; save it as UTF-8"),
        (b"\xfe\xff\x00a", 0, 0, "UTF-16"),
    ],
)  # fmt: skip
def test_bytes_are_utf_8(source: bytes, line: int, column: int, part: str) -> None:
    found = fault(source)
    assert found[:2] == (line, column)
    assert part in found[2]


def test_a_byte_order_mark_is_skipped() -> None:
    assert yaml.parse(b"\xef\xbb\xbfa: 1").data == {"a": 1}
    assert yaml.parse(b"\xef\xbb\xbfa: 1").marks["a",][:4] == (1, 4, 1, 1)


@pytest.mark.parametrize(
    "text", ["a: \x00", "a: \x07", "a: \x1b[31m", "a: \x7f", "a: \x80", "a: \ufffe"]
)
def test_control_characters_are_refused(text: str) -> None:
    assert "not allowed" in fault(text)[2] or "special characters" in fault(text)[2]


@pytest.mark.parametrize("text", ["a: \ud800", "\udfff", 'a: "x\udc80"'])
def test_half_a_character_is_refused(text: str) -> None:
    assert "surrogate" in fault(text)[2]


def test_the_message_is_never_as_long_as_the_file() -> None:
    assert len(fault(f"a: &{'x' * 900_000} 1")[2]) < 2000


def test_a_mapping_that_is_not_a_mapping_twice_is_no_template() -> None:
    assert yaml.parse("{a: {b: 1}}").data == {"a": {"b": 1}}
    assert yaml.parse("- {a: {b: {}}}").data == [{"a": {"b": {}}}]


# --- what must not take the process down --------------------------------------------------------

NASTY = {
    "brackets": "'[' * 25000",
    "braces": "'{' * 25000",
    "mappings": "'{a: ' * 25000",
    "sequences": "'- ' * 25000",
    "keys": "'? ' * 25000",
    "indents": "''.join(' ' * n + 'a:\\n' for n in range(1200))",
    "merge bomb": "'a: &a [x]\\n' + ''.join(f'k{n}: &k{n} [*a, *a]\\n' for n in range(9999))",
    "digits": "'a: ' + '9' * 900000",
    "tags": "''.join(f'%TAG !a{n}! x\\n' for n in range(60000)) + '---\\na: 1'",
    "quotes": "'\"' * 900000",
    "flow": "'[' + ',' * 900000",
}


@pytest.mark.parametrize("source", NASTY.values(), ids=NASTY.keys())
def test_a_nasty_file_is_an_error_and_nothing_else(source: str) -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "from personakit import PersonaError\nfrom personakit.persona import yaml\n"
        f"try: yaml.parse({source})\n"
        "except PersonaError: print('refused')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


# --- JSON is YAML -------------------------------------------------------------------------------

# YAML ends a line at U+0085, U+2028 and U+2029, and has no DEL, C1 or U+FEFF; json.dumps writes
# them as they are.
texts = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"
    ),
    max_size=20,
)
# In ASCII it writes but DEL as an escape.
escaped = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(texts.filter(lambda key: key != ""), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(anything)
def test_json_is_read_as_it_is(data: Any) -> None:
    found = yaml.parse(json.dumps(data, ensure_ascii=False)).data
    assert found == data
    assert json.dumps(found) == json.dumps(data)


@settings(deadline=None)
@given(st.dictionaries(texts.filter(lambda key: key != ""), escaped))
def test_json_in_ascii_is_read_as_it_is(data: dict[str, str]) -> None:
    assert yaml.parse(json.dumps(data)).data == data


def test_a_pair_of_escapes_is_one_character_in_json_only() -> None:
    assert yaml.parse(r'{"a": "\ud83d\ude00 \\ud83d\\ude00"}').data == {"a": r"😀 \ud83d\ude00"}
    assert yaml.parse("a: '\\ud83d\\ude00'").data == {"a": r"\ud83d\ude00"}


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_else_is_a_persona_error(source: str | bytes) -> None:
    with contextlib.suppress(PersonaError):
        yaml.parse(source)


@settings(deadline=None)
@given(st.text(alphabet="abc:-?{}[]&*!|>%@`'\"#,\n \t~0.<\\", max_size=40))
def test_anything_that_looks_like_yaml_is_read_or_refused(source: str) -> None:
    with contextlib.suppress(PersonaError):
        found = yaml.parse(source)
        assert () in found.marks or found.data is None
