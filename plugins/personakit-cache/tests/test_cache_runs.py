"""Whole runs with the plugin, in all four modes."""

import asyncio
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from personakit_cache import Cache

from personakit import (
    BackendError,
    Message,
    PersonaError,
    Request,
    Response,
    Runner,
    Tool,
    ToolCall,
    Usage,
    hookimpl,
)
from personakit.testing import (
    MODES,
    Server,
    check_plugin,
    check_replay,
    in_mode,
    persona,
    runner,
)

README = (Path(__file__).parents[1] / "README.md").read_text()
SAID = "  One two,\n\nthree \U0001f600.\n"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(folder=str(tmp_path / "answers"))


def state(running: Runner, *args: Any, **options: Any) -> Any:
    return running.run(persona(), *args, **options).metadata["cache"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", MODES)
def test_the_second_time_the_store_answers(cache: Cache, first: str, mode: str) -> None:
    running, upstream = runner([SAID, "never asked"], plugins=[cache])
    missed = in_mode(first, running, persona(), "Hi")
    hit = in_mode(mode, running, persona(), "Hi")
    assert len(upstream.requests) == 1
    assert (missed.text, missed.metadata["cache"]) == (SAID, "miss")
    assert (hit.text, hit.metadata["cache"]) == (SAID, "hit")
    assert (hit.finish_reason, hit.model, hit.tool_calls) == ("stop", "test/model", ())
    assert (hit.usage, hit.cost) == (Usage(), 0.0)
    assert missed.usage != Usage()
    assert hit.request is not None
    assert hit.request.messages == upstream.requests[0].messages
    assert hit.message == missed.message


@pytest.mark.parametrize("mode", MODES)
def test_over_http(cache: Cache, mode: str) -> None:
    with (
        Server([SAID], size=2) as server,
        closing(Runner(server.config(), plugins=[cache])) as running,
    ):
        missed, hit = (in_mode(mode, running, persona(), "Hi") for _ in range(2))
        assert len(server.requests) == 1
    assert (missed.text, hit.text) == (SAID, SAID)
    assert (hit.id, hit.model, hit.raw) == ("chatcmpl-test", "test-model", missed.raw)
    assert hit.raw["choices"][0]["message"]["content"] == SAID
    assert hit.metadata["cache"] == "hit"


def test_a_miss_flows_and_a_hit_comes_in_words(cache: Cache) -> None:
    running, _ = runner(["One two three"], plugins=[cache], size=4)
    assert list(running.stream(persona())) == ["One ", "two ", "thre", "e"]
    assert list(running.stream(persona())) == ["One ", "two ", "three"]


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(), size=st.integers(0, 5))
def test_what_is_streamed_is_the_text(cache: Cache, text: str, size: int) -> None:
    running, upstream = runner([text], plugins=[cache], size=size)
    prompt = f"{size} {text!r}"
    for mode in ("astream", "stream", "run"):
        assert in_mode(mode, running, persona(), prompt).text == text
    assert len(upstream.requests) in ({0, 1} if text else {3})


def test_it_is_a_good_plugin(cache: Cache) -> None:
    assert check_plugin(cache, "Hi", [SAID]).text == SAID


def test_all_that_matters_is_compared(cache: Cache) -> None:
    running, upstream = runner(plugins=[cache])
    part: Any = {"type": "text", "text": "Hi"}
    picture: Any = {"type": "image_url", "image_url": {"url": "data:,x"}}
    call = ToolCall("1", "roll", "{}")
    said = [
        Message("user", "Hi"),
        Message("system", "Hi"),
        Message("user", (part,)),
        Message("user", (part, picture)),
        Message("assistant", "Hi", (call,)),
        Message("assistant", "Hi", (call.replace(arguments='{"a": 1}'),)),
        Message("assistant", "Hi", (call.replace(name="rolls"),)),
        Message("tool", "Hi", tool_call_id="1"),
        Message("tool", "Hi", tool_call_id="2"),
    ]
    requests = [Request("test/model", (message,)) for message in said]
    base = requests[0]
    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    turned = {"type": "object", "properties": {"b": {}, "a": {}}}
    requests += [
        base.replace(model="test/other"),
        base.replace(api="chat"),
        base.replace(messages=(said[0], said[0])),
        base.replace(parameters={"temperature": 0}),
        base.replace(parameters={"temperature": 0.5}),
        base.replace(parameters={"temperature": 0.5, "seed": 1}),
        base.with_tools(Tool("roll", lambda: 4)),
        base.with_tools(Tool("roll", lambda: 4, "Rolls a die.")),
        base.with_tools(Tool("roll", lambda: 4, parameters=schema)),
        base.with_tools(Tool("roll", lambda: 4, parameters=turned)),
    ]
    assert [state(running, one) for one in requests] == ["miss"] * len(requests)
    assert [state(running, one) for one in requests] == ["hit"] * len(requests)
    assert len(upstream.requests) == len(requests)


