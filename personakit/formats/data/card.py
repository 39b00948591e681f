"""Character cards V1 to V3, as JSON, PNG or CHARX.

See https://github.com/malfoyslastname/character-card-spec-v2 and
https://github.com/kwaroran/character-card-spec-v3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from personakit.errors import UsageError
from personakit.formats.data.document import json_of, looks_like
from personakit.formats.data.png import card_in, with_card
from personakit.formats.draft import Draft
from personakit.formats.format import Format
from personakit.formats.note import Unreadable
from personakit.formats.outgoing import Outgoing, filled, is_input
from personakit.formats.sources import File
from personakit.formats.sources.archives import zip_tree
from personakit.formats.templates import Builder, Text
from personakit.formats.text import lines_of

_PARTS = ("system_prompt", "description", "personality", "scenario")
_MACRO = re.compile(
    r"\{\{(?P<name>user|char|original)\}\}|<(?P<old>USER|BOT)>"
    r"|\{\{(?P<roll>random|pick|roll)(?:::?|[ ])(?P<choices>[^{}]*)\}\}"
    r"|\{\{(?://|comment:)[^{}]*\}\}",
    re.IGNORECASE,
)
_START = re.compile(r"<START>", re.IGNORECASE)
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?](?=\s)|$)")
_GREETINGS = ("first_mes", "alternate_greetings", "group_only_greetings")
_USED = (
    *_PARTS, "name", "nickname", "mes_example", "post_history_instructions", "creator",
    "character_version", "tags", "creator_notes", "character_book", *_GREETINGS,
)  # fmt: skip


def read(file: File) -> Iterator[Draft]:
    """Read a card."""
    draft = Draft("card")
    data = json_of(_content(file), draft)
    if not isinstance(data, dict):
        raise Unreadable("no card: expected an object with `data` or `name`")
    spec = str(data.get("spec", ""))
    inner = data["data"] if isinstance(data.get("data"), dict) else data
    draft.dialect = {"chara_card_v2": "v2", "chara_card_v3": "v3"}.get(spec, "v1")
    name = _text(inner.get("name"))
    if not name:
        raise Unreadable("the card has no name, which its texts need for {{char}}")
    draft.name = name
    char = _text(inner.get("nickname")) or name
    _set_texts(draft, inner, char)
    _set_fields(draft, inner)
    for field, value in inner.items():
        if field not in _USED and value not in (None, "", [], {}) and field != "spec":
            draft.keep(field, value)
    yield draft


def _content(file: File) -> bytes:
    """Return the JSON of a card, out of a picture or an archive."""
    suffix = file.path.suffix.lower()
    if suffix == ".png":
        return card_in(file.data)
    if suffix == ".charx":
        try:
            found = zip_tree(file.data, str(file.path), "").find(PurePosixPath("card.json"))
        except UsageError as error:
            raise Unreadable(str(error)) from None
        if found is None:
            raise Unreadable("the archive has no card.json")
        return found.data
    return file.data


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _set_texts(draft: Draft, data: dict[str, Any], char: str) -> None:
    parts = [_macros(draft, _text(data.get(field)), char, field) for field in _PARTS]
    parts += [_macros(draft, text, char, "character_book") for text in _constant(draft, data)]
    after = _macros(draft, _text(data.get("post_history_instructions")), char,
                    "post_history_instructions")  # fmt: skip
    if after is not None:
        draft.note(
            "placement",
            "post_history_instructions stand behind the conversation there, and at the end of the "
            "system message here",
            field="post_history_instructions",
        )
        parts.append(after)
    texts = [part for part in parts if part is not None]
    if texts:
        is_template = any(text.template for text in texts)
        joined = "\n\n".join(text.source() if is_template else text.value for text in texts)
        draft.system = Text(joined, is_template)
    _set_examples(draft, _text(data.get("mes_example")), char)


def _macros(draft: Draft, text: str, char: str, field: str) -> Text | None:
    """Return a text whose macros are resolved; None if there is nothing left."""
    text = lines_of(text, draft, field)
    builder, start = Builder(), 0
    for match in _MACRO.finditer(text):
        builder.text(text[start : match.start()])
        start = match.end()
        name = (match["name"] or match["old"] or "").lower()
        if name == "user":
            builder.expression(draft.variable("user", default="User"))
        elif name in ("char", "bot"):
            builder.text(char)
        elif name == "original":
            draft.note(
                "reference", "{{original}}, the system message of the program, is left out",
                field=field,
            )  # fmt: skip
        elif match["roll"]:
            builder.text(_first_choice(draft, match, field))
    builder.text(text[start:])
    built = builder.built()
    if not built.template:
        built = Text(built.value.strip())
    elif built.value != built.value.strip():
        built = Text(built.value.strip(), template=True)
    return built if built.value else None


def _first_choice(draft: Draft, match: re.Match[str], field: str) -> str:
    draft.note(
        "builtin", f"{match[0]:.60} is drawn anew each time there; here it is its first choice",
        field=field,
    )  # fmt: skip
    choices = match["choices"]
    if match["roll"].lower() == "roll":
        return "1"
    return re.split(r"::|,", choices)[0].strip()


def _constant(draft: Draft, data: dict[str, Any]) -> list[str]:
    """Return the entries of a lorebook that are always sent; keep all of it."""
    book = data.get("character_book")
    if not isinstance(book, dict):
        return []
    entries = book.get("entries")
    found = [
        one for one in (entries if isinstance(entries, list) else [])
        if isinstance(one, dict) and one.get("constant") and one.get("enabled", True)
    ]  # fmt: skip
    draft.keep(
        "character_book", book, "lorebook",
        f"the lorebook is kept in metadata.card.character_book; {len(found)} of its entries, which "
        f"are always sent, stand in the system message",
    )  # fmt: skip
    found.sort(key=lambda one: one["insertion_order"] if isinstance(one.get("insertion_order"), int)
               else 0)  # fmt: skip
    return [_text(one.get("content")) for one in found]


def _set_examples(draft: Draft, text: str, char: str) -> None:
    """Set the example dialogues as messages; a block that does not alternate is kept as text."""
    kept = []
    for block in _START.split(lines_of(text, draft, "mes_example")):
        if not block.strip():
            continue
        messages = _dialogue(block.strip(), char)
        if messages is None:
            kept.append(block.strip())
            continue
        for role, line in messages:
            content = _macros(draft, line, char, "mes_example")
            draft.messages.append((role, content or Text("")))
    if kept:
        draft.keep(
            "mes_example", "\n<START>\n".join(kept), "placement",
            "dialogues that do not alternate between user and character are kept in "
            "metadata.card.mes_example",
        )  # fmt: skip


def _dialogue(block: str, char: str) -> list[tuple[str, str]] | None:
    """Return the messages of a dialogue; None unless user and character alternate."""
    user, own = r"\{\{user\}\}|<USER>|User", rf"\{{\{{char\}}\}}|<BOT>|{re.escape(char)}"
    speaker = re.compile(
        rf"^[ 	]*(?:({user})|({own}))[ 	]*:[ 	]?", re.IGNORECASE | re.MULTILINE
    )
    found = list(speaker.finditer(block))
    if not found or block[: found[0].start()].strip():
        return None
    ends = [*(match.start() for match in found[1:]), len(block)]
    messages = [
        ("user" if match[1] else "assistant", block[match.end() : end].strip())
        for match, end in zip(found, ends, strict=True)
    ]
    roles = [role for role, _ in messages]
    alternates = roles == (["user", "assistant"] * len(roles))[: len(roles)]
    complete = alternates and len(roles) % 2 == 0 and all(text for _, text in messages)
    return messages if complete else None


def _set_fields(draft: Draft, data: dict[str, Any]) -> None:
    notes = _text(data.get("creator_notes"))
    if notes:
        match = _SENTENCE.search(notes)
        draft.keys["description"] = match[0].strip() if match else notes
        draft.keep("creator_notes", notes)
    draft.keys["authors"] = [one for one in [_text(data.get("creator"))] if one]
    draft.keys["version"] = str(data.get("character_version") or "").strip()
    tags = data.get("tags")
    draft.keys["tags"] = list(dict.fromkeys(
        tag.strip().lower() for tag in (tags if isinstance(tags, list) else [])
        if isinstance(tag, str) and tag.strip()
    ))  # fmt: skip
    if _text(data.get("nickname")):
        draft.keep("nickname", data["nickname"])
    for field in _GREETINGS:
        value = data.get(field)
        if value not in (None, "", []):
            draft.keep(
                field, value, "greeting",
                f"{field} is kept in metadata.card: it would be sent as a message",
            )  # fmt: skip


def write(out: Outgoing) -> dict[str, bytes]:
    """Write a card V2, as JSON or in a picture."""
    persona = out.persona
    out.fields("description", "version", "tags", "authors")
    messages = out.messages(variables=["user"])

    def slot(name: str) -> str:
        return f"{{{{{name}}}}}"

    system = [filled(text, slot) for role, text in messages if role in ("system", "developer")]
    dialogue = [(r, t) for r, t in messages if r in ("user", "assistant") and not is_input(t)]
    example = "".join(
        ("<START>\n" if role == "user" else "")
        + f"{{{{{'user' if role == 'user' else 'char'}}}}}: {filled(text, slot)}\n"
        for role, text in dialogue
    )
    data: dict[str, Any] = {
        "name": out.original_name,
        "description": "",
        "personality": "",
        "scenario": "",
        "first_mes": "",
        "mes_example": example.rstrip("\n"),
        "creator_notes": persona.description,
        "system_prompt": "\n\n".join(system),
        "post_history_instructions": "",
        "alternate_greetings": [],
        "tags": [*persona.tags],
        "creator": ", ".join(persona.authors),
        "character_version": persona.version,
        "extensions": {},
    }
    data |= {key: value for key, value in out.kept.items() if key != "mes_example"}
    if data["system_prompt"] and "character_book" in out.kept:
        # Its entries that are always sent stand in the system message already.
        for entry in data["character_book"].get("entries", []):
            entry.pop("constant", None)
    card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}
    text = json.dumps(card, ensure_ascii=False, indent=2).encode()
    if out.picture:
        try:
            return {f"{persona.name}.png": with_card(out.picture, text)}
        except Unreadable as error:
            raise UsageError(f"--picture: {error.reason}") from None
    return {f"{persona.name}.json": text + b"\n"}


def _looks(file: File) -> bool:
    if file.path.suffix.lower() == ".png":
        return file.data.startswith(b"\x89PNG")
    data = looks_like(file.data, file.name)
    if not isinstance(data, dict):
        return False
    return str(data.get("spec", "")).startswith("chara_card") or (
        "first_mes" in data and "mes_example" in data
    )


FORMAT = Format(
    "card",
    "*.json, *.png or *.charx",
    read,
    write,
    named=lambda path: path.suffix.lower() == ".charx",
    suffixes=(".json", ".png"),
    looks=_looks,
)
