"""Character cards in pictures and archives."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from personakit import UsageError
from personakit.formats import export_persona, import_personas
from personakit.persona import yaml

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def picture(**texts: Any) -> bytes:
    """Return a picture of one pixel with cards by their keywords."""
    parts = [chunk(b"IHDR", HEAD)]
    for keyword, card in texts.items():
        data = base64.b64encode(json.dumps(card).encode())
        parts.append(chunk(b"tEXt", keyword.encode() + b"\0" + data))
    parts += [chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)


def card(description: str, **more: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v3", "data": {"name": "Mia", "description": description, **more}}


def imported(path: Path, out: Path) -> Any:
    (one,) = import_personas(path, out).personas
    return yaml.parse(one.path.read_bytes()).data


def test_the_newest_card_in_a_picture_counts(tmp_path: Path) -> None:
    path = tmp_path / "mia.png"
    path.write_bytes(picture(Chara=card("Old."), CCv3=card("New.")))
    data = imported(path, tmp_path / "out")
    assert data["system"] == "New."
    assert data["name"] == "mia"


def test_an_archive_has_its_card(tmp_path: Path) -> None:
    path = tmp_path / "mia.charx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("card.json", json.dumps(card("Sails.", tags=["Sea", "sea "])))
        file.writestr("assets/icon.png", b"x")
    data = imported(path, tmp_path / "out")
    assert (data["system"], data["tags"]) == ("Sails.", ["sea"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (picture(), "the png has no card"),
        (b"no picture", "no png"),
        (picture(chara=card("x"))[:-20], "the png is damaged"),
        (picture(chara=card("x")).replace(b"tEXtchara", b"tEXtcharb"), "checksum"),
        (SIGNATURE + struct.pack(">I", 2**31 - 1) + b"tEXt" + b"x" * 20, "is cut off"),
    ],
)
def test_a_damaged_picture_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mia.png"
    path.write_bytes(data)
    report = import_personas(path, tmp_path / "out", format="card")
    assert report.personas == []
    assert reason in report.skipped[0].reason


def test_a_card_is_written_into_a_picture_and_read_again(tmp_path: Path) -> None:
    source, frame = tmp_path / "mia.json", tmp_path / "frame.png"
    source.write_text(json.dumps(card("{{char}} sails with {{user}}.", extensions={"a": 1})))
    frame.write_bytes(picture(chara=card("Another one.")))
    first = import_personas(source, tmp_path / "one").personas[0]
    target = tmp_path / "out.png"
    export_persona(str(first.path), "card", target, picture=frame)
    data = imported(target, tmp_path / "two")
    assert data["system"] == "Mia sails with {{ user }}."
    assert target.read_bytes().count(b"tEXt") == 1
    with pytest.raises(UsageError, match="--picture: no png"):
        export_persona(str(first.path), "card", tmp_path / "b.png", picture=source)


def test_what_would_be_sent_or_is_long_stays_out_of_the_prompt(tmp_path: Path) -> None:
    source = tmp_path / "mia.json"
    book = {"entries": [
        {"content": "The sea is salt.", "constant": True, "enabled": True, "insertion_order": 2},
        {"content": "First.", "constant": True, "enabled": True, "insertion_order": 1},
        {"content": "Off.", "constant": True, "enabled": False},
        {"content": "Moon.", "keys": ["moon"], "enabled": True},
    ]}  # fmt: skip
    made = card("D", first_mes="Ahoy", creator_notes="By me. Have fun.", character_book=book,
                mes_example="<START>\n{{user}}: a\n{{user}}: b")  # fmt: skip
    source.write_text(json.dumps(made))
    data = imported(source, tmp_path / "out")
    assert data["system"] == "D\n\nFirst.\n\nThe sea is salt."
    assert data["description"] == "By me."
    assert "messages" not in data
    kept = data["metadata"]["card"]
    assert {*kept} == {"first_mes", "creator_notes", "character_book", "mes_example"}