def test_what_does_not_matter_is_not_compared(cache: Cache) -> None:
    running, upstream = runner(plugins=[cache])
    base = Request("test/model", (Message("user", "Hi"),), {"seed": 1, "top_p": 1})
    assert state(running, base) == "miss"
    for one in (
        base.replace(timeout=3.0, max_retries=0),
        base.replace(persona="other", variables={"a": 1}),
        base.replace(parameters={"top_p": 1, "seed": 1}),
    ):
        assert state(running, one) == "hit"
    assert len(upstream.requests) == 1


def test_the_options_of_other_plugins_are_compared(tmp_path: Path) -> None:
    mine = {"cache": {"folder": str(tmp_path)}}
    running, upstream = runner(plugin_options=mine)
    for attempts, expected in ((2, "miss"), (3, "miss"), (2, "hit")):
        who = persona(plugins=["cache", {"retry": {"attempts": attempts}}])
        assert running.run(who, "Hi").metadata["cache"] == expected
    assert len(upstream.requests) == 2


def test_its_own_options_are_not_compared(tmp_path: Path) -> None:
    running, _ = runner(plugin_options={"cache": {"folder": str(tmp_path)}})
    found = [running.run(persona(plugins=[{"cache": {"ttl": ttl}}]), "Hi") for ttl in (10, 20)]
    assert [one.metadata["cache"] for one in found] == ["miss", "hit"]


def test_a_request_that_is_not_json_is_asked(cache: Cache) -> None:
    running, upstream = runner(plugins=[cache])
    for _ in range(2):
        request = Request("test/model", (Message("user", "Hi"),), {"odd": {1, 2}})
        assert state(running, request) == "miss"
    assert len(upstream.requests) == 2


class Opaque:
    """A value that JSON cannot hold."""


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (Response("Hi", finish_reason="stop"), "hit"),
        (Response("Hi"), "hit"),
        (Response("\ud800 Hi", parsed={"a": [1, None]}, metadata={"b": {"c": (1,)}}), "hit"),
        (Response("", (ToolCall("1", "roll"),), finish_reason="tool_calls"), "hit"),
        (Response("Hi", finish_reason="length"), "miss"),
        (Response("Hi", finish_reason="content_filter"), "miss"),
        (Response("", finish_reason="stop"), "miss"),
        (Response("Hi", parsed=Opaque()), "miss"),
        (Response("Hi", parsed=(1, 2)), "miss"),
        (Response("Hi", metadata={"at": Opaque()}), "miss"),
        (Response("Hi", parsed=float("nan")), "miss"),
    ],
)
def test_only_complete_answers_are_stored(cache: Cache, answer: Response, again: str) -> None:
    running, _ = runner([answer], plugins=[cache])
    first, second = running.run(persona()), running.run(persona())
    assert (first.metadata["cache"], second.metadata["cache"]) == ("miss", again)
    for name in ("text", "tool_calls", "finish_reason", "parsed"):
        found, given = getattr(second, name), getattr(answer, name)
        assert found is given or found == given
    assert {**second.metadata, "cache": ""} == {**answer.metadata, "cache": ""}


