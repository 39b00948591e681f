"""docs/from-f-strings.md works as it is written, and the persona says what the f-string said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import pages

from personakit import Config, Persona, Runner
from personakit.testing import Server, persona

PAGE = (Path(__file__).parent.parent / "docs" / "from-f-strings.md").read_text("utf-8")
BLOCKS = [*pages.blocks(PAGE)]
VALUES: dict[str, Any] = {
    "shop": "Bell & Co",
    "order": {"item": "bell"},
    "price": 2.345,
    "names": ["Ann", "Bo"],
    "is_member": True,
}
ROWS = re.findall(r"^\| `(\{.+)` \| `(.+)` \|$", PAGE, re.MULTILINE)


def test_every_step_prints_what_the_page_shows(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "personas").mkdir(parents=True)
    shown, printed = [], []
    with Server(["It is on its way."]) as server:
        env = pages.environment(tmp_path, server.base_url)
        env["PERSONAKIT_PLUGINS"] += ",guard"
        for block in BLOCKS:
            if block.language == "yaml":
                pages.edit(folder, block)
            for command in pages.commands(block.text) if block.language == "console" else ():
                shown += [f"$ {command.line}", *pages.stable(command.output)]
                _, output = pages.typed(command.line, folder, env)
                printed += [f"$ {command.line}", *pages.stable(output)]
        assert printed == shown
        after = [block.text for block in BLOCKS if block.language == "python"][1]
        orders = [{"item": "bell", "state": "paid"}]
        (folder / "desk.py").write_text(f"{after}\nprint(answer('Where?', {orders}))\n", "utf-8")
        code, output = pages.typed("python desk.py", folder, env)
        assert code == 0
        assert output.endswith("\nIt is on its way.\n")
    body = server.requests[-1].body
    assert body["messages"][-1]["content"] == "Question: Where?"
    assert body["temperature"] == 0.3


@pytest.mark.parametrize("is_member", [True, False])
def test_the_persona_renders_what_the_f_string_did(tmp_path: Path, is_member: bool) -> None:
    for block in BLOCKS:
        if block.language == "yaml" and "guard" not in block.text:
            (tmp_path / "personas").mkdir(exist_ok=True)
            pages.edit(tmp_path, block)
    found = Persona.read(tmp_path / "personas" / "order-desk.yaml")
    names: dict[str, Any] = {}
    exec(next(block.text for block in BLOCKS if block.language == "python"), names)
    orders = [{"item": "{{ bell }}", "state": "paid"}, {"item": "tyre", "state": "shipped"}]
    values = {"shop": "Bell & Co", "tone": "formal", "orders": orders, "is_member": is_member}
    request = Runner(Config(path=())).render(found, "Where?", variables=values)
    assert request.system == names["build_prompt"](**values)


@pytest.mark.parametrize(("before", "after"), ROWS)
def test_the_rows_of_the_table_say_the_same(before: str, after: str) -> None:
    template = after.replace("\\|", "|")
    wanted = eval("f" + repr(before).replace("\\'", "'"), {"json": json, **VALUES})
    used = {
        name: {"default": value}
        for name, value in VALUES.items()
        if re.search(rf"\b{name}\b", template)
    }
    if "raw" in template:
        used = {}
    declared = persona(template, variables=used)
    assert Runner(Config(path=())).render(declared, "Hi").system == wanted


def test_the_table_is_there() -> None:
    assert len(ROWS) == 9
