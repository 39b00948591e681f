"""The benchmarks still run: nothing here is timed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import LONG, QUESTIONS, batch, mcp, serve  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.harness import envs, plot, report, sample, server, traffic  # noqa: E402
from benchmarks.harness.bench import Bench, Table  # noqa: E402
from benchmarks.harness.contest import Effort, Side, contest  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it measures by POSIX means")

JOB = {
    "values": sample.VALUES,
    "prompt": sample.PROMPT,
    "template": sample.TEMPLATE,
    "persona": sample.persona(),
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with traffic.serving() as serving:
        yield Bench(envs.Environments(own=True), serving, quick=True)


def post(url: str, **body: object) -> bytes:
    data = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **body})
    with urlopen(Request(url + "/chat/completions", data.encode()), timeout=10) as reply:
        read: bytes = reply.read()
        return read


@pytest.mark.parametrize("name", [*QUESTIONS, *LONG])
def test_every_question_can_be_asked_and_has_its_place_on_the_page(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").ask)
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert f"<!-- {name}: written by the harness -->" in page
    assert f"<!-- end of {name} -->" in page


def test_every_module_of_benchmarks_is_a_question_or_no_module_at_all() -> None:
    modules = {file.stem for file in (ROOT / "benchmarks").glob("[a-z]*.py")}
    assert modules == {*QUESTIONS, *LONG}


def test_the_server_answers_whole_and_streamed(bench: Bench) -> None:
    whole = json.loads(post(bench.server.url()))
    assert whole["choices"][0]["message"]["content"] == server.answer_of(1)
    assert bench.server.last() == [("user", "Hi")]
    streamed = post(bench.server.url("events3", "pace1", "wait1"), stream=True).decode()
    events = re.findall(r"^data: (.*)$", streamed, re.MULTILINE)
    assert events.pop() == "[DONE]"
    texts = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(texts) == server.answer_of(3)


def test_the_server_waits_for_a_body_that_comes_in_pieces(bench: Bench) -> None:
    assert json.loads(post(bench.server.url(), padding="x" * 500_000))["object"]


def test_the_maximum_of_the_server_is_measured(bench: Bench) -> None:
    assert traffic.maximum(bench.server, connections=4, seconds=0.1) > 0


def test_a_side_that_gives_another_answer_is_missing_with_the_reason(bench: Bench) -> None:
    right = Side("right", "ours:render", "personakit", ("personakit",))
    wrong = Side("wrong", "ours:render", "personakit", (), {"expect": "Something else."})
    other = Side("other", "banks:render", "banks")
    job = {**JOB, "expect": sample.TEXT}
    found = contest(bench, [right, wrong, other], job, Effort(1, 2))
    assert not found["right"].missing
    assert found["right"].cpu > 0
    assert found["right"].versions["personakit"]
    assert "instead of 'Something else.'" in found["wrong"].missing
    assert found["other"].missing == "not asked for"


@pytest.mark.parametrize("function", ["call", "astream"])
def test_our_adapter_sends_what_the_others_send(bench: Bench, function: str) -> None:
    said = [[message["role"], message["content"]] for message in sample.messages(4)]
    job = {
        **{key: value for key, value in JOB.items() if key != "values"},
        "base_url": bench.server.url(),
        "variables": sample.VALUES,
        "persona": sample.persona(4),
        "messages": sample.messages(4),
        "said": said,
        "expect": server.answer_of(1),
    }
    sides = [
        Side("ours", f"ours:{function}", "personakit", (), {"layers": "three"}),
        Side("openai", f"openai_client:{function}", "openai", ("openai",)),
    ]
    sides.append(Side("less", sides[0].function, "personakit", (), {"persona": sample.persona(2)}))
    found = contest(bench, sides, job, Effort(1, 2))
    assert "it sent" in found.pop("less").missing
    assert [side.missing for side in found.values()] == ["", ""]


def test_a_quick_question_without_peers_is_written_into_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    shutil.copy(ROOT / "docs" / "performance.md", page)
    assert main(["render", "--quick", "--own", "--write", str(page)]) == 0
    section = page.read_text("utf-8").split("## Render")[1].split("## Stream")[0]
    assert report.QUICK in section
    assert section.count("| **personakit** |") == 1
    report.write(page, "render", "Another run.\n", [])
    section = page.read_text("utf-8").split("## Render")[1].split("## Stream")[0]
    assert "Another run." in section
    assert "| **personakit** |" not in section
    assert "Missing: llm, Banks" in capsys.readouterr().out
    assert (tmp_path / "performance" / "render.svg").read_text("utf-8").startswith("<svg")


@pytest.mark.skipif(sys.platform != "linux", reason="it reads the accounts of Linux")
def test_a_soak_finds_that_all_sides_have_counted_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["soak", "--own", "--count", "300"]) == 0
    printed = capsys.readouterr().out
    # A client may leave before its run has begun.
    rows = re.search(r"\| rows of the log \| (\d+) \| as many as runs \| yes \|", printed)
    assert rows is not None
    assert 250 < int(rows[1]) <= 301
    assert "Missing" not in printed


@pytest.mark.skipif(sys.platform != "linux", reason="it measures by means of Linux")
def test_the_mcp_server_is_compared(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(mcp, "FEW", 1)
    monkeypatch.setattr(mcp, "MANY", 3)
    monkeypatch.setattr(mcp, "SETTLED", 0)
    starts, lists, prompts = mcp.ask(bench)
    assert not starts.missing
    assert starts.rows[0][1] == 1
    assert lists.rows[1][1] == 1
    assert prompts.rows[0][1] == 1
    assert all(isinstance(row[-1], float) for row in (*starts.rows, *prompts.rows))


@pytest.mark.skipif(sys.platform != "linux", reason="it measures by means of Linux")
def test_a_batch_is_compared_and_goes_on(bench: Bench) -> None:
    rows, ended, limits = batch.ask(bench)
    assert {str(row[0]) for row in rows.rows} >= {batch.BY_HAND, batch.COMMAND, "**`Batch.arun`**"}
    assert set(rows.missing.values()) <= {"not asked for"}
    for name, ratio, goal, *micro in rows.rows:
        assert isinstance(ratio, float)
        assert (goal == "≤ 0.8") is str(name).startswith("**")
        assert all(micro)
    assert not ended.missing
    assert [row[0] for row in ended.rows][-2:] == ["resuming", "resuming, without the index"]
    assert not limits.missing
    for name, seconds, _, share, _ in limits.rows:
        assert seconds != "never", name
        assert isinstance(share, float)
        assert share > 0.5


@pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None, reason="`just clients` brings aiohttp"
)
@pytest.mark.skipif(sys.platform != "linux", reason="it reads the accounts of Linux")
def test_servers_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    few = serve.Case("a request", 4, 8)
    stream = serve.Case("an event", 2, 2, True, "/events50", 50, 3.0)
    monkeypatch.setattr(serve, "cases", lambda _: [few, stream])
    monkeypatch.setattr(serve, "OPEN", 5)
    with traffic.serving() as serving:
        costs, sizes = serve.ask(Bench(envs.Environments(own=True), serving, quick=True))
    assert costs.missing == {"LiteLLM's proxy": "not asked for"}
    for _, ratio, goal, *micro in costs.rows:
        assert isinstance(ratio, float)
        assert ratio > 0
        assert str(goal).startswith("≤")
        assert all(micro)
    assert [row[0] for row in sizes.rows][-1] == "CPU of the start, s"


def test_what_cannot_be_asked_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rendr"])
    assert "no question 'rendr'; there are start, call" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["render", "--write", "nowhere.md"])
    assert "no file nowhere.md" in capsys.readouterr().err


def test_a_picture_has_a_bar_for_each_number_and_escapes_names() -> None:
    table = Table("A & B", ["x", "CPU"], [["<a>", 0.05], ["**b**", 40.0], ["c", None]], plot=1)
    drawn = plot.picture([table])
    assert drawn.count("<rect") == 2
    assert "&lt;a&gt;" in drawn
    assert "A &amp; B" in drawn
    assert plot.picture([]) == ""
