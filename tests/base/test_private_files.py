"""Private files: who may read them, and what a failure leaves."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.secrets import CANARY, MINE, _only_ours

import personakit
from personakit import Config, ConfigError, Provider, Registry, Runner, Secret, hookimpl
from personakit.base.secrets import Hidden
from personakit.keys.keyfile import put, read
from personakit.testing import MODES, Reply, Server, in_mode, persona


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_private_at_creation_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    file = tmp_path / "a" / "b" / "keys.json"
    before = os.umask(umask)
    try:
        put(file, "mine", Secret("k"))
        put(file, "other", Secret("l"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(p.stat().st_mode) for p in (file.parent, file.parent.parent)] == [
        0o700
    ] * 2
    assert [p.name for p in file.parent.iterdir()] == ["keys.json"]
    assert read(file) == {"mine": Secret("k"), "other": Secret("l")}


def test_a_created_file_keeps_what_it_has_and_the_locks_of_sqlite_on_it(tmp_path: Path) -> None:
    file = tmp_path / "a" / "some.sqlite3"
    personakit.create_file(str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    other = f"import sqlite3; sqlite3.connect({str(file)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE x (y)")
        connection.execute("BEGIN IMMEDIATE")
        personakit.create_file(file)
        locked = subprocess.run([sys.executable, "-c", other], capture_output=True, check=False)
    assert b"database is locked" in locked.stderr
    assert file.stat().st_size


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_files_are_created_can_create_files(tmp_path: Path) -> None:
    done = threading.Event()

    def create() -> None:
        for number in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
            personakit.create_file(tmp_path / str(number % 9))

    thread = threading.Thread(target=create)
    thread.start()
    try:
        for number in range(20):
            child = os.fork()
            if not child:
                signal.alarm(30)
                personakit.create_file(tmp_path / f"child-{number}")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "keys.json", tmp_path / "keys.json"
    put(real, "mine", Secret("k"))
    link.symlink_to(real)
    put(link, "other", Secret("l"))
    assert link.is_symlink()
    assert read(real) == {"mine": Secret("k"), "other": Secret("l")}
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match=r"loop: cannot be (read|written)"):
        put(loop, "mine", Secret("k"))


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"keys.json: cannot be (read|written): Not a directory"):
        put(tmp_path / "file" / "keys.json", "mine", Secret(CANARY))


def test_no_key_is_lost_when_many_write(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    names = [f"p{n}" for n in range(12)]
    threads = [threading.Thread(target=put, args=(file, name, Secret(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(read(file)) == sorted(names)


# --- the schemes of plugins ---------------------------------------------------------------------


def asking(function: Callable[[str], Any], reference: str = "vault:a/b") -> Callable[[], Any]:
    """Return a look-up of the key of a provider that names a plugin's scheme."""

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    provider = dataclasses.replace(MINE, api_key=reference)
    config = Config(path=(), select=frozenset(), environ={"MINE_KEY": "env"},
                    providers={"mine": provider}, file="config.yaml")  # fmt: skip
    router = Runner(config, plugins=[Vault]).router
    return lambda: router.endpoint(provider, "m").api_key


def fails(error: BaseException) -> Callable[[str], Any]:
    def function(rest: str) -> str:
        key = f"{CANARY} of {rest}"
        assert key
        raise error

    return function


async def awaited(_: str) -> str:
    return CANARY


def test_a_scheme_gives_the_key() -> None:
    assert asking(lambda rest: f" {rest}\n")() == Secret("a/b")
    assert asking(Secret)() == Secret("a/b")
    assert asking(lambda rest: "x", "literal:vault:a")() == Secret("vault:a")
    assert asking(lambda rest: "x", "sk-no-scheme")() == Secret("sk-no-scheme")
    assert asking(lambda rest: "x", "C:0815")() == Secret("C:0815")


def test_a_scheme_is_asked_once_until_the_key_is_refused() -> None:
    asked: list[str] = []

    def function(rest: str) -> str:
        asked.append(rest)
        return f"key-{len(asked)}"

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    refused = {"error": {"message": "no"}}
    for mode in MODES:
        asked.clear()
        bad = Reply(json.dumps(refused).encode(), 401)
        with Server(["one", "two", bad, "three"]) as server:
            provider = Provider("mine", server.base_url, api_key="vault:x")
            config = Config(path=(), select=frozenset(), environ={}, providers={"mine": provider})
            running = Runner(config, plugins=[Vault])
            for text in ("one", "two", None, "three"):
                if text is None:
                    with pytest.raises(Exception, match="status 401"):
                        in_mode(mode, running, persona(), model="mine/m")
                else:
                    assert in_mode(mode, running, persona(), model="mine/m").text == text
            sent = [r.headers.get("Authorization", r.headers.get("authorization"))
                    for r in server.requests]  # fmt: skip
            running.close()
        assert sent == [f"Bearer key-{n}" for n in (1, 1, 1, 2)]


