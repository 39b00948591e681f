"""`-f`: texts before the prompt, marked as data with their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.chat import MODEL, chat
from helpers.cli import Commands
from helpers.web import serving
from hypothesis import example, given
from hypothesis import strategies as st

from personakit.cli.shared.fragments import Fragment, joined, prompt_in
from personakit.testing import Server

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
A = '<document name="a.txt">\nalpha {{ x }}\n</document>'


@pytest.fixture
def call(tmp_path: Path) -> Commands:
    commands = Commands(tmp_path)
    commands.write("a.txt", "alpha {{ x }}\n")
    commands.write("cat.png", PNG)
    commands.write("p.yaml", 'system: Hi.\nprompt: "Guest: {{ input }}"\n')
    (tmp_path / "docs").mkdir()
    return commands


def user(server: Server) -> Any:
    return server.requests[-1].body["messages"][-1]["content"]


# --- the form -------------------------------------------------------------------------------------

TEXT = st.text(st.sampled_from("</>document-12 \nX") | st.characters(codec="utf-8"), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=3), st.none() | TEXT)
@example([("a", "</document>"), ("b", "</DOCUMENT-1 >< / document-2")], "x")
@example([("a", "</document")], None)
def test_no_text_ends_its_element(parts: list[tuple[str, str]], prompt: str | None) -> None:
    fragments = [Fragment(name, text) for name, text in parts]
    result = joined(fragments, prompt)
    if not fragments:
        assert result == prompt
        return
    assert result is not None
    assert result == joined(fragments, prompt)
    tag = re.match(r"<(document(?:-\d+)?) name=\"[^\"<>\n]*\">\n", result)
    assert tag is not None
    rest = result
    for fragment in fragments:
        head, _, rest = rest.partition("\n")
        assert re.fullmatch(rf'<{tag[1]} name="[^"<>]*">', head)
        text, _, rest = rest.partition(f"</{tag[1]}>")
        assert text.removesuffix("\n") == fragment.text.removesuffix("\n")
        rest = rest.removeprefix("\n\n")
    assert rest == (prompt or "")
    if prompt and "<document" not in prompt:
        assert prompt_in(result) == prompt


def test_names_are_attributes_of_one_line() -> None:
    text = joined([Fragment('a"<b>&\n\x1b.txt', "x")], None)
    assert text == '<document name="a&quot;&lt;b&gt;&amp; \\u001b.txt">\nx\n</document>'


# --- the option -----------------------------------------------------------------------------------


def test_fragments_stand_before_the_prompt(call: Commands) -> None:
    call.write("b.md", b"\xef\xbb\xbfno newline")
    second = '<document name="b.md">\nno newline\n</document>'
    with Server() as server:
        env = server.environ()
        assert call("ask", "Why?", "-f", "a.txt", "-f", "b.md", *MODEL, **env).code == 0
        assert user(server) == f"{A}\n\n{second}\n\nWhy?"
        assert call("log", "list", **env).out.endswith("\tWhy?\n")
        assert call("run", "./p.yaml", "-f", "a.txt", *MODEL, **env).code == 0
        assert user(server) == f"Guest: {A}"
        assert call("run", "-c", "Why?", "-f", "b.md", "-a", "cat.png", **env).code == 0
        assert [part["type"] for part in user(server)] == ["text", "image_url"]
        assert user(server)[0]["text"] == f"Guest: {second}\n\nWhy?"
        assert call("ask", "-f", "-", "-f", "a.txt", "Why?", *MODEL, stdin="piped", **env).code == 0
        piped = '<document name="standard input">\npiped\n</document>'
        assert user(server) == f"{piped}\n\n{A}\n\nWhy?"
        assert call("ask", "-f", "a.txt", *MODEL, stdin="Why?", **env).code == 0
        assert user(server) == f"{A}\n\nWhy?"


def test_render_shows_them(call: Commands) -> None:
    done = call("render", "./p.yaml", "Why?", "-f", "a.txt")
    assert done.out.startswith(f"--- system\nHi.\n--- user\nGuest: {A}\n\nWhy?\n---")
    done = call("render", "./p.yaml", "-f", "-", "--tokens", stdin="piped")
    assert '\nGuest: <document name="standard input">\npiped\n</document>\n' in done.out
    call.write("q.yaml", 'system: Ho.\nprompt: "Guest: {{ input }}"\n')
    done = call("render", "./p.yaml", "-f", "a.txt", "--diff", "./q.yaml")
    assert (done.code, "alpha" in done.out) == (1, False)
    done = call("render", "./p.yaml", "-f", "-", "--watch", stdin="x")
    assert "--watch cannot read standard input again" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-f", "docs"], "cannot read docs: it is a folder; expected a file; name each of its"),
        (["-f", "b.txt"], "cannot read b.txt: No such file or directory; did you mean 'a.txt'?"),
        (["-f", "cat.png"], "cat.png is not UTF-8 (byte 0); a fragment is text: use -a for an"),
        (["-f", "nul.txt"], "nul.txt is not text (it contains NUL characters); a fragment is text"),
        (["-f", "-", "-"], "standard input can be read only once"),
        (["-f", "-", "-a", "-"], "standard input can be read only once"),
        (["-f", "ftp://x.org/a"], "'ftp://x.org/a': a URL must begin with http:// or https://"),
        (["-f", "http://[x"], "invalid URL 'http://[x'; expected one such as https://example.com"),
        (["-f", "https:///a"], "invalid URL 'https:///a'"),
        (["-f", "http://127.0.0.1:1/a"], "cannot read http://127.0.0.1:1/a: "),
    ],
)  # fmt: skip
def test_what_is_no_fragment(call: Commands, words: list[str], message: str) -> None:
    call.write("nul.txt", b"a\0b\0")
    with Server() as server:
        done = call("ask", "Why?", *words, *MODEL, stdin="x", **server.environ())
        assert (done.code, done.out, server.requests) == (2, "", [])
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_large_text_is_an_error(call: Commands) -> None:
    call.write("large.txt", b"x" * 16_000_001)
    call.write("half.txt", b"x" * 9_000_000)
    done = call("ask", "-f", "large.txt", *MODEL)
    assert "large.txt: it is larger than the limit of 16,000,000 bytes" in done.err
    done = call("ask", "-f", "half.txt", "-f", "half.txt", *MODEL)
    assert "the texts together have more than 16,000,000 characters" in done.err


def test_urls_are_fetched(call: Commands) -> None:
    pages = {
        "/p.html": (200, {"content-type": "text/html"}, b"<p>caf\xc3\xa9 {{ x }}</p>"),
        "/l.txt": (200, {"content-type": "text/plain; charset=latin-1"}, b"caf\xe9"),
        "/odd": (200, {"content-type": "text/plain; charset=nonesuch"}, b"x"),
        "/wrong": (200, {"content-type": "text/plain; charset=ascii"}, b"caf\xe9"),
        "/cat.png": (200, {}, PNG),
    }
    with serving(pages) as web:
        host = web.url.removeprefix("http://")
        done = call("render", "./p.yaml", "-f", f"http://me:secret@{host}/p.html")
        name = f'<document name="{web.url}/p.html">'
        assert f"Guest: {name}\n<p>café {{{{ x }}}}</p>\n</document>" in done.out
        assert "secret" not in done.out
        assert web.seen[0][1]["authorization"].startswith("Basic ")
        assert "\ncafé\n" in call("render", "./p.yaml", "-f", f"{web.url}/l.txt").out
        for path, message in {
            "/odd": "has the unknown encoding 'nonesuch'",
            "/wrong": "is not ASCII (byte 3); a fragment is text",
            "/cat.png": "is not UTF-8 (byte 0); a fragment is text: use -a for an image",
            "/none": "cannot read {}/none: the server answered with 404 Not Found\n",
        }.items():
            done = call("render", "./p.yaml", "-f", web.url + path)
            assert (done.code, done.out) == (2, "")
            assert message.format(web.url) in done.err


# --- a chat ---------------------------------------------------------------------------------------


def test_a_chat_attaches_to_the_next_message(call: Commands) -> None:
    call.write("a file.txt", "beta")
    lines = "One\nTwo\n/attach a\\ file.txt\n/attach cat.png\n/attach\nThree\nFour\n"
    with Server(["1", "2", "3", "4", "5"]) as server:
        env = server.environ()
        words = ("chat", "./p.yaml", "-a", "cat.png", "-f", "a.txt", *MODEL)
        done = call(*words, stdin=lines, **env)
        assert (done.code, done.out) == (0, "1\n2\n3\n4\n")
        first, second, third, fourth = (r.body["messages"][-1]["content"] for r in server.requests)
        assert [part["type"] for part in first] == ["text", "image_url"]
        assert first[0]["text"] == f"Guest: {A}\n\nOne"
        assert (second, fourth) == ("Guest: Two", "Guest: Four")
        assert third[0]["text"].endswith("beta\n</document>\n\nThree")
        assert "goes with your next message: a file.txt, cat.png\n" in done.err
        assert call("run", "-c", "Five", **env).code == 0
        sent = server.requests[-1].body["messages"]
        assert sent[1]["content"] == first


def test_a_message_that_fails_keeps_what_was_attached(call: Commands) -> None:
    lines = "/attach cat.png\nOne\n/retry\nTwo\n"
    with Server([{"error": "no"}, "1", "2"]) as server:
        done = call("chat", "./p.yaml", *MODEL, stdin=lines, **server.environ())
        assert (done.code, done.out) == (1, "1\n2\n")
        first, again, second = (r.body["messages"][-1]["content"] for r in server.requests)
        assert first == again
        assert second == "Guest: Two"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/attach nope.png", "cannot attach nope.png: No such file or directory"),
        ("/attach docs", "cannot attach docs: it is a folder"),
        ("/attach -", "/attach: standard input contains the messages of a chat"),
        ("/attach nul.bin", "cannot attach nul.bin: it is of an unknown type"),
        ("/attach empty", "cannot attach empty: it is empty"),
        ("/fragment cat.png", "/fragment: cat.png is not UTF-8 (byte 0); a fragment is text"),
        ("/detach x", "/detach accepts no argument"),
    ],
)
def test_what_a_chat_cannot_attach(call: Commands, line: str, message: str) -> None:
    call.write("nul.bin", b"a\0b\0")
    call.write("empty", b"")
    with Server() as server:
        done = call("chat", "./p.yaml", *MODEL, stdin=f"{line}\n/attach\n", **server.environ())
        assert (done.code, server.requests) == (1, [])
    assert message in done.err
    assert done.err.endswith("nothing is attached\n")


@pytest.mark.parametrize("words", [["-a", "-"], ["-f", "-"], ["-a", "a.txt"], ["-f", "cat.png"]])
def test_a_chat_starts_with_what_it_can_attach(call: Commands, words: list[str]) -> None:
    done = call("chat", "./p.yaml", *words, *MODEL, stdin="Hi\n")
    assert (done.code, done.out) == (2, "")


def test_attaching_on_a_terminal(shell: Any) -> None:
    shell.write("notes.txt", "alpha")
    shell.write("cat.png", PNG)
    with Server(["Seen."]) as server, chat(shell, server) as session:
        session.say("/attach notes.txt")
        session.until("goes with your next message: notes.txt")
        session.until("attached: notes.txt")  # below the input line
        session.say("/attach cat.png")
        session.until("goes with your next message: notes.txt, cat.png")
        session.say("/detach")
        session.until("nothing is attached")
        session.until("0 messages")
        session.press("/attach no")
        session.until("notes.txt")
        session.press("\t")
        session.until("tes.txt")
        session.press("\r\r")
        session.until("goes with your next message: notes.txt")
        session.say("What?")
        session.until("Seen.")
        session.until("2 messages")
        session.press("\x04")
        assert session.end() == 0
        assert user(server).endswith("alpha\n</document>\n\nWhat?")
