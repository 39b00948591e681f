"""Reading of files: special files, limits, and every place where personakit reads one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from personakit import (
    Config,
    Conversation,
    Persona,
    PersonakitError,
    RunLog,
    Runner,
    UsageError,
    check_file,
    read_file,
)
from personakit.backend import clients
from personakit.cli import group
from personakit.keys import keyfile
from personakit.suite.cassettes import Recordings
from personakit.testing import persona

GOOD = "system: Hello\nvariables:\n  x: {default: a}\n"
KINDS = {
    "fifo": "it is a FIFO",
    "socket": "it is a socket",
    "device": "it is a device",
    "folder": "folder",
    "dangling": "it is a link to nowhere, which does not exist",
    "loop": "Too many levels of symbolic links",
    "huge": "larger than the limit of [0-9,]+ bytes",
}


def make(kind: str, path: Path) -> Path:
    """Put something else in the place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        # The address of a socket has at most 108 bytes.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        path.touch()
        os.truncate(path, 300_000_000)
    else:
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": path.name}[kind])
    return path


def invoke(*args: str) -> None:
    result = CliRunner().invoke(group, args, standalone_mode=False)
    assert isinstance(result.exception, PersonakitError), (result.output, result.exception)
    raise result.exception


def linted(path: Path) -> None:
    result = CliRunner().invoke(group, ("lint", str(path)), standalone_mode=False)
    assert result.return_value == 1, result.output
    raise UsageError(result.output)


def beside(path: Path, text: str) -> Path:
    other = path.with_name("other.yaml")
    other.write_text(text)
    return other


def rendered(source: str | Path | Persona, *folders: Path, **options: Any) -> None:
    running = Runner(Config(path=folders))
    running.render(source, **options)


def variables(path: Path) -> None:
    invoke("render", str(beside(path, GOOD)), "--variables", str(path))


READERS: dict[str, Callable[[Path], object]] = {
    "persona": rendered,
    "name": lambda path: rendered(path.stem, path.parent),
    "extends": lambda path: rendered(beside(path, f"extends: {path.stem}")),
    "include": lambda path: rendered(
        beside(path, f"system: '{{% include \"{path.name}\" ignore missing %}}'")
    ),
    "lint": linted,
    "attachment": lambda path: rendered(persona(), attachments=[path]),
    "variables": variables,
    "variable": lambda path: invoke("render", str(beside(path, GOOD)), "-v", f"x=@{path}"),
    "prompt": lambda path: invoke("new", "another", "--from-file", str(path), "--yes"),
    "config": lambda path: Config.read({"PERSONAKIT_CONFIG": str(path)}),
    "keys": keyfile.read,
    "recordings": lambda path: Recordings(path).read(),
    "transcript": lambda path: Conversation.load(path, Runner(Config())),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_special_files_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = make(kind, tmp_path / "files" / "thing.yaml")
    if reader == "lint" and kind == "folder":
        pytest.skip("a folder is linted")
    with pytest.raises(PersonakitError, match=f"(?s)thing.*({KINDS[kind]}|outside)") as caught:
        READERS[reader](path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "huge"])
def test_a_log_that_is_no_file_is_one_error(tmp_path: Path, kind: str) -> None:
    path = make(kind, tmp_path / "runs.db")
    with pytest.raises(PersonakitError, match=rf"runs\.db: .*{KINDS[kind]}"):
        list(RunLog(path).find())


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
@pytest.mark.parametrize("kind", KINDS)
def test_certificates_that_are_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, kind: str
) -> None:
    path = make(kind, tmp_path / "ca.pem")
    monkeypatch.setenv(variable, str(path))
    clients.certificates.cache_clear()
    with pytest.raises(PersonakitError, match=rf"{variable} is '.*ca\.pem'.*{KINDS[kind]}"):
        clients.certificates()


def test_a_config_without_permission_or_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "personakit" / "config.yaml"
    file.parent.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    for content, message in (
        (b"\xff\xfe", "UTF-16"),
        (b"a: [", "expected a value"),
        (b"- a", "mapp"),
    ):
        file.write_bytes(content)
        with pytest.raises(PersonakitError, match=f"config.yaml.*{message}"):
            Config.read(environ)
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(PersonakitError, match=r"config\.yaml: .*link to nowhere"):
        Config.read(environ)
    file.unlink()
    file.write_text("model: a/b")
    file.chmod(0)
    if os.getuid():
        with pytest.raises(PersonakitError, match=r"config\.yaml: .*Permission denied"):
            Config.read(environ)


def test_only_missing_files_are_missing(tmp_path: Path) -> None:
    check_file(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 9)
    with pytest.raises(OSError, match="NUL"):
        read_file("a\0b", 9)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        read_file(tmp_path / "file" / "x", 9)


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_the_limit_is_the_greatest_size(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)
    if size <= 9:
        assert read_file(file, 9) == b"x" * size
    else:
        with pytest.raises(OSError, match="larger than the limit of 9 bytes"):
            read_file(file, 9)


def test_files_without_a_size_are_read() -> None:
    # The kernel does not know the size of these files.
    assert read_file("/proc/self/status", 100_000).startswith(b"Name:")
    with pytest.raises(OSError, match="larger than the limit of 10 bytes"):
        read_file("/proc/self/status", 10)


def test_the_null_device_is_an_empty_file() -> None:
    assert read_file(os.devnull, 9) == b""
    assert Config.read({"PERSONAKIT_CONFIG": os.devnull}).model is None


def test_pipes_of_a_shell_are_read_to_their_end_or_the_limit() -> None:
    reader, writer = os.pipe()
    try:
        thread = threading.Thread(target=lambda: (os.write(writer, b"a"), os.write(writer, b"b")))
        thread.start()
        thread.join()
        os.close(writer)
        assert read_file(f"/dev/fd/{reader}", 2) == b"ab"
    finally:
        os.close(reader)
    zero = os.open("/dev/zero", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="larger than the limit of 1,000,000 bytes"):
            read_file(f"/dev/fd/{zero}", 1_000_000)
    finally:
        os.close(zero)
    with pytest.raises(FileNotFoundError):
        read_file("/dev/fd/987", 9)


def test_a_link_can_be_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", 9) == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        read_file(tmp_path / "link", 9, follow=False)