def test_a_slow_scheme_does_not_hold_the_event_loop() -> None:
    going = threading.Event()

    def function(_: str) -> str:
        assert going.wait(30), "the loop stood still"
        return "k"

    class Vault:
        @staticmethod
        @hookimpl
        def setup(registry: Registry) -> None:
            registry.secret("vault", function)

    async def main(running: Runner) -> str:
        run = asyncio.create_task(running.arun(persona(), model="mine/m"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, going.set)
        return (await run).text

    with Server() as server:
        provider = Provider("mine", server.base_url, api_key="vault:x")
        config = Config(path=(), select=frozenset(), environ={}, providers={"mine": provider})
        assert asyncio.run(main(Runner(config, plugins=[Vault]))) == "Hello!"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rest: "", "it returned an empty string"),
        (lambda rest: None, "it returned NoneType, not a string"),
        (lambda rest: CANARY.encode(), "it returned bytes, not a string"),
        (awaited, "it returned coroutine, not a string"),
        (fails(ValueError(CANARY)), r"it failed with ValueError at test_private_files.py:\d+"),
        (fails(SystemExit(CANARY)), r"it failed with SystemExit at test_private_files.py:\d+"),
        (fails(ConfigError("run `vault login`")), "run `vault login`"),
    ],
)
def test_what_a_scheme_does_wrong_is_said_without_the_key(
    function: Callable[[str], Any], message: str
) -> None:
    ask = asking(function)
    with pytest.raises(
        ConfigError,
        match=rf"^no key for provider 'mine': scheme 'vault' of plugin 'Vault': {message}$",
    ) as got:
        ask()
    _only_ours(got.value)


def test_a_scheme_s_key_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="provider 'mine', from vault:, contains a space") as got:
        asking(lambda rest: f"{CANARY} {rest}")()
    _only_ours(got.value)


def test_a_scheme_that_no_plugin_provides_is_not_sent_as_a_key() -> None:
    with pytest.raises(ConfigError) as got:
        asking(lambda rest: "x", f"op:{CANARY}")()
    said = str(got.value)
    for part in ("config.yaml: ", "'mine'", "scheme 'op'", "literal:", "keys set mine"):
        assert part in said
    _only_ours(got.value)


def test_literal_is_no_scheme_of_a_plugin() -> None:
    with pytest.raises(ValueError, match="is one of personakit itself"):
        Registry("x").secret("literal", str)


@pytest.mark.parametrize(
    "content",
    [
        f"providers: {{w: {{base_url: https://x.y, api_key: {CANARY!r}, more: 1}}}}",
        f"providers: {{w: {{base_url: https://x.y, api_key: [{CANARY!r}]}}}}",
        f"providers: {{w: {{base_url: https://x.y, api_key: {CANARY!r}",
        f"providers: {{w: {{base_url: https://x.y, headers: {{x: [{CANARY!r}]}}}}}}",
    ],
)
def test_a_config_file_that_is_wrong_shows_no_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    environ = Hidden({"PERSONAKIT_CONFIG": str(file), "OPENAI_API_KEY": CANARY})
    with pytest.raises(ConfigError, match=r"config\.yaml:1") as got:
        Config.read(environ)
    _only_ours(got.value)


# --- the documented example ---------------------------------------------------------------------


def test_the_documented_plugin_reads_from_op(
    tmp_path: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "plugins" / "setup.md"
    code = page.read_text("utf-8").split("`personakit_op.py`")[1].split("```")[1]
    assert len([line for line in code.splitlines()[1:] if line.strip()]) <= 16
    (tmp_path / "personakit_op.py").write_text(code.removeprefix("python\n"))
    monkeypatch.syspath_prepend(tmp_path)
    install("personakit-op", op="personakit_op")
    command = tmp_path / "bin" / "op"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\n[ "$2" = op://Team/llm/credential ] && echo the-key && exit\n'
                       'echo "[ERROR] no item" >&2; exit 1\n')  # fmt: skip
    command.chmod(0o700)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    config = Config(path=(), select=frozenset({"op"}), environ={})

    def key(reference: str) -> Secret | None:
        return Runner(config).router.keys.find(dataclasses.replace(MINE, api_key=reference))

    assert key("op://Team/llm/credential") == Secret("the-key")
    with pytest.raises(ConfigError, match=r"plugin 'op': \[ERROR\] no item; run `op signin`"):
        key("op://Team/other/credential")


def test_processes_create_the_same_folders(tmp_path: Path) -> None:
    code = (
        "import sys, personakit\n"
        "personakit.create_file  # loaded before the start\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for n in range(3000):\n"
        "    personakit.create_file(f'{sys.argv[1]}/{n}/a/b/file')\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.communicate()[1] for worker in workers] == [""] * 4