@pytest.mark.parametrize("mode", MODES)
def test_errors_pass_and_are_not_stored(cache: Cache, mode: str) -> None:
    running, upstream = runner([BackendError("gone"), "Hello"], plugins=[cache])
    with pytest.raises(BackendError, match="gone"):
        in_mode(mode, running, persona())
    assert in_mode(mode, running, persona()).text == "Hello"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_a_stream_that_is_left_is_not_stored(cache: Cache, mode: str) -> None:
    running, upstream = runner(["One two"], plugins=[cache], size=1)
    if mode == "stream":
        with running.stream(persona()) as stream:
            next(stream)
    else:

        async def leave() -> None:
            async with running.astream(persona()) as stream:
                await anext(stream)

        asyncio.run(leave())
    assert state(running) == "miss"
    assert len(upstream.requests) == 2


CALL = Response("", (ToolCall("1", "roll", '{"dice": 2}'),), finish_reason="tool_calls")


class Tools:
    """Adds a tool to every request."""

    def __init__(self, function: Any) -> None:
        self.tool = Tool.of(function)

    @hookimpl
    def chat(self, request: Request) -> Request:
        return request.with_tools(self.tool)


@pytest.mark.parametrize("mode", MODES)
def test_tools_run_again_and_their_rounds_are_found(cache: Cache, mode: str) -> None:
    rolled: list[int] = []

    def roll(dice: int) -> str:
        rolled.append(dice)
        return "7" if len(rolled) < 3 else "8"

    running, upstream = runner([CALL, "Seven.", "Eight."], plugins=[Tools(roll), cache])
    ended = [in_mode(mode, running, persona(), "Roll!") for _ in range(3)]
    assert [one.text for one in ended] == ["Seven.", "Seven.", "Eight."]
    assert [one.metadata["cache"] for one in ended] == ["miss", "hit", "miss"]
    assert rolled == [2, 2, 2]
    assert ended[1].messages == ended[0].messages
    assert len(upstream.requests) == 3


def test_a_call_of_a_tool_that_a_later_plugin_brings_is_not_stored(cache: Cache) -> None:
    def roll(dice: int) -> str:
        return "7"

    running, upstream = runner([CALL, "Seven.", CALL, "Seven."], plugins=[cache, Tools(roll)])
    assert [running.run(persona(), "Roll!").text for _ in range(2)] == ["Seven.", "Seven."]
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("mode", MODES)
def test_after_redact_no_secret_is_stored(tmp_path: Path, mode: str) -> None:
    (tmp_path / "clerk.yaml").write_text(
        "name: clerk\nsystem: You answer letters.\nplugins: [redact, cache]\n"
    )
    mine = {"cache": {"folder": str(tmp_path / "answers")}}
    running, upstream = runner(["Dear [EMAIL-1]"], size=2, plugin_options=mine)
    for address in ("jane@example.com", "john@example.com"):
        response = in_mode(mode, running, tmp_path / "clerk.yaml", f"I am {address}.")
        assert response.text == f"Dear {address}"
    assert response.metadata["cache"] == "hit"
    assert len(upstream.requests) == 1
    stored = b"".join(path.read_bytes() for path in (tmp_path / "answers").iterdir())
    assert b"Dear [EMAIL-1]" in stored
    assert b"@example.com" not in stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "ttl is 0; use the seconds.*null"),
        ({"ttl": -1.5}, "ttl is -1.5; use the seconds"),
        ({"ttl": "1d"}, "option 'ttl'"),
        ({"max_size": 1000}, "max_size is 1000; .* at least 1000000"),
        ({"size": 1}, "no option 'size'.*did you mean 'max_size'"),
    ],
)
def test_wrong_options_are_explained(options: Any, message: str) -> None:
    running, upstream = runner()
    with pytest.raises(PersonaError, match=message):
        running.run(persona(plugins=[{"cache": options}]), "Hi")
    assert upstream.requests == []


