"""Search by meaning: what is embedded, when it is paid again, and what fails."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from personakit_rag import RAG, meanings, vectors

import personakit
from personakit import (
    ConfigError,
    Embeddings,
    Message,
    PersonaError,
    RateLimited,
    Request,
    Response,
    Runner,
    Suspended,
    Tool,
    ToolCall,
    hookimpl,
)
from personakit.testing import MODES, Server, check_replay, in_mode, persona, runner

SMALL = "openai/text-embedding-3-small"
ASKED = "When does the library open?"


class Paid:
    """A runner with rag, and the texts that were embedded."""

    def __init__(self, folder: Path, *answers: Any, model: str = SMALL, **options: Any) -> None:
        plugin = RAG(str(folder), embed=model, **options)
        self.running, self.upstream = runner(plugins=[plugin], embeddings=answers or (None,))

    def sources(self, prompt: str = ASKED) -> list[str]:
        response = self.running.run(persona(), prompt)
        return [one["source"] for one in response.metadata["sources"]]

    def texts(self) -> list[str]:
        """Return what was embedded since the last call."""
        texts = [message.text for one in self.upstream.embedded for message in one.messages]
        self.upstream.embedded.clear()
        return texts


@pytest.mark.parametrize("mode", MODES)
def test_passages_are_embedded_once(notes: Path, mode: str) -> None:
    plugin = RAG(str(notes), embed=SMALL, passages=1)
    with Server() as server, closing(Runner(server.config(), plugins=[plugin])) as running:
        for prompt in (ASKED, ASKED, "What costs a lost card?"):
            response = in_mode(mode, running, persona(), prompt)
    (source,) = response.metadata["sources"]
    assert source["source"] == "sub/fees.txt"
    assert 0 < source["score"] <= 1
    sent = [one.body["input"] for one in server.requests if "input" in one.body]
    passages = ["# Hours\n\nThe library opens at nine.", "A lost card costs five euros."]
    assert sent == [[ASKED], passages, ["What costs a lost card?"]]


def test_only_new_passages_are_paid(notes: Path) -> None:
    paid = Paid(notes)
    assert paid.sources() == ["hours.md", "sub/fees.txt"]
    assert len(paid.texts()) == 3
    (notes / "hours.md").write_text("# Hours\n\nThe library opens at ten.\n")
    (notes / "copy.md").write_text("A lost card costs five euros.\n")  # a text that is known
    assert "copy.md" in paid.sources()
    assert paid.texts() == ["# Hours\n\nThe library opens at ten."]
    (notes / "hours.md").unlink()
    assert "hours.md" not in paid.sources()
    assert not paid.texts()
    other = Paid(notes, model="openai/text-embedding-3-large")
    other.sources()
    assert other.texts() == [ASKED, "A lost card costs five euros."]
    again = Paid(notes)
    again.sources()
    assert again.texts() == [ASKED]


def test_vectors_of_another_length_are_made_anew(notes: Path) -> None:
    Paid(notes).sources()

    def short(request: Request) -> Embeddings:
        return Embeddings([[1, len(m.text)] for m in request.messages], request.model)

    paid = Paid(notes, short)
    assert len(paid.sources()) == 2
    assert len(paid.texts()) == 3


def test_a_failure_keeps_what_is_paid(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meanings, "_PORTION", 1)
    paid = Paid(notes, None, None, RateLimited("wait"), None)
    with pytest.raises(RateLimited):
        paid.sources()
    assert len(paid.texts()) == 3
    again = Paid(notes)
    assert again.sources() == ["hours.md", "sub/fees.txt"]
    assert len(again.texts()) == 2


def test_rounds_of_tools_embed_the_query_once(notes: Path) -> None:
    tool = Tool("look", lambda: "x", "Looks.", {"type": "object"})
    asked = Response("", tool_calls=(ToolCall("1", "look"),), finish_reason="tool_calls")
    plugin = RAG(str(notes), embed=SMALL)
    running, upstream = runner([asked, asked, "At nine."], plugins=[plugin])
    running.run(persona(), Request("test/m", (Message("user", ASKED),), tools=(tool,)))
    assert [len(one.messages) for one in upstream.embedded] == [1, 2]


def test_a_score_is_the_cosine_and_has_a_minimum(notes: Path) -> None:
    text = "A lost card costs five euros."
    response = Paid(notes).running.run(persona(), text)
    scores = [one["score"] for one in response.metadata["sources"]]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert 0 <= scores[1] < 0.5
    assert Paid(notes, min_score=0.5).sources(text) == ["sub/fees.txt"]
    assert Paid(notes, min_score=1.1).sources(text) == []


def test_nothing_is_asked_without_a_question_or_files(tmp_path: Path) -> None:
    paid = Paid(tmp_path)
    assert paid.sources(" ") == []
    assert not paid.texts()
    assert paid.sources() == []
    assert paid.texts() == [ASKED]


def test_two_processes_pay_once(notes: Path) -> None:
    for number in range(30):
        (notes / f"{number}.md").write_text(f"Note number {number}.")
    code = (
        "import sys; from personakit import Runner, Config; from personakit_rag import RAG;"
        "from personakit.testing import persona;"
        f"environ = {{'OPENAI_BASE_URL': sys.argv[1], 'OPENAI_API_KEY': 'k'}};"
        f"config = Config(model='openai/m', path=(), environ=environ);"
        f"Runner(config, plugins=[RAG({str(notes)!r}, embed={SMALL!r})]).run(persona(), 'Hi!')"
    )
    with Server() as server:
        arguments = [sys.executable, "-c", code, server.base_url]
        both = [subprocess.Popen(arguments) for _ in range(2)]
        assert [one.wait(120) for one in both] == [0, 0]
    sent = [len(one.body["input"]) for one in server.requests if "input" in one.body]
    assert sorted(sent) == [1, 1, 32]


def test_wrong_models(notes: Path) -> None:
    with pytest.raises(ValueError, match="embed is empty; write a model"):
        RAG(str(notes), embed=" ")
    with Server() as server, closing(Runner(server.config())) as running:
        file = notes.parent / "p.yaml"
        for model, kind, message in (
            ("anthropic/claude-opus-4", ConfigError, "provider 'anthropic' has no embeddings"),
            ("nowhere/m", ConfigError, "unknown provider 'nowhere'"),
        ):
            file.write_text(f"system: x\nplugins:\n  - rag: {{folder: notes, embed: {model}}}\n")
            with pytest.raises(kind, match=message):
                running.run(str(file), ASKED)
        file.write_text("system: x\nplugins:\n  - rag: {folder: notes, embed: 7}\n")
        with pytest.raises(PersonaError, match="embed"):
            running.run(str(file), ASKED)


def test_numpy_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    made = meanings._units([[1.0, number, number % 7] for number in range(1, 50)])
    rows = [(number, vector.tobytes()) for number, vector in enumerate(made)]
    (query,) = meanings._units([[0.5, -1, 2]])
    slow = vectors._best(rows, query, 5)
    monkeypatch.setattr(vectors, "_FEW", 0)
    fast = vectors._best(rows, query, 5)
    assert [key for _, key in fast] == [key for _, key in slow]
    assert [score for score, _ in fast] == pytest.approx([score for score, _ in slow], abs=1e-6)


def test_a_damaged_index_is_made_anew(notes: Path, cache: Path) -> None:
    Paid(notes).sources()
    (index,) = cache.glob("*.db")
    index.write_bytes(b"no database" * 100)
    paid = Paid(notes)
    assert len(paid.sources()) == 2
    assert len(paid.texts()) == 3
    with closing(sqlite3.connect(index)) as database:
        assert database.execute("select count(*) from vectors").fetchone() == (2,)


class Waits:
    @hookimpl
    async def run(self, request: Request, send: Any) -> Response:
        response: Response = await send.live(request)
        await personakit.ask("Go on?")
        return response


@pytest.mark.parametrize("model", [None, SMALL])
def test_it_obeys_the_rule_of_replay(notes: Path, model: str | None) -> None:
    response = check_replay(lambda: RAG(str(notes), embed=model), ASKED)
    assert response.metadata["sources"][0]["source"] == "hours.md"


def test_a_resumed_run_embeds_only_what_is_new(notes: Path) -> None:
    """While another process embeds the same passages, the run waits, once more each time."""
    index = RAG(str(notes), embed=SMALL)._index
    index.path.parent.mkdir(parents=True)
    lock = FileLock(index.path.with_suffix(".embedding"), thread_local=False)
    held: list[Any] = []

    def answer(request: Request) -> Embeddings:
        # The query of the first run is embedded; now the other process begins.
        if not held:
            lock.acquire()
            held.append(threading.Timer(0.3, lock.release))
            held[0].start()
        return Embeddings(tuple((1.0, 0.0) for _ in request.messages), SMALL)

    running, upstream = runner(plugins=[Waits(), RAG(str(notes), embed=SMALL)], embeddings=[answer])
    with pytest.raises(Suspended) as caught:
        running.run(persona(), ASKED)
    held[0].join()
    asked = len(upstream.embedded)
    other, again = runner(
        plugins=[Waits(), RAG(str(notes), embed=SMALL)], journals=running.journals
    )
    assert other.resume(caught.value, "yes").metadata["sources"]
    assert (asked, len(again.embedded), len(again.requests)) == (2, 0, 0)
