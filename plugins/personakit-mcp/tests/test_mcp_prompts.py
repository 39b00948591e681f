"""Personas as prompts and resources, with the client of `mcp` in both versions."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import PromptReference, ResourceTemplateReference
from serving_clients import COOK, MODES, PLAN, connected, library, run

from personakit.testing import runner

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_prompts_have_the_variables_as_arguments_required_ones_first(
    mode: str, tmp_path: Path
) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("cook", "plan")) as client:
            return (await client.list_prompts()).prompts

    running, _ = runner(path=[library(tmp_path, cook=COOK, plan=PLAN)])
    cook, plan = run(work)
    assert (cook.name, cook.title, cook.description) == ("cook", "Cook", "Cooks for guests.")
    assert [(each.name, each.required) for each in cook.arguments] == [
        ("tone", True),
        ("input", True),
        ("guests", False),
        ("vegan", False),
    ]
    assert cook.arguments[0].description == "The tone. One of kind, rude, formal."
    assert cook.arguments[2].description == "How many eat. Integer from 1 to 20. Default: 4."
    assert [(each.name, each.required) for each in plan.arguments][-1] == ("input", False)


def test_a_prompt_is_the_system_text_then_the_examples_then_the_prompt(
    mode: str, tmp_path: Path
) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            given = {"tone": "kind", "guests": "6", "vegan": "yes", "input": "soup"}
            return await client.get_prompt("cook", given)

    running, upstream = runner(path=[library(tmp_path, cook=COOK)])
    result = run(work)
    assert [(each.role, each.content.text) for each in result.messages] == [
        ("user", "You cook for 6 guests in a kind tone."),
        ("user", "Hi!"),
        ("assistant", "Hello!"),
        ("user", "Cook: soup"),
    ]
    assert upstream.requests == []


def test_an_empty_text_counts_as_no_value(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            return await client.get_prompt("cook", {"tone": "rude", "guests": "", "input": "soup"})

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    assert run(work).messages[0].content.text == "You cook for 4 guests in a rude tone."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": "x"}, "argument 'tone' is required: The tone; one of kind, rude, formal"),
        ({"tone": "kind"}, "argument 'input' is required: the message of the user"),
        (
            {"tone": "kind", "input": "x", "guests": "many"},
            "argument 'guests': expected an integer, found 'many'",
        ),
        (
            {"tone": "kind", "input": "x", "guests": "30"},
            "argument 'guests': it is 30, the maximum is 20",
        ),
        (
            {"tone": "kind", "input": "x", "guest": "3"},
            "unknown argument 'guest'; did you mean 'guests'? (known: guests, tone, vegan, input)",
        ),
        ({"tone": "kind", "input": "x" * 5_000_000}, "the arguments have more than 4,000,000"),
    ],
)
def test_a_wrong_argument_is_told_by_its_name(
    mode: str, tmp_path: Path, given: dict[str, str], message: str
) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            with pytest.raises(MCPError) as raised:
                await client.get_prompt("cook", given)
            return raised

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    raised = run(work)
    assert raised.value.code == -32602
    assert message in raised.value.message
    assert "-v" not in raised.value.message


@pytest.mark.parametrize("name", ["cok", "../cook", "cook@1", "/etc/passwd", "scheme:x", ""])
def test_an_unknown_prompt_is_an_error(mode: str, tmp_path: Path, name: str) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            with pytest.raises(MCPError, match="unknown prompt") as raised:
                await client.get_prompt(name)
            return raised

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    raised = run(work)
    assert (name != "cok") or "did you mean 'cook'?" in raised.value.message


def test_resources_are_the_file_and_the_messages(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("cook",)) as client:
            listed = (await client.list_resources()).resources
            templates = (await client.list_resource_templates()).resource_templates
            contents = [(await client.read_resource(each.uri)).contents[0] for each in listed]
            return listed, templates, contents

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    listed, templates, (written, rendered) = run(work)
    assert [each.uri for each in listed] == ["persona://cook", "persona://cook/rendered"]
    assert [each.title for each in listed] == ["Cook", "Cook, rendered"]
    assert len(templates) == 2
    assert written.text == COOK
    assert written.mime_type == "application/yaml"
    assert "You cook for 4 guests in a kind tone." in rendered.text


@pytest.mark.parametrize("uri", ["persona://../cook", "file:///etc/passwd", "persona://x", "x"])
def test_an_unknown_resource_is_an_error(mode: str, tmp_path: Path, uri: str) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            with pytest.raises(MCPError, match="unknown resource") as raised:
                await client.read_resource(uri)
            return raised

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    raised = run(work)
    assert raised.value.code == -32602


@pytest.mark.parametrize(
    ("argument", "typed", "values"),
    [
        ("tone", "", ["kind", "rude", "formal"]),
        ("tone", "F", ["formal"]),
        ("tone", "fromal", ["formal"]),
        ("vegan", "t", ["true"]),
        ("guests", "1", []),
        ("none", "", []),
    ],
)
def test_enums_and_booleans_are_completed(
    mode: str, tmp_path: Path, argument: str, typed: str, values: list[str]
) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            where = PromptReference(name="cook")
            return await client.complete(where, {"name": argument, "value": typed})

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    assert run(work).completion.values == values


def test_at_most_100_names_are_completed(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("many-*",)) as client:
            where = ResourceTemplateReference(uri="persona://{name}")
            return (await client.complete(where, {"name": "name", "value": "many-"})).completion

    names = {f"many-{number:03}": "system: Hi!" for number in range(150)}
    running, _ = runner(path=[library(tmp_path, **names)])
    found = run(work)
    assert (len(found.values), found.total, found.has_more) == (100, 150, True)


def test_a_broken_persona_is_left_out_and_named_once_in_the_log(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            await client.list_prompts()
            await client.list_resources()
            return [each.name for each in (await client.list_prompts()).prompts]

    running, _ = runner(path=[library(tmp_path, cook=COOK, broken="sytem: Hi!")])
    with caplog.at_level(logging.WARNING):
        names = run(work)
    assert "cook" in names
    assert "broken" not in names
    assert [each for each in caplog.messages if "broken.yaml" in each] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_persona_with_an_invalid_template_is_left_out_when_that_is_seen(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("cook", "bad")) as client:
            for _ in range(2):
                with pytest.raises(MCPError, match="bad"):
                    await client.get_prompt("bad")
            broken = [each.name for each in (await client.list_prompts()).prompts]
            library(tmp_path, bad="system: Good!")
            return broken, [each.name for each in (await client.list_prompts()).prompts]

    running, _ = runner(path=[library(tmp_path, cook=COOK, bad='system: "{% if x %}"')])
    with caplog.at_level(logging.WARNING):
        assert run(work) == (["cook"], ["bad", "cook"])
    assert len([each for each in caplog.messages if "bad.yaml" in each]) == 1


def test_a_persona_that_changes_is_read_again(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("cook", "new")) as client:
            before: Any = await client.get_prompt("new")
            library(folder, new="system: Goodbye, all!")
            after: Any = await client.get_prompt("new")
            (folder / "new.yaml").unlink()
            names = [each.name for each in (await client.list_prompts()).prompts]
            with pytest.raises(MCPError, match="unknown prompt 'new'"):
                await client.get_prompt("new")
            return before.messages[0].content.text, after.messages[0].content.text, names

    folder = library(tmp_path, cook=COOK, new="system: Hello!")
    running, _ = runner(path=[folder])
    assert run(work) == ("Hello!", "Goodbye, all!", ["cook"])


def test_lists_are_fresh_for_5_seconds(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            return await client.list_prompts(), await client.list_resources()

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    expected = 0 if mode == "legacy" else 5000
    assert [each.ttl_ms for each in run(work)] == [expected, expected]


def test_a_large_library_has_pages(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode, personas=("page-*",)) as client:
            pages = [await client.list_prompts()]
            while pages[-1].next_cursor is not None:
                pages.append(await client.list_prompts(cursor=pages[-1].next_cursor))
            return [[each.name for each in page.prompts] for page in pages]

    names = [f"page-{number:04}" for number in range(1001)]
    running, _ = runner(path=[library(tmp_path, **dict.fromkeys(names, "system: Hi!"))])
    first, second = run(work)
    assert [len(first), len(second)] == [1000, 1]
    assert [*first, *second] == names


def test_many_requests_at_once(mode: str, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            given = ({"tone": "kind", "input": str(number)} for number in range(100))
            return await asyncio.gather(*(client.get_prompt("cook", each) for each in given))

    running, _ = runner(path=[library(tmp_path, cook=COOK)])
    texts = [result.messages[-1].content.text for result in run(work)]
    assert texts == [f"Cook: {number}" for number in range(100)]


def test_what_is_for_one_persona_reads_no_other(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> Any:
        async with connected(running, mode) as client:
            where = PromptReference(name="cook")
            await client.complete(where, {"name": "tone", "value": ""})
            await client.read_resource("persona://cook/rendered")
            await client.get_prompt("cook", {"tone": "kind", "input": "soup"})
            before = list(caplog.messages)
            await client.list_prompts()
            return before

    # A broken persona is named in the log when it is read.
    running, _ = runner(path=[library(tmp_path, cook=COOK, broken="sytem: Hi!")])
    with caplog.at_level(logging.WARNING, "personakit.mcp"):
        assert run(work) == []
    assert len(caplog.messages) == 1
