"""`personakit mcp install`: the entry in a client's file, and the rest of the file as it was."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from personakit_mcp.clients import install, jsonc
from personakit_mcp.command import command

from personakit import PersonakitError

COMMENTED = """\
// My servers.
{
\t"inputs": [{"id": "token", "type": "promptString"}], // asked for
\t"servers": { // all of them
\t\t/* the first */
\t\t"files": {"command": "files", "args": ["//not a comment"]},
\t},
}
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The folder of a user of VS Code with one persona; the current folder is another one."""
    (tmp_path / "config" / "Code" / "User").mkdir(parents=True)
    (tmp_path / "config" / "personakit" / "personas").mkdir(parents=True)
    persona = tmp_path / "config" / "personakit" / "personas" / "chef.yaml"
    persona.write_text("system: You cook.\n", "utf-8")
    (tmp_path / "here").mkdir()
    with chdir(tmp_path / "here"):
        yield tmp_path


def run(home: Path, *arguments: str, stdin: str = "", **environ: str) -> Result:
    """Run the command; an error of personakit is its output, as in a terminal."""
    env: dict[str, str | None] = {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "PERSONAKIT_PATH": None,
        "PERSONAKIT_CONFIG": None, "PERSONAKIT_MODEL": None, "PERSONAKIT_PLUGINS": None, **environ,
    }  # fmt: skip
    done = CliRunner().invoke(install, arguments, stdin, env)
    if done.exception and not isinstance(done.exception, (PersonakitError, SystemExit)):
        raise done.exception
    return done


def refused(done: Result) -> str:
    """Return the message of a command that failed without a traceback."""
    assert done.exit_code != 0
    return str(done.exception) if isinstance(done.exception, PersonakitError) else done.output


def code_file(home: Path) -> Path:
    return home / "config" / "Code" / "User" / "mcp.json"


def desktop_file(home: Path) -> Path:
    (home / "config" / "Claude").mkdir(exist_ok=True)
    return home / "config" / "Claude" / "claude_desktop_config.json"


linux = pytest.mark.skipif(sys.platform != "linux", reason="the folders of other platforms differ")


@linux
def test_a_new_file_of_vs_code(home: Path) -> None:
    done = run(home, "vscode", "--yes")
    assert done.exit_code == 0, done.output
    entry = json.loads(code_file(home).read_text("utf-8"))["servers"]["personakit"]
    assert entry["type"] == "stdio"
    assert (entry["command"], entry["args"]) == (sys.executable, ["-P", "-m", "personakit", "mcp"])
    assert entry["env"]["XDG_CONFIG_HOME"] == str(home / "config")
    assert '+    "personakit": {' in done.output
    assert "MCP: List Servers" in done.output


@linux
def test_an_entry_beside_others_in_claude_desktop(home: Path) -> None:
    file = desktop_file(home)
    before = '{\n    "theme": "dark",\n    "mcpServers": {\n        "a": {"command": "a"}\n    }\n}'
    file.write_text(before, "utf-8")
    file.chmod(0o640)
    assert run(home, "claude-desktop", "--yes", "--name", "my personas").exit_code == 0
    text = file.read_text("utf-8")
    value = json.loads(text)
    assert "type" not in value["mcpServers"].pop("my personas")
    assert value == json.loads(before)
    assert text.startswith('{\n    "theme": "dark",\n    "mcpServers": {\n        "my personas": {')
    assert text.endswith('        "a": {"command": "a"}\n    }\n}')
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@linux
def test_an_entry_that_is_already_there(home: Path) -> None:
    run(home, "vscode", "--yes")
    before = code_file(home).stat()
    done = run(home, "vscode")
    assert (done.exit_code, "already has this entry" in done.output) == (0, True)
    after = code_file(home).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@linux
def test_another_entry_of_the_name_is_replaced(home: Path) -> None:
    old = '{"servers": {"personakit": {"command": "/old/personakit"}, "b": {}}}'
    code_file(home).write_text(old, "utf-8")
    done = run(home, "vscode", "--yes", "--tools", "chef")
    assert f"-{old}" in done.output
    servers = json.loads(code_file(home).read_text("utf-8"))["servers"]
    assert servers["personakit"]["args"][-2:] == ["--tools", "chef"]
    assert list(servers) == ["personakit", "b"]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ('{"command": "npx", "args": ["-y", "other"]}', "starts 'npx'"),
        ('{"url": "https://example.com/mcp"}', "is not one of personakit"),
        ("7", "is not one of personakit"),
    ],
)
def test_an_entry_of_another_program_is_kept(home: Path, entry: str, what: str) -> None:
    file, text = home / "mcp.json", f'{{"servers": {{"personakit": {entry}}}}}'
    file.write_text(text, "utf-8")
    message = refused(run(home, "vscode", "--file", str(file), "--yes"))
    assert f"{file}: the entry 'personakit' below 'servers' {what}; add another one" in message
    assert file.read_text("utf-8") == text
    assert run(home, "vscode", "--file", str(file), "--yes", "--name", "mine").exit_code == 0
    assert list(json.loads(file.read_text("utf-8"))["servers"]) == ["mine", "personakit"]


def test_what_is_offered_is_told(home: Path) -> None:
    words = ["vscode", "--workspace", "--dry-run"]
    own = home / "config" / "personakit" / "personas"
    output = run(home, *words, "--personas", "chef").output
    assert f"The server offers 1 persona:\n  1 in {own}\n" in output
    assert f"note: {home / 'here'} has no folder 'personas'" in output
    assert f"or put them into {own}" in output
    Path("personas").mkdir()
    for name in ("soup", "stew"):
        Path("personas", f"{name}.yaml").write_text("system: You cook.\n", "utf-8")
    output = run(home, *words, "--personas", "soup,stew,chef").output
    assert "The server offers 3 personas:\n" in output
    assert f"  2 in {home / 'here' / 'personas'}\n" in output
    assert "note:" not in output
    assert not Path(".vscode").exists()


@linux
def test_a_dry_run_needs_no_client(home: Path) -> None:
    done = run(home, "claude-desktop", "--dry-run")
    assert done.exit_code == 0
    assert '+    "personakit": {' in done.output
    assert f"note: there is no folder {home / 'config' / 'Claude'}: Claude Desktop" in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="the command of Windows differs")
def test_a_file_that_is_read_only_is_kept(home: Path) -> None:
    file = home / "mcp.json"
    file.write_text("{}", "utf-8")
    file.chmod(0o444)
    words = ["vscode", "--file", str(file)]
    assert f"run `chmod u+w {file}`" in refused(run(home, *words, "--yes"))
    assert run(home, *words, "--dry-run").exit_code == 0
    assert (file.read_text("utf-8"), stat.S_IMODE(file.stat().st_mode)) == ("{}", 0o444)
    file.chmod(0o644)
    assert run(home, *words, "--yes").exit_code == 0


def test_a_link_to_nothing(home: Path) -> None:
    (home / "mcp.json").symlink_to(home / "gone" / "real.json")
    message = refused(run(home, "vscode", "--file", str(home / "mcp.json"), "--yes"))
    assert f"is a link to {home / 'gone' / 'real.json'}, which does not exist" in message


@linux
def test_the_options_of_the_server(home: Path) -> None:
    options = ["--tools", "che*, chef", "--one-tool", "--personas", "all"]
    assert run(home, "vscode", "--yes", *options).exit_code == 0
    entry = json.loads(code_file(home).read_text("utf-8"))["servers"]["personakit"]
    assert entry["args"][3:] == ["mcp", "--personas", "all", "--tools", "che*,chef", "--one-tool"]


def test_options_before_the_command_are_refused(home: Path) -> None:
    words = ["--tools", "chef", "install", "vscode", "--workspace", "--yes"]
    done = CliRunner().invoke(command, words, env={"HOME": str(home)})
    assert "--tools must follow `install`" in refused(done)
    assert not Path(".vscode").exists()


@linux
@pytest.mark.parametrize("options", [["--dry-run"], ["--dry-run", "--yes"], []])
def test_nothing_is_written_without_consent(home: Path, options: list[str]) -> None:
    done = run(home, "vscode", *options)
    assert '+    "personakit": {' in done.output
    assert not code_file(home).exists()
    if not options:
        assert "confirm with -y" in refused(done)


def test_a_workspace_and_its_personas(home: Path) -> None:
    Path("personas").mkdir()
    environ = {"PERSONAKIT_PATH": os.pathsep.join(["more", "~/mine"])}
    assert run(home, "vscode", "--workspace", "--yes", **environ).exit_code == 0
    entry = json.loads(Path(".vscode/mcp.json").read_text("utf-8"))["servers"]["personakit"]
    listed = entry["env"]["PERSONAKIT_PATH"].split(os.pathsep)
    here = home / "here"
    assert listed == [str(here / "personas"), str(here / "more"), str(home / "mine")]


def test_the_entry_holds_no_key(home: Path) -> None:
    done = run(home, "vscode", "--workspace", "--yes", OPENAI_API_KEY="sk-secret-1")
    assert "sk-secret-1" not in done.output + Path(".vscode/mcp.json").read_text("utf-8")


def test_the_entry_starts_python_without_the_modules_of_the_folder(home: Path) -> None:
    run(home, "vscode", "--workspace", "--yes")
    Path("click.py").write_text("raise SystemExit('a module of the workspace')", "utf-8")
    entry = json.loads(Path(".vscode/mcp.json").read_text("utf-8"))["servers"]["personakit"]
    words = [entry["command"], *entry["args"][:-1], "--version"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout[:10]) == (0, "personakit"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="it needs a link")
def test_an_interpreter_that_uv_removes_is_refused(home: Path) -> None:
    python = home / "uv" / "archive-v0" / "x1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    words = [str(python), "-m", "personakit", "mcp", "install", "vscode", "--workspace", "--yes"]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "uv tool install 'personakit[mcp]'" in done.stderr
    assert not Path(".vscode").exists()


def test_comments_and_line_ends_stay(home: Path) -> None:
    file = home / "mcp.json"
    for text in (COMMENTED, COMMENTED.replace("\n", "\r\n"), f"\ufeff{COMMENTED}"):
        file.write_bytes(text.encode())
        done = run(home, "vscode", "--file", str(file), "--yes")
        assert done.exit_code == 0, done.output
        lines = file.read_bytes().decode().splitlines(keepends=True)
        kept = text.splitlines(keepends=True)
        assert lines[:4] == kept[:4]
        assert lines[-4:] == kept[-4:]
        assert lines[4].startswith('\t\t"personakit": {')
        assert lines[4].endswith(kept[0][-2:] if "\r" in text else "{\n")


def test_comments_in_the_entry_itself_are_not_lost(home: Path) -> None:
    file = home / "mcp.json"
    text = '{"servers": {"personakit": {"command": "personakit" /* mine */}}}'
    file.write_text(text, "utf-8")
    message = refused(run(home, "vscode", "--file", str(file), "--yes"))
    assert "comments in it" in message
    assert '"-m", "personakit", "mcp"' in message
    assert file.read_text("utf-8") == text


def test_the_file_of_another_program(home: Path) -> None:
    done = run(home, "claude-desktop", "--file", str(home / ".cursor" / "mcp.json"), "--yes")
    assert done.exit_code == 0, done.output
    assert "Start the client again." in done.output
    assert "personakit" in json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{\n  "servers": {"a": 1\n', ":3:1", "Expecting ',' delimiter"),
        ('{\n  "servers" {}\n}', ":2:13", "Expecting ':' delimiter"),
        ("[]", ":1:1", "the file is not an object"),
        ('{"servers": []}', ":1:1", "'servers' is not an object"),
        ('{"servers": {}, "servers": {}}', ":1:1", "the key 'servers' occurs twice"),
        ("/* open", ":1:1", "Expecting value"),
        ("[" * 100_000, ":1:1", "nested too deeply"),
    ],
)
def test_invalid_files(home: Path, text: str, place: str, reason: str) -> None:
    file = home / "mcp.json"
    file.write_text(text, "utf-8")
    message = refused(run(home, "vscode", "--file", str(file), "--yes"))
    assert f"{file}{place}" in message
    assert reason in message
    assert "put this into 'servers' yourself" in message
    assert file.read_text("utf-8") == text


def test_files_that_cannot_be_read(home: Path) -> None:
    file = home / "mcp.json"
    file.write_bytes(b'{"a": "\xff"}')
    assert "byte 7 is not UTF-8" in refused(run(home, "vscode", "--file", str(file)))
    assert "it is a folder" in refused(run(home, "vscode", "--file", str(home)))


def test_a_link_stays_a_link(home: Path) -> None:
    (home / "real.json").write_text("{}", "utf-8")
    (home / "mcp.json").symlink_to(home / "real.json")
    run(home, "vscode", "--file", str(home / "mcp.json"), "--yes")
    assert (home / "mcp.json").is_symlink()
    assert "personakit" in (home / "real.json").read_text("utf-8")


@linux
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vscod"], "did you mean 'vscode'?"),
        (["claude"], "did you mean 'claude-desktop'?"),
        (["vscode", "--name", " "], "--name is empty"),
        (["vscode", "--file", "~nobodyy/mcp.json"], "there is no such user"),
        (["cursor"], "docs/mcp.md says where other clients keep theirs"),
        (["vscode", "--tools", "chff"], "did you mean 'chef'?"),
        (["vscode", "--tools", "chef,x*"], "no persona matches 'x*'"),
        (["vscode", "--tools", " , "], "--tools names no persona"),
        (["vscode", "--personas", "chff"], "did you mean 'chef'?"),
        (["vscode", "--one-tool"], "--one-tool needs personas"),
        (["claude-desktop"], "Claude Desktop is not installed, or was never started"),
        (["claude-desktop", "--workspace"], "--workspace is for vscode"),
        (["vscode", "--tool", "chef"], "No such option"),
    ],
)
def test_wrong_options(home: Path, words: list[str], message: str) -> None:
    assert message in refused(run(home, *words))
    assert not code_file(home).exists()


KEYS = st.sampled_from(["a", "b", "servers", "personakit", 'q"uote', "//", "/*", "}", ","])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OBJECTS, OBJECTS, st.sampled_from([None, 1, 2, "\t"]), OBJECTS)
def test_any_file_keeps_its_other_members(
    others: dict[str, Any], servers: dict[str, Any], indent: Any, entry: dict[str, Any]
) -> None:
    before = {**others, "servers": servers}
    text = jsonc.put(json.dumps(before, indent=indent), "servers", "personakit", entry)
    assert json.loads(text) == {**before, "servers": {**servers, "personakit": entry}}
    assert jsonc.put(text, "servers", "personakit", entry).split() == text.split()


@settings(deadline=None)
@given(st.text('{}[]",:/*\\ \n1a', max_size=40))
def test_texts_of_any_kind(text: str) -> None:
    try:
        changed = jsonc.put(text, "servers", "personakit", {"command": "x"})
    except (jsonc.Invalid, jsonc.Unsafe):
        return
    assert jsonc.read(changed)["servers"]["personakit"] == {"command": "x"}
