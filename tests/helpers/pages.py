"""Pages of the documentation as a reader follows them: files that are written, commands typed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w./-]+\.ya?ml)`")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Stands in for the plugin `local` under the name that the plugin contributes.
EMBEDDED = """\
from personakit import hookimpl

@hookimpl
def setup(registry):
    registry.provider("local", base_url={!r}, default_model="smollm2-135m-instruct", tools=False)
"""
PASSING = re.compile(r"\x1b\[2m[^\n\x1b]*\x1b\[0m\r\x1b\[K")
"""What a command waits for, which it erases."""
DURATION = re.compile(r"\d+\.\d+ s\b")


class Block(NamedTuple):
    """A fenced block: its language and text, and the paragraph before it."""

    language: str
    text: str
    before: str


class Command(NamedTuple):
    """A command that a page shows behind `$`, and the output that it shows below."""

    line: str
    output: str


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for match in BLOCK.finditer(page):
        before = page[: match.start()].rstrip().rpartition("\n\n")[2]
        yield Block(match[1], match[2], before)


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a console block; a line that ends with a backslash goes on."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line = re.split(r"(?<!\\)\n", part, maxsplit=1)[0]
        yield Command(line, part[len(line) + 1 :])


def edit(folder: Path, block: Block) -> None:
    """Put the keys of a YAML block into the file that the paragraph before it names.

    A key replaces the key of the same name, with its value. A file that is missing is created.
    """
    match = FILE.search(block.before)
    assert match, f"no file is named before {block.text!r}"
    file = folder / match[1]
    keys = _keys(file.read_text("utf-8")) if file.exists() else {}
    file.write_text("".join({**keys, **_keys(block.text)}.values()), "utf-8")


def _keys(text: str) -> dict[str, str]:
    parts = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    return {part.partition(":")[0]: part for part in parts if part.strip()}


def environment(folder: Path, url: str) -> dict[str, str]:
    """Return the environment of a reader who has just installed personakit.

    Args:
        folder: An empty folder, for the reader's home and the installed package.
        url: The address of the server that answers in place of the embedded model.
    """
    home, site = folder / "home", folder / "site"
    info = site / "embedded-1.0.dist-info"
    for made in (home, info):
        made.mkdir(parents=True)
    (site / "embedded.py").write_text(EMBEDDED.format(url))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: embedded\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[personakit]\nembedded = embedded\n")
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "TERM": "xterm",
        "PYTHONPATH": str(site),
        "PERSONAKIT_PLUGINS": "embedded",
        **{k: v for k, v in os.environ.items() if k.startswith(("COVERAGE", "COV_"))},
    }


def typed(line: str, folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a line in a shell on a terminal; return the exit code and what the terminal shows."""
    fd, theirs = pty.openpty()
    termios.tcsetwinsize(fd, (24, 100))
    with subprocess.Popen(
        ["/bin/sh", "-c", line], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        data = b""
        try:
            while part := os.read(fd, 65536):
                data += part
        except OSError:  # Linux reports the end of a terminal as an error
            pass
        code = process.wait(60)
    os.close(fd)
    return code, PASSING.sub("", data.decode().replace("\r\n", "\n"))


def stable(text: str, *, colours: bool = False) -> list[str]:
    """Return the lines of an output without durations and without spaces at their ends."""
    text = DURATION.sub("1.00 s", text if colours else ESCAPE.sub("", text))
    return [line.rstrip() for line in text.splitlines()]
