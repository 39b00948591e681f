"""`-x`: the first code block of an answer, by the rules of CommonMark."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.cli import Commands
from hypothesis import example, given
from hypothesis import strategies as st

from personakit.cli.shared.extract import Block, first_block
from personakit.testing import Reply, Server

MODEL = ("-m", "openai/test-model")


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("a\n```py\nx = 1\n```\nb\n```\ny\n```\n", Block("x = 1\n", True)),
        ("~~~\n```\nin\n```\n~~~\n", Block("```\nin\n```\n", True)),
        ("````md\n```\na\n```\n````", Block("```\na\n```\n", True)),
        ("   ```\n   a\n    b\n  ```\n", Block("a\n b\n", True)),
        ("1. x\n   ```sh title=x\n   ls\n   ```\n2. y\n   ~~~\n   ls\n", Block("ls\n", True)),
        ("```sh `no`\nls\n~~~ `info`\nls\n~~~\n", Block("ls\n", True)),
        ("> ```\n> a\n> ```\n", Block("a\n", True)),
        ("<details>\n```\na\n```\n</details>", Block("a\n", True)),
        ("```py\r\na\r\n```\r\n", Block("a\n", True)),
        ("```\n\na\n\n```", Block("\na\n\n", True)),
        ("```\na\n```x\nb\n``\n``` ", Block("a\n```x\nb\n``\n", True)),
        ("```\n```", Block("", True)),
        ("```\nhalf", Block("half\n", False)),
        ("```\nhalf\n\n", Block("half\n\n", False)),
        ("- ```\n  half\nafter", Block("half\n", False)),
        ("```", Block("", False)),
        ("No code, `only` ```inline``` code.", None),
        ("    ```\n    indented\n    ```\n", None),
        ("", None),
    ],
)
def test_the_first_block(text: str, block: Block | None) -> None:
    assert first_block(text) == block


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=12)


@given(st.lists(LINE | st.sampled_from(["```", "~~~~", "    ", "- a", "> b"]), max_size=6), LINE)
@example(["~~~"], "~~~")
def test_a_long_enough_fence_keeps_any_code(lines: list[str], after: str) -> None:
    code = "".join(f"{line}\n" for line in lines)
    longest = max((len(line) for line in lines), default=0)
    fence = "`" * max(3, longest + 1)
    block = first_block(f"Here:\n\n{fence}text\n{code}{fence}\n\n{after}\n")
    # CommonMark has no other line breaks, but the parser expands tabs in an indentation.
    assert block is not None
    assert block.is_closed
    assert block.code == code


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.mark.parametrize(
    ("answer", "out", "notice"),
    [
        ("Sure!\n```py\nprint()\n```\nDone.", "print()\n", ""),
        ("Sure!\n```py\nprint(", "print(\n", "the code block has no closing fence"),
        ("Sure!\n```\n```\n", "", "the code block is empty"),
        ("print()", "print()\n", "no fenced code block, so all of it is printed"),
    ],
)
def test_extract_prints_the_block_alone(call: Commands, answer: str, out: str, notice: str) -> None:
    call.write("p.yaml", "system: Hi.\n")
    with Server([answer]) as server:
        for words in (["ask", "Code?", "-x"], ["run", "./p.yaml", "Code?", "--extract"]):
            done = call(*words, *MODEL, **server.environ())
            assert (done.code, done.out) == (0, out)
            assert (notice in done.err) if notice else not done.err


@pytest.mark.parametrize("other", ["--json", "--json-output", "--stream", "--schema=a"])
def test_extract_is_not_combined_with_other_forms(call: Commands, other: str) -> None:
    done = call("ask", "Hi", "-x", other)
    assert (done.code, done.out) == (2, "")
    assert "cannot be combined with" in done.err


def test_half_a_block_of_a_failed_run_is_not_on_standard_output(call: Commands) -> None:
    with Server() as server:
        body = server.whole("```py\nrm(")
        body["choices"][0]["finish_reason"] = None
        server.answers = [body]
        done = call("ask", "Hi", "-x", *MODEL, **server.environ())
    assert (done.code, done.out) == (1, "")
    assert "rm(" in done.err


def test_the_last_answer_is_printed_again_alone(call: Commands) -> None:
    answer = "Here:\n\n```sh\nls\n```\n"
    with Server([answer, Reply(b"{}", status=400)]) as server:
        env = server.environ()
        call("ask", "List files", *MODEL, **env)
        assert call("log", "show", "-r", **env) == (0, f"{answer}\n", "")
        assert call("log", "show", "last", "-x", **env) == (0, "ls\n", "")
        assert "--response cannot be combined" in call("log", "show", "-r", "-x", **env).err
        assert call("log", "list", "--conversation", "last", **env).out.endswith("List files\n")
        assert call("ask", "Again", *MODEL, **env).code == 1
        done = call("log", "show", "-r", **env)
        assert (done.code, done.out) == (1, "")
        assert " has no answer: " in done.err
        both = call("ask", "-c", "--conversation", "7", "Hi", **env)
        assert "-c continues the last conversation, --conversation the one with" in both.err
