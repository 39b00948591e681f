"""Attachments: found by content, checked before anything is sent, part of what the user says."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from personakit import (
    Attachment,
    Config,
    ConfigError,
    Conversation,
    Message,
    Provider,
    Request,
    Runner,
    UsageError,
)
from personakit.attachments import MAX_IMAGE, MAX_TOTAL, attach, describe
from personakit.codec import write_request
from personakit.testing import MODES, Server, in_mode, persona, runner

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PDF = b"%PDF-1.7\n%" + bytes(20)
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(20)
KINDS = [
    ("image/png", PNG),
    ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(20)),
    ("image/gif", b"GIF89a" + bytes(20)),
    ("image/gif", b"GIF87a" + bytes(20)),
    ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20)),
    ("application/pdf", PDF),
    ("audio/wav", WAV),
    ("audio/mpeg", b"ID3\4" + bytes(20)),
    ("audio/mpeg", b"\xff\xfb\x90\x64" + bytes(20)),
]


def parts_of(request: Request) -> Any:
    content = request.messages[-1].to_api()["content"]
    assert isinstance(content, list)
    return content


@pytest.mark.parametrize(("kind", "data"), KINDS)
def test_the_type_is_found_by_content(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    for source in (path, str(path), data, Attachment.of(data)):
        found = Attachment.of(source)
        assert (found.type, found.data) == (kind, data)
    assert Attachment.of(path).name == "misnamed.txt"
    assert "data" not in repr(found)
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_parts_are_those_of_the_api(tmp_path: Path) -> None:
    path = tmp_path / "letter.pdf"
    path.write_bytes(PDF)
    url = "https://example.com/cat.png?size=1"
    running, _ = runner()
    request = running.render(persona(), "Look!", attachments=[PNG, url, path, WAV, KINDS[-1][1]])
    coded = {data: base64.b64encode(data).decode() for data in (PNG, PDF, WAV, KINDS[-1][1])}
    assert parts_of(request) == [
        {"type": "text", "text": "Look!"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded[PNG]}"}},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "file", "file": {
            "filename": "letter.pdf", "file_data": f"data:application/pdf;base64,{coded[PDF]}"}},
        {"type": "input_audio", "input_audio": {"data": coded[WAV], "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": coded[KINDS[-1][1]], "format": "mp3"}},
    ]  # fmt: skip
    assert request.messages[-1].text == "Look!"
    shown = [describe(part) for part in request.messages[-1].parts]
    assert shown == ["image/png, 28 bytes", url, "letter.pdf, 30 bytes", "wav audio, 36 bytes",
                     "mp3 audio, 24 bytes"]  # fmt: skip


def test_without_a_prompt_the_parts_stand_alone() -> None:
    running, _ = runner()
    who = persona(messages=[{"user": "France"}, {"assistant": "Paris"}])
    request = running.render(who, attachments=[PNG])
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in parts_of(request)] == ["image_url"]
    again = attach(request, [PDF])
    assert [part["type"] for part in parts_of(again)] == ["image_url", "file"]
    assert attach(request, []) is request


@pytest.mark.parametrize("mode", MODES)
def test_they_reach_the_upstream_in_every_mode(mode: str) -> None:
    with Server(["A cat."]) as server:
        from personakit import Runner

        running = Runner(server.config())
        response = in_mode(mode, running, persona(), "What?", attachments=[PNG])
        running.close()
    assert response.text == "A cat."
    sent = server.requests[0].body["messages"][-1]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url"]
    assert base64.b64decode(sent[1]["image_url"]["url"].partition(",")[2]) == PNG


def test_a_whole_request_takes_them_too() -> None:
    running, upstream = runner()
    request = running.render(persona(), "Hi")
    running.run(persona(), request, attachments=[PNG])
    assert len(parts_of(upstream.requests[0])) == 2
    assert running.prepare(persona(), request, attachments=[PNG]) == upstream.requests[0]


def test_plugins_change_the_text_and_leave_the_rest() -> None:
    request = attach(Request("m", (Message("system", "s"), Message("user", "a b"))), [PNG])
    changed = request.map_text(str.upper).with_system("More.")
    assert changed.system == "S\n\nMore."
    assert parts_of(changed)[0] == {"type": "text", "text": "A B"}
    assert parts_of(changed)[1] == parts_of(request)[1]


@pytest.mark.parametrize("name", ["redact", "guard"])
def test_redact_and_guard_read_the_text_beside_an_image(name: str) -> None:
    running, upstream = runner(["ok"])
    options = {"input": {"deny": ["bomb"]}} if name == "guard" else {}
    who = persona(plugins=[{name: options}])
    running.run(who, "I am ann@example.com.", attachments=[PNG])
    parts = parts_of(upstream.requests[0])
    assert parts[1]["type"] == "image_url"
    assert ("ann@example.com" in parts[0]["text"]) is (name == "guard")


def test_what_is_recorded_of_them_is_what_was_sent() -> None:
    running, _ = runner()
    request = running.render(persona(), "Look!", attachments=[PNG, PDF])
    written = json.loads(json.dumps(write_request(request)))
    assert written["messages"][-1]["content"] == parts_of(request)
    again = [Message(said["role"], said["content"]) for said in written["messages"]]
    assert tuple(again) == request.messages


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"Hello!\n", "it is text, which belongs in the prompt"),
        ("é".encode() * 4096, "it is text"),
        (b"<svg></svg>", "it is text"),
        (b"BM" + bytes(9), "it is a BMP image; expected a PNG, JPEG, GIF or WebP"),
        (b"\0\0\0\x18ftypheic" + bytes(9), "a HEIC image"),
        (b"PK\3\4", "an archive or an Office document"),
        (b"\0\1\2", r"of an unknown type \(it begins with 00 01 02\)"),
        (b"\xff\xfe\x41\0", "of an unknown type"),
        (b"RIFF\0\0\0\0AVI ", "of an unknown type"),
        (b"\xff", "of an unknown type"),
        (PNG + bytes(MAX_IMAGE), "20.0 MB; the limit for image/png is 20.0 MB; make it smaller"),
    ],
    ids=range(12),
)
def test_what_cannot_be_sent(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    running, upstream = runner()
    with pytest.raises(UsageError, match=f"cannot attach a.png: .*{said}"):
        running.run(persona(), "Hi", attachments=[path])
    with pytest.raises(UsageError, match=f"cannot attach the attachment: .*{said}"):
        running.run(persona(), "Hi", attachments=[data])
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "it is a folder"),
        ("cat.pgn", "No such file or directory; did you mean 'cat.png'?"),
        ("a\0b", "NUL"),
        ("~nonesuch/cat.png", "home directory|No such file"),
        ("http://", "expected a URL such as"),
        ("https://[", "expected a URL such as"),
        ("https://example.com/a.PDF?x=1", "a PDF cannot be sent as a URL; download it"),
        ("https://example.com/a.mp3", "audio cannot be sent as a URL"),
    ],
)
def test_a_source_that_is_none(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    source = name if name.startswith(("http", "~")) else str(tmp_path / name)
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        Attachment.of(source)


@pytest.mark.parametrize("wrong", [5, None, ["a.png"]])
def test_something_that_is_no_source(wrong: Any) -> None:
    with pytest.raises(UsageError, match="expected a path, an http"):
        Attachment.of(wrong)


def test_one_source_is_no_list() -> None:
    running, _ = runner()
    with pytest.raises(UsageError, match="attachments must be a list"):
        running.render(persona(), "Hi", attachments="cat.png")


def test_a_type_that_is_given_has_to_be_one_that_can_be_sent() -> None:
    assert Attachment("image/png", b"anything").part()["type"] == "image_url"
    with pytest.raises(UsageError, match=r"expected a PNG, .*, found text/html"):
        Attachment("text/html", b"<p>")


def test_data_is_bytes() -> None:
    with pytest.raises(UsageError, match="data must be bytes, found str"):
        Attachment(data="text")  # type: ignore[arg-type]


def test_together_they_have_a_limit() -> None:
    image = PNG + bytes(MAX_IMAGE - 100)
    assert len(image) <= MAX_IMAGE
    request = Request("m")
    attach(request, [image, image])
    with pytest.raises(UsageError, match=r"the attachments have 60\.0 MB in total; the limit is"):
        attach(request, [image, image, image])


def test_a_file_larger_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF + bytes(MAX_TOTAL))
    with pytest.raises(
        UsageError, match=r"a\.pdf: it is larger than the limit of 50,000,000 bytes"
    ):
        Attachment.of(path)
    with pytest.raises(UsageError, match=r"the limit for application/pdf is 50\.0 MB"):
        Attachment.of(PDF + bytes(MAX_TOTAL))


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    # As a shell passes `<(command)`.
    reader, writer = os.pipe()

    def endless() -> None:
        with os.fdopen(writer, "wb") as file:
            try:
                for _ in range(10 * MAX_TOTAL // 1_000_000):
                    file.write(PNG * 36_000)
            except BrokenPipeError:
                stopped.set()

    stopped = threading.Event()
    writing = threading.Thread(target=endless)
    writing.start()
    with pytest.raises(UsageError, match="larger than the limit of 50,000,000 bytes"):
        Attachment.of(f"/dev/fd/{reader}")
    os.close(reader)
    writing.join(60)
    assert stopped.is_set()


def test_a_run_without_attachments_does_not_load_them(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from personakit.testing import persona, runner
        running, _ = runner(["ok"])
        assert running.run(persona(), "Hi").text == "ok"
        wanted = {"attachments", "output", "strict"}
        print(sorted(name for name in wanted if f"personakit.{name}" in sys.modules))
        print(sorted({"genai_prices", "jsonschema", "pydantic"} & set(sys.modules)))
    """
    environ = {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=tmp_path, env={**environ, "PERSONAKIT_PLUGINS": ""},
    )  # fmt: skip
    assert done.stdout == "[]\n[]\n"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": "x"}, "image_url"),
        ({"type": "input_audio"}, "input_audio"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "unknown audio, 3 bytes"),
        ({"type": "file"}, "file"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "a file, file-1"),
        ({"type": "video"}, "video"),
    ],
)
def test_a_part_that_somebody_wrote_by_hand_is_described(part: dict[str, Any], said: str) -> None:
    assert describe(part) == said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ftp://example.com/a.png", "begin with http:// or https://"),
        ("file:///a.png", "begin with http:// or https://"),
        ("data:image/png;base64,AAAA", "pass other content as a file or as bytes"),
        ("https://exa mple.com/a.png", "expected a URL such as"),
        ("https://example.com/a.png\nb", "expected a URL such as"),
        ("", "expected a path or a URL"),
    ],
)
def test_an_address_that_no_upstream_fetches_is_refused(source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Attachment.of(source)


def test_an_attachment_is_bytes_or_an_address() -> None:
    with pytest.raises(UsageError, match="set only one"):
        Attachment(data=PNG, url="https://example.com/a.png")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prompt", ["What is this?", Message("user", "What is this?")])
def test_a_turn_of_a_conversation_sends_and_keeps_its_attachments_once(
    mode: str, prompt: str | Message
) -> None:
    running, upstream = runner(["A cat.", "Yes."])
    talk = running.conversation(persona())
    options = {"attachments": [PNG]}
    kinds = ["text", "image_url"]

    prepared = talk.prepare(prompt, attachments=[PNG])
    assert [part["type"] for part in parts_of(prepared)] == kinds

    in_mode(mode, cast("Runner", _Talk(talk)), None, cast("str", prompt), **options)
    assert [part["type"] for part in parts_of(upstream.requests[0])] == kinds

    talk.run("Sure?")
    sent = upstream.requests[1].messages
    assert [message.role for message in sent] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in sent[1].to_api()["content"]] == kinds


@pytest.mark.parametrize("mode", MODES)
def test_a_provider_that_takes_no_attachments(mode: str) -> None:
    with Server() as server:
        provider = Provider("plain", server.base_url, key_required=False, attachments=False)
        running = Runner(Config(path=(), providers={"plain": provider}))
        with pytest.raises(ConfigError, match="'plain' does not accept images, files or audio"):
            in_mode(mode, running, persona(), "?", model="plain/m", attachments=[PNG])
        assert server.requests == []


@pytest.mark.parametrize("none", [[], (), None])
def test_a_turn_with_no_attachments_says_nothing_by_itself(none: Any) -> None:
    running, upstream = runner()
    talk = running.conversation(persona())
    talk.run(attachments=none)
    assert [message.role for message in talk.messages] == ["assistant"]
    with pytest.raises(UsageError, match="the prompt is missing"):
        talk.run(attachments=none)
    assert len(upstream.requests) == 1


class _Talk:
    """A conversation in the place of the runner that `in_mode` calls."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk

    def __getattr__(self, mode: str) -> Any:
        return lambda _, prompt, **options: getattr(self.talk, mode)(prompt, **options)
