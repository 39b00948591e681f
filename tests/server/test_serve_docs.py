"""docs/serve.md as a reader follows it, and what the pages of docs/serve/ say of the server."""

from __future__ import annotations

import contextlib
import io
import json
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import pages
from helpers.served import call

from personakit.persona import yaml
from personakit.server import Settings
from personakit.server.metrics import Metrics
from personakit.testing import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")
PRODUCTION = (ROOT / "docs" / "serve" / "production.md").read_text("utf-8")
CLIENTS = (ROOT / "docs" / "serve" / "clients.md").read_text("utf-8")
SOURCES = [file.read_text("utf-8") for file in (ROOT / "personakit" / "server").rglob("*.py")]
TOKEN = re.compile(r"\bpk-[\w-]{43}(?![\w-])")
SHOP = """\
from personakit import hookimpl


def order(item: str) -> str:
    \"\"\"Order an item.\"\"\"
    return f"{item}: ordered"


class Shop:
    @staticmethod
    @hookimpl
    def setup(registry):
        registry.tool(order)
"""


@dataclass
class Reader:
    """A reader with a server in a folder."""

    folder: Path
    env: dict[str, str]
    upstream: Server
    port: int = 0

    def type(self, line: str) -> str:
        """Type a command; return what the terminal shows."""
        line = line.replace("localhost:8111", f"127.0.0.1:{self.port}")
        return pages.typed(line, self.folder, self.env)[1]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Server() as upstream:
        env = pages.environment(tmp_path / "reader", "http://127.0.0.1:9/v1")
        env |= upstream.environ() | {"PERSONAKIT_MODEL": "openai/gpt-5-mini"}
        site = Path(env["PYTHONPATH"])
        (site / "shop.py").write_text(SHOP, "utf-8")
        (site / "embedded-1.0.dist-info" / "entry_points.txt").write_text(
            "[personakit]\nshop = shop:Shop\n"
        )
        env["PERSONAKIT_PLUGINS"] = "shop,approve"
        shop = "system: You sell.\ntools: [order]\nplugins: [shop, approve]\n"
        (tmp_path / "personas").mkdir()
        (tmp_path / "personas" / "shop.yaml").write_text(shop, "utf-8")
        made = Reader(tmp_path, env, upstream)
        with (
            (tmp_path / "shown").open("w+") as shown,
            subprocess.Popen(
                ["personakit", "serve", "--port", "0"], stderr=shown, env=env, cwd=tmp_path
            ) as process,
        ):
            try:
                while not (found := re.search(r":(\d+)/v1", (tmp_path / "shown").read_text())):
                    assert process.poll() is None, (tmp_path / "shown").read_text()
                made.port = int(found[1])
                yield made
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0


def run(code: str, names: dict[str, Any]) -> str:
    """Run a block with the names of the blocks before it; return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def test_the_requests_and_outputs_of_the_page(reader: Reader) -> None:
    names: dict[str, Any] = {}
    printed = ""
    for block in pages.blocks(PAGE):
        if block.language == "py":
            asks = "order" if "approve =" in block.text else ""
            reader.upstream.answers = [call("order", {"item": "tea"})] if asks else ["Leek soup."]
            code = block.text.replace("127.0.0.1:8111", f"127.0.0.1:{reader.port}")
            printed = run(code, names)
            assert asks or printed.strip() in ("Leek soup.", "")
        elif block.language == "text" and block.text.startswith('{"question"'):
            assert json.loads(block.text) == json.loads(printed)
        elif block.text.startswith("# keys.yaml"):
            (reader.folder / "keys.yaml").write_text(block.text, "utf-8")
            (reader.folder / "anna.key").write_text(f"pk-{secrets.token_urlsafe(32)}\n", "utf-8")
        elif block.language == "console":
            reader.upstream.answers = ["Leek soup."]
            for shown in pages.commands(block.text):
                check(reader, shown)
    # The garbage collector may find the socket of a client before the client, which closes it.
    names["client"].close()


def check(reader: Reader, shown: pages.Command) -> None:
    """Check that a command of the page does what the page says."""
    output = reader.type(shown.line)
    if shown.output:
        assert stable(output) == stable(shown.output)
    elif "/chat/completions" in shown.line:
        assert json.loads(output)["choices"][0]["message"]["content"] == "Leek soup."
    elif "/v1/models" in shown.line:
        assert json.loads(output)["data"]
    if found := TOKEN.search(output):
        reader.env["KEY"] = found[0]


def stable(text: str) -> str:
    return TOKEN.sub("pk-", text).rstrip()


def test_every_code_of_an_error_is_in_the_table() -> None:
    table = PAGE.partition("## Errors")[2].partition("## Headers")[0]
    codes = {code for text in SOURCES for code in re.findall(r'code="(\w+)"', text)}
    assert len(codes) > 20
    assert [code for code in sorted(codes) if f"`{code}`" not in table] == []
    known = "\n".join(SOURCES)
    shown = [row.split("|")[2] for row in re.findall(r"^\| \d.*$", table, re.M)]
    assert [c for row in shown for c in re.findall(r"`(\w+)`", row) if f'"{c}"' not in known] == []


def test_every_header_is_in_a_table() -> None:
    headers = {
        name for text in SOURCES for name in re.findall(r"x-(?:personakit|openweb)[-\w]+", text)
    }
    assert len(headers) > 4
    assert [name for name in sorted(headers) if f"| `{name}` |" not in PAGE] == []


def test_every_metric_is_in_the_table_and_alerts_use_no_other() -> None:
    metrics = Metrics()
    metrics.refused("full")
    metrics.started()
    metrics.ended(
        persona="chef", key="anna", status="ok", seconds=1, first=1, usage=None, cost=None
    )
    shown = metrics.text()[0].decode()
    names = re.findall(r"^# TYPE (\w+)", shown, re.M)
    assert [name for name in names if f"| `{name}` |" not in PRODUCTION] == []
    (rules,) = (yaml.parse(b.text, "").data for b in yaml_of(PRODUCTION))
    for rule in rules["groups"][0]["rules"]:
        for name in re.findall(r"personakit_\w+", rule["expr"]):
            assert f"\n{name}" in shown, rule


def test_settings_of_other_programs_are_yaml_with_the_address() -> None:
    found = [block for block in yaml_of(CLIENTS) if yaml.parse(block.text, "").data]
    assert len(found) == 3
    assert [block.text for block in found if ":8111/v1\n" not in block.text] == []


def yaml_of(page: str) -> list[pages.Block]:
    return [block for block in pages.blocks(page) if block.language == "yaml"]


def test_the_unit_gives_the_server_the_time_that_it_needs() -> None:
    (unit,) = (block.text for block in pages.blocks(PRODUCTION) if block.language == "ini")
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    assert seconds
    # After the grace, a worker has 15 seconds to close everything.
    assert int(seconds[1]) > Settings().grace + 15
