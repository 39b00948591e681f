"""What a file that is not YAML says to its author: the place, the reason and a corrected line."""

from __future__ import annotations

import pytest

from personakit import PersonaError
from personakit.persona import yaml

END = "description: d\n"

MISTAKES = [
    # quotes
    ("system: 'it's'", 1, 12, "write '' for it, or use double quotes: `system: \"it's\"`"),
    ('system: "Say "hi" now"', 1, 14, "or use single quotes: `system: 'Say \"hi\" now'`"),
    ("system: 'a' b", 1, 12, "text follows the ' that ends the value; quote the whole text"),
    ('system: "abc\nname: x', 1, 9, 'the " that opens here is not closed on this line'),
    ('system: "abc\nname: "x"', 1, 9, 'but on line 2; add a " at its end: `system: "abc"`'),
    ("system: 'You are.\n  Don't.'", 2, 6, "the ' within the text ends the quoted value"),
    ('system: "a\\d"', 1, 11, "or use single quotes: `system: 'a\\d'`"),
    # brackets
    ("tags: [a, b\nsystem: x", 1, 7, "the [ that opens here is not closed; add ] at its end"),
    ("variables: {a: {type: string}\nsystem: x", 1, 12, "the { that opens here is not closed"),
    ('tags: ["a" "b"]', 1, 12, "expected a comma or ] before this"),
    ('tags: [\n "a"\n "b"\n]', 3, 2, "expected a comma or ] before this, in the [ of line 1"),
    ("tags: [a]]", 1, 10, "found a ] too many; remove it"),
    ("tags: [#food, #home]", 1, 8, "everything after the # is a comment; quote the words"),
    ("system: [Name] is a chef", 1, 14, 'quote the whole text: `system: "[Name] is a chef"`'),
    ("system: {{ x }}, hi", 1, 9, 'quote it: `system: "{{ x }}, hi"`, or write the text below'),
    ("system: {% if a %}b{% endif %}", 1, 9, 'an unquoted value begins with "{%"'),
    # first characters
    ("system: @user", 1, 9, 'a text cannot begin with @; quote a value that begins with it'),
    ("system: `x`", 1, 9, 'it: `system: "`x`"`'),
    ("system: %x", 1, 9, "a text cannot begin with %"),
    ("system: **Note** x", 1, 9, 'with it: `system: "**Note** x"`'),
    ("system: & and", 1, 9, "a text cannot begin with &, which is an anchor in YAML"),
    ("system: > quoted", 1, 11, "begin the text on the next line, indented by two spaces"),
    ("tags: - a", 1, 7, "a list item cannot begin on the line of its key"),
    ("%system: x", 1, 1, "a line cannot begin with %"),
    # colons
    ("system: Answer: yes", 1, 15, '`system: "Answer: yes"`, or write the text below a "|"'),
    ("messages:\n- user: Why: this?", 2, 12, '`- user: "Why: this?"`'),
    ("name:chef\nsystem: x", 1, 6, "write a space after the colon: `name: chef`"),
    ("name: a\nsystem:hello", 2, 8, "write a space after the colon: `system: hello`"),
    # lines and indentation
    ("system: |\nYou are a chef.", 2, 1, "indent the text below `system: |` (line 1)"),
    ("system: You are.\nYou cook.", 2, 1, "to continue the text of line 1, write all of it below"),
    ("name: x\n  system: y", 2, 3, "`system:` is indented below `name:` (line 1)"),
    ("variables:\n  a: 1\n b: 2", 3, 2, "check the indentation: expected column 3 (as line 2)"),
    ("messages:\n  - user: a\n  assistant: b", 3, 3, "begins with `- `: `- assistant: b`"),
    ("messages:\n  user: a\n  - user: b", 3, 3, "found a list item (`- `) where a key is expected"),
    ("messages:\n- user: a\n - user: b", 3, 2, "begins at column 2, the one on line 2 at column 1"),
    ("system: use C #\n  and more", 1, 15, 'the text ends here, since " #" begins a comment'),
    ("variables:\n  a: 1\n\tb: 2", 3, 1, "found a tab; indent with spaces"),
    ("system: |\n  a\n\tb", 3, 1, "found a tab; indent with spaces"),
    ("system:\u00a0x\nname: y", 1, 8, "found a no-break space (U+00A0)"),
    # the whole file
    ("name: x\n---\nYou are a chef.", 2, 1, "write a text that follows it below `system: |`"),
    ('system: "C:\\Users"\n', 1, 12, r"found \U, which needs the digits of a character; in "),
    ('system: "x",\n', 1, 12, "found , after the value; YAML has no such ends: remove it"),
    ("<<<<<<< HEAD\nsystem: x\n=======\nsystem: y\n>>>>>>> b", 1, 1, "the mark of a merge confli"),
    ("system: a\x1bb", 1, 10, "the control character U+001B (ESC), which is not allowed in a file"),
    ("name: x\nsystem: a\x00b", 2, 10, "the control character U+0000 (NUL)"),
]  # fmt: skip


def problem(source: str, path: str = "x.yaml") -> tuple[int, int, str]:
    """Return the line, column and message of the one problem of a source."""
    with pytest.raises(PersonaError) as caught:
        yaml.parse(source, path)
    (found,) = caught.value.problems
    return found.line, found.column, found.message


@pytest.mark.parametrize(("source", "line", "column", "part"), MISTAKES)
def test_a_mistake_has_its_place_and_a_correction(
    source: str, line: int, column: int, part: str
) -> None:
    for text in (f"{source}\n{END}", f"{source}\n{END}".replace("\n", "\r\n")):
        found = problem(text)
        assert part in found[2]
        assert found[:2] == (line, column)


@pytest.mark.parametrize(
    ("source", "line", "column", "part"),
    [
        ('{\n "a": 1,\n}x', 3, 1, "expecting property name enclosed in double quotes; remove the"),
        ('{"a": "b"\n "c": 1}', 2, 2, "expecting ',' delimiter; a comma or a quote is missing"),
        ('{"a": "b",\n // why\n "c": 1}', 2, 2, "JSON has no comments"),
        ('{"a": [1, 2', 1, 12, "the file ends early: close each { and ["),
        ("{'a': 'b'", 1, 2, "JSON has double quotes only"),
        ('{"a": "b" "c"}', 1, 11, "expecting ',' delimiter"),
    ],
)
def test_a_broken_json_file_is_not_called_yaml(
    source: str, line: int, column: int, part: str
) -> None:
    found = problem(source, "x.json")
    assert found[2].startswith("not valid JSON: ")
    assert part in found[2]
    assert found[:2] == (line, column)


def test_the_content_of_a_file_that_is_no_persona_is_not_shown() -> None:
    for mistake in ("key: a: secret", "key: 'secret's'", 'key: "secret', "key: @secret"):
        assert "secret" not in problem(mistake)[2]
        assert "secret" in problem(f"{END}{mistake}")[2]
