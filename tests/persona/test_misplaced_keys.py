"""What to write instead of a key at the wrong level, or of one with the name of another format."""

from __future__ import annotations

import pytest
from helpers.persona import faults

S = "system: 'Hi {{ guests }}'\n"

KEYS = [
    ("temperature: 0.7", "2:1: unknown key 'temperature'; put it under `parameters:`, as in "
     "`parameters: {temperature: 0.7}`"),
    ("top_p: 1", "2:1: unknown key 'top_p'; put it under `parameters:`"),
    ("maxTokens: 5", "as in `parameters: {max_tokens: 5}`"),
    ("top_k: 3", "2:1: unknown key 'top_k'; chat completions have no such parameter"),
    ("type: string", "put it below the name of a variable: `variables: {NAME: {type: …}}`"),
    ("user: hi", "put it under `messages:`, as `- user: …`"),
    ("role: system", "write it under `messages:`, as `- user: text`"),
    ("guests: 2", "declare a variable under `variables:`, as in `variables: {guests: …}`"),
    ("instructions: x", "2:1: unknown key 'instructions'; write `system:`"),
    ("input_variables: [a]", "write `variables:`"),
    ("api_key: x", "keys belong in the environment or the config file"),
    ("keep: 3", "put it under `history:`, as in `history: {keep: 20}`"),
    ("expect: {}", "put it in an entry of `tests:`"),
    ("tgas: [a]", "2:1: unknown key 'tgas'; did you mean 'tags'?"),
    ("parameters: {prompt: x}", "2:14: unknown parameter 'prompt'; write `prompt:` beside"),
    ("parameters: {max_length: 9}", "2:14: unknown parameter 'max_length'; write max_tokens"),
    ("parameters: {top_k: 9}", "2:14: unknown parameter 'top_k'; chat completions have no such"),
    ("parameters: {temperature: '1'}", "2:27: parameter 'temperature': expected a number from 0 "
     "to 2, found a string '1'; write 1 without quotes"),
    ("parameters: {logprobs: yes}", "found a string 'yes'; write true"),
    ("parameters: temperature:1", "2:13: parameters: expected a mapping, found a string "
     "'temperature:1'; write a space after the colon: temperature: 1"),
    ("parameters:\n- seed: 1", "3:1: parameters: expected a mapping, found a list [{'seed': 1}]; "
     "write `name: value` without `- `"),
    ("variables: {a: {type: str}}", "2:23: type: expected one of string, integer, number, boolean, "
     "array, object, any, found a string 'str'; write string"),
    ("variables: {a: {default: 1, min: 1}}", "2:29: unknown key 'min'; write `minimum:`"),
    ("variables: {a: {type: boolean, default: no}}", "found a string 'no'; write false"),
    ("variables: {a: {default: x, required: no}}", "found a string 'no'; write false"),
    ("messages: {user: a}", "2:11: messages: expected a list, found a mapping {'user': 'a'}; write "
     "`- ` before each role"),
    ("messages: [{role: user, content: hi}]", "as in `- user: hi`, found the keys role, content"),
    ("messages: [{user: a, assistant: b}]", "as in `- user: …` and `- assistant: …`, found the"),
    ("Name: x", "2:1: unknown key 'Name'; did you mean 'name'?"),
    ("parameters: {temperature: '0,7'}", "found a string '0,7'; write 0.7"),
    ("parameters: {seed: 1_000}", "found a string '1_000'; write 1000"),
    ("plugins: retry", "2:10: plugins: expected a list, found a string 'retry'; write [retry]"),
    ("messages: [{user: }]", "found nothing (null); write a text after the colon, or remove"),
    ("description: {x}", "quote a text that begins with {, and write a variable as {{ name }}"),
    ("Be kind: always", "unknown key 'Be kind'; if the line is a part of a text, write all of it"),
    ("messages: [human: hi]", "use one of system, developer, user, assistant; write user"),
    ("tools: [{function: {name: a}}]", "write the name of an installed tool, as in `tools: [sea"),
    ("output: Recipe", "found a string 'Recipe'; write a JSON Schema, as in `{type: object, prop"),
    ("tests: [{input: a, render: {equals: a}}]", "unknown key 'input'; write `prompt:`"),
    ("tests: [{assert: a, render: {equals: a}}]", "write `expect:`, as in `expect: {contains: w"),
    ("tests: [{expect: hello}]", "a string 'hello'; write a check, as in `expect: {contains: word"),
    ("tests: [{expect: {max_words: '9'}}]", "found a string '9'; write 9 without quotes"),
    ("model: [a]", "expected a string, found a list ['a']; write one text instead of a list"),
    ("tests: [{prompt: hi}]", "found neither; write what to check, as in `expect: {contains: wor"),
    ("messages: [user: [a]]", "write lines of a text below a `|`, without `- `, and quote a text"),
    ('"a\\e": 1', "2:1: unknown key 'a\\u001b'"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "part"), KEYS)
def test_a_misplaced_key_has_its_place_and_a_correction(source: str, part: str) -> None:
    (found,) = faults(f"{S}{source}\n")
    assert part in found


@pytest.mark.parametrize("source", ["system:\n", "system: #1", "system: ~"])
def test_a_system_message_without_text_says_where_to_write_it(source: str) -> None:
    assert faults(f"description: d\n{source}") == [
        "2:1: `system:` has no text; write it after the colon, or indented below `system: |`, and "
        "quote a text that begins with #"
    ]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (
            'name = "x"\nsystem = "y"\n',
            "1:1: expected a mapping with at least `system:`, found a string; write `key: value` "
            "instead of `key = ",
        ),
        (
            '[persona]\nname = "x"\n',
            "2:1: found more after the end of the value; a file is one mapping of keys to values, "
            "with `key: value` instead of `key = ",
        ),
        (
            "<html>x</html>",
            "1:1: expected a mapping with at least `system:`, found a string that begins with <, "
            "as a web page does; download the file itself",
        ),
    ],
)
def test_another_format_is_recognized(source: str, part: str) -> None:
    (found,) = faults(source)
    assert part in found


def test_a_system_message_that_is_indented_too_far_is_found() -> None:
    assert faults("variables:\n  a: 1\n  system: hi\n") == [
        "3:3: the persona sends nothing: `system:` on line 3 is below `variables:`, so indent it "
        "less"
    ]