@pytest.mark.parametrize("folder", ["/data", "~/data", "../data", "data", "file:/data"])
def test_a_persona_cannot_name_the_folder(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "clerk.yaml"
    file.write_text(f"system: Hi.\nplugins:\n  - cache: {{folder: '{folder}'}}\n")
    running, upstream = runner()
    message = (
        f"{file}:3:.*plugin 'cache' .*option 'folder': found '{folder}'; only the user may set it"
        ".*`plugin_options: {cache: {folder: …}}`"
    )
    with pytest.raises(PersonaError, match=message):
        running.run(file, "Hi")
    assert upstream.requests == []
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("ttl", [float("inf"), float("nan")])
def test_a_ttl_is_a_number(ttl: float) -> None:
    with pytest.raises(ValueError, match="or null for no limit"):
        Cache(ttl=ttl)


def test_threads_and_tasks_share_an_instance(cache: Cache) -> None:
    running, upstream = runner([lambda r: f"You: {r.messages[-1].text}"], plugins=[cache])
    prompts = [str(number % 5) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda prompt: running.run(persona(), prompt).text, prompts))
    assert texts == [f"You: {prompt}" for prompt in prompts]
    asked = len(upstream.requests)

    async def all_at_once() -> list[Response]:
        return await asyncio.gather(*(running.arun(persona(), prompt) for prompt in prompts))

    found = asyncio.run(all_at_once())
    assert [one.text for one in found] == texts
    assert {one.metadata["cache"] for one in found} == {"hit"}
    assert len(upstream.requests) == asked


def test_a_dry_run_does_not_answer(cache: Cache) -> None:
    running, upstream = runner(plugins=[cache])
    for _ in range(2):
        assert running.prepare(persona("Sys"), "Hi").messages[-1].text == "Hi"
        running.run(persona("Sys"), "Hi")
    assert len(upstream.requests) == 1


def test_the_default_folder_is_the_users(tmp_path: Path) -> None:
    code = (
        "from personakit.testing import persona, runner; from personakit_cache import Cache\n"
        "import sys; assert 'diskcache' not in sys.modules\n"
        "running, _ = runner(plugins=[Cache()])\n"
        "print([running.run(persona()).metadata['cache'] for _ in range(2)])"
    )
    names = ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA", "USERPROFILE")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict.fromkeys(names, str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['miss', 'hit']"
    assert [path.parent.name for path in tmp_path.rglob("cache.db")] == ["answers"]


def test_a_folder_may_name_the_home_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KEPT", "kept")
    running, _ = runner(plugins=[Cache(folder="~/$KEPT")])
    running.run(persona())
    assert (tmp_path / "kept" / "cache.db").exists()


def test_the_readme_lists_the_options() -> None:
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == [f.name for f in fields(Cache)]


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "clerk.yaml").write_text(block)
    mine = {"cache": {"folder": str(tmp_path)}}
    running, upstream = runner(["Good morning."], plugin_options=mine)
    texts = [running.run(tmp_path / "clerk.yaml", "Hi").text for _ in range(2)]
    assert texts == ["Good morning."] * 2
    assert len(upstream.requests) == 1
    assert (tmp_path / "cache.db").exists()


@pytest.mark.parametrize("mode", MODES)
def test_all_parts_of_an_answer_come_back_and_items_are_part_of_the_key(
    mode: str, cache: Cache
) -> None:
    items = ({"provider": "test", "message": {"reasoning_content": "Hm."}},)
    noted = ({"type": "url_citation", "url": "https://example.com"},)
    answer = Response("Hi", finish_reason="stop", reasoning="Hm.", items=items, annotations=noted)
    running, upstream = runner([answer], plugins=[cache])
    first, hit = (in_mode(mode, running, persona(), "Hi") for _ in range(2))
    assert (hit.reasoning, hit.items, hit.annotations) == ("Hm.", items, noted)
    assert (first.reasoning, first.items, first.annotations) == ("Hm.", items, noted)
    assert len(upstream.requests) == 1
    for kept in (items, ()):
        history = (Message("user", "Hi"), Message("assistant", "Hi", items=kept))
        running.run(persona(), Request("test/m", (*history, Message("user", "And?"))))
    assert len(upstream.requests) == 3


def look(word: str = "") -> str:
    """Look a word up."""
    return f"found {word}"


def test_it_obeys_the_rule_of_replay(tmp_path: Path) -> None:
    call = Response("", (ToolCall("1", "look", '{"word": "a"}'),))
    folder = str(tmp_path / "answers")
    response = check_replay(lambda: Cache(folder=folder), answers=[call, SAID], tools=[look])
    assert response.text == SAID
