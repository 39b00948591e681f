"""`personakit keys` and `--key-file`, in a process of their own, with and without a keyring."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from personakit.testing import Reply, Server

CANARY = "sk-canary-7f3a9"
# A keyring of the operating system, played by a file. What a variable names goes wrong.
RING = """
import json, os, pathlib
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

class Ring(KeyringBackend):
    priority = 9

    def _file(self):
        if os.environ.get("RING_FAULT") == "locked":
            raise KeyringLocked("locked")
        if os.environ.get("RING_FAULT") == "broken":
            raise OSError("D-Bus is gone")
        return pathlib.Path(os.environ["RING_FILE"])

    def _all(self):
        return json.loads(self._file().read_text()) if self._file().exists() else {}

    def get_password(self, service, user):
        return self._all().get(f"{service}/{user}")

    def set_password(self, service, user, password):
        self._file().write_text(json.dumps({**self._all(), f"{service}/{user}": password}))

    def delete_password(self, service, user):
        left = self._all()
        if left.pop(f"{service}/{user}", None) is None:
            raise PasswordDeleteError("none")
        self._file().write_text(json.dumps(left))
"""
PLUGIN = """
from personakit import hookimpl

@hookimpl
def setup(registry):
    registry.provider("acme", base_url="http://127.0.0.1:1/v1", key_env="ACME_KEY")
    registry.provider("embedded", connect=lambda model: None)
"""


# Runs commands in copies of itself, which need not import everything once more.
FORKS = """
import json, os, sys
import click, jinja2, keyring, openai, yaml
import personakit.backend.backend, personakit.cli.keys, personakit.cli.run, personakit.cli.test
import personakit.templates.render

def become(job):
    for number, name in enumerate(("in", "out", "err")):
        os.dup2(os.open(job["folder"] + "/std" + name, os.O_RDWR), number)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.path[:0] = job["env"]["PYTHONPATH"].split(os.pathsep)
    os.chdir(job["folder"])
    sys.argv = ["personakit", *job["args"]]

for line in iter(sys.stdin.buffer.readline, b""):
    pid = os.fork()
    if pid == 0:
        become(json.loads(line))
        personakit.cli.main()
    status = os.waitpid(pid, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Forks:
    """Runs commands as `Shell` does, in less time."""

    def __init__(self, shell: Any, process: subprocess.Popen[bytes]) -> None:
        self.folder: Path = shell.folder
        self.shell = shell
        self.env = shell.env
        self.terminal = shell.terminal
        self.write = shell.write
        self.process = process

    def __call__(self, *args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        streams = {name: self.write(f"std{name}", "") for name in ("in", "out", "err")}
        streams["in"].write_text(stdin, "utf-8", newline="")
        job = {
            "args": args,
            "env": {"PYTHONPATH": "", **self.env, **env},
            "folder": str(self.folder),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        out, err = (streams[name].read_text("utf-8") for name in ("out", "err"))
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(args, code, out, err)


@pytest.fixture(scope="module")
def forking() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-X", "utf8", "-W", "error", "-c", FORKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


class Keys:
    """The commands, in a folder with a keyring of its own."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.folder: Path = shell.folder
        self.file: Path = self.folder / "home" / ".config" / "personakit" / "keys.json"
        self.ring: Path = self.folder / "ring.json"
        shell.write("site/ring.py", RING)
        self.env = {
            "PYTHONPATH": os.pathsep.join(
                [str(self.folder / "site"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            ).rstrip(os.pathsep),
            "PYTHON_KEYRING_BACKEND": "ring.Ring",
            "RING_FILE": str(self.ring),
        }

    def __call__(self, *args: str, stdin: str = "", fails: str = "", **env: str) -> str:
        """Run a command, check how it ends, and return what it prints, all without the canary."""
        done = self.shell(*args, stdin=stdin, **{**self.env, **env})
        assert CANARY not in done.stdout + done.stderr
        assert bool(done.returncode) is bool(fails), done.stderr
        assert fails in done.stderr
        if fails:
            assert done.returncode == 2
        return str(done.stdout + done.stderr)

    def rows(self, **env: str) -> list[tuple[str, str, bool]]:
        done = self.shell("keys", "list", "--json", **{**self.env, **env})
        assert CANARY not in done.stdout + done.stderr
        return [(row["provider"], row["from"], row["used"]) for row in json.loads(done.stdout)]

    def stored(self) -> tuple[Any, Any]:
        """Return what the keyring and the file hold."""
        return tuple(  # type: ignore[return-value]
            json.loads(path.read_text()) if path.exists() else None
            for path in (self.ring, self.file)
        )


@pytest.fixture
def keys(shell: Any, forking: subprocess.Popen[bytes]) -> Keys:
    return Keys(Forks(shell, forking))


NO_RING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
NULL_RING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


def test_a_key_goes_into_the_keyring_and_leaves_it(keys: Keys) -> None:
    said = keys("keys", "set", "openai", stdin=f"{CANARY}\n")
    first, following = said.splitlines()
    assert first == "openai: key stored in the keyring (ring Ring)"
    assert following.startswith("next: `personakit models openai` lists its models, and `personak")
    assert keys.stored() == ({"personakit/openai": CANARY}, None)
    assert keys.rows() == [("openai", "keyring", True)]
    assert "removed from the keyring" in keys("keys", "rm", "openai")
    assert keys.stored() == ({}, None)
    keys("keys", "rm", "openai", fails="no key of openai is stored; `personakit keys list`")
    assert "no provider has a key" in keys("keys", "list")


WITHOUT = [NO_RING, NULL_RING, {"RING_FAULT": "locked"}, {"RING_FAULT": "broken"},
           {"PYTHON_KEYRING_BACKEND": "no.such"}]  # fmt: skip


@pytest.mark.parametrize("env", WITHOUT)
def test_without_a_keyring_it_goes_into_a_private_file(keys: Keys, env: dict[str, str]) -> None:
    said = keys("keys", "set", "openai", stdin=CANARY, **env)
    assert f"key stored in {keys.file}, which only you can read (" in said
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.file.parent.stat().st_mode) == 0o700
    assert keys.stored() == (None, {"openai": CANARY})
    assert keys.rows(**env) == [("openai", "file", True)]
    keys("keys", "set", "openai", "--keyring", stdin=CANARY, fails="omit --keyring", **env)
    assert "removed from " in keys("keys", "rm", "openai", **env)
    assert keys.stored() == (None, {})


def test_a_key_is_kept_in_one_place(keys: Keys) -> None:
    keys("keys", "set", "groq", "--file", stdin=CANARY)
    keys("keys", "set", "openai", "--file", stdin="old-key")
    assert keys.stored()[1] == {"groq": CANARY, "openai": "old-key"}
    keys("keys", "set", "openai", stdin=CANARY)
    assert keys.stored() == ({"personakit/openai": CANARY}, {"groq": CANARY})
    keys("keys", "set", "openai", "--file", stdin="newer-key")
    assert keys.stored() == ({}, {"groq": CANARY, "openai": "newer-key"})


def test_list_says_which_place_is_used(keys: Keys) -> None:
    keys.shell.write(
        "home/.config/personakit/config.yaml",
        "providers:\n"
        "  work: {base_url: http://127.0.0.1:1/v1, key_env: WORK_KEY}\n"
        f"  vault: {{base_url: http://127.0.0.1:1/v1, api_key: 'op:{CANARY}'}}\n"
        f"  plain: {{base_url: http://127.0.0.1:1/v1, api_key: {CANARY}}}\n",
    )
    keys("keys", "set", "openai", stdin=CANARY)
    keys.shell.write("home/.config/personakit/keys.json", json.dumps({"openai": "x", "gone": "y"}))
    keys.file.chmod(0o600)
    assert keys.rows(OPENAI_API_KEY=CANARY, WORK_KEY=CANARY) == [
        ("gone", "file", True),
        ("openai", "environment", True),
        ("openai", "keyring", False),
        ("openai", "file", False),
        ("plain", "config", True),
        ("vault", "config", False),
        ("work", "environment", True),
    ]
    # A scheme that no plugin provides gives no key.
    unknown = "op: (no installed plugin provides this scheme)"
    assert f"vault\tconfig\t{unknown}\tno" in keys("keys", "list")
    assert "removed" in keys("keys", "rm", "gone")
    assert "note: OPENAI_API_KEY is set and takes precedence" in keys(
        "keys", "set", "openai", stdin=CANARY, OPENAI_API_KEY="x"
    )
    assert "note: `api_key` of the config file" in keys("keys", "set", "vault", stdin=CANARY)


def test_a_key_is_never_an_argument_and_nothing_is_repeated(keys: Keys) -> None:
    keys("keys", "set", "openai", CANARY, fails="a key is not accepted as an argument")
    keys("keys", "set", CANARY, "openai", fails="a key is not accepted as an argument")
    keys("keys", "set", CANARY, fails="no provider has that name (known: anthropic, azure")
    keys("keys", CANARY, fails="expected one of list, rm, set after personakit keys")
    keys("keys", "lst", fails="did you mean 'list'?")
    keys("keys", "rm", CANARY, fails="no provider has that name")
    keys("keys", "set", "opnai", fails="no provider has that name; did you mean 'openai'?")
    keys("keys", "set", "openai", "--key-file", CANARY, fails="expects the path of a file, not the")
    keys("run", "chef", "hi", "-m", "openai/x", "--key-file", CANARY, fails="not the key")
    assert keys.stored() == (None, None)


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("", "the key in standard input is empty"),
        (" \n\t", "is empty"),
        (f"{CANARY} {CANARY}", "contains a space or a character that is invalid in a key"),
        (f"{CANARY}\n{CANARY}", "contains a space or a character"),
        (f"Bearer {CANARY}", "contains a space"),
        (f"{CANARY}\x00", "contains a space or a character"),
        (f"{CANARY}\u2026", "contains a space or a character"),
        (CANARY * 1000, "has more than 8192 characters"),
    ],
)
def test_what_is_no_key_is_not_kept(keys: Keys, stdin: str, message: str) -> None:
    keys("keys", "set", "openai", stdin=stdin, fails=message)
    assert keys.stored() == (None, None)


@pytest.mark.parametrize("content", ["{", "[1]", '{"openai": 1}', f"{CANARY}"])
def test_a_broken_file_loses_nothing(keys: Keys, content: str) -> None:
    keys.shell.write("home/.config/personakit/keys.json", content)
    keys.file.chmod(0o600)
    broken = "keys.json: expected a JSON object that maps providers to keys; correct or move it"
    for place in ("--file", "--keyring"):
        keys("keys", "set", "openai", place, stdin=CANARY, fails=broken)
    keys("keys", "rm", "openai", fails=broken)
    assert "openai\tenvironment" in keys("keys", "list", fails=broken, OPENAI_API_KEY=CANARY)
    assert "no provider has a key" not in keys("keys", "list", fails=broken)
    assert keys.file.read_text() == content
    assert not keys.ring.exists()
    keys.file.chmod(0o644)
    keys("keys", "set", "openai", stdin=CANARY, fails="run: chmod 600 ")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written(keys: Keys) -> None:
    keys.file.parent.mkdir(parents=True)
    keys.file.parent.chmod(0o500)
    keys("keys", "set", "openai", "--file", stdin=CANARY, fails="keys.json: cannot be written")


def test_something_else_of_the_folder_s_name(keys: Keys) -> None:
    keys.shell.write("home/.config", "")
    keys("keys", "set", "openai", "--file", stdin=CANARY, fails="Not a directory")


def test_providers_of_plugins_and_of_the_config(keys: Keys, install: Callable[..., None]) -> None:
    keys.shell.write("site/acme.py", PLUGIN)
    info = keys.folder / "site" / "acme-1.0.dist-info"
    keys.shell.write(
        f"site/{info.name}/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1\n"
    )
    keys.shell.write(f"site/{info.name}/entry_points.txt", "[personakit]\nacme = acme\n")
    env = {"PERSONAKIT_PLUGINS": "acme"}
    keys("keys", "set", "acme", stdin=CANARY, **env)
    assert keys.stored()[0] == {"personakit/acme": CANARY}
    assert keys.rows(**env) == [("acme", "keyring", True)]
    keys("keys", "set", "acmee", fails="did you mean 'acme'?", **env)
    keys("keys", "set", "embedded", stdin=CANARY, fails="'embedded' do not use a key", **env)
    keys("keys", "rm", "acme", **env)


# --- on a terminal ------------------------------------------------------------------------------


def test_a_typed_key_is_not_echoed(keys: Keys) -> None:
    keys.shell.env |= keys.env
    with keys.shell.terminal("keys", "set", "openai") as session:
        session.until("Key of openai (not shown): ")
        session.say(CANARY)
        assert session.end() == 0
        assert CANARY not in session.text
        assert "key stored in the keyring" in session.text
    assert keys.stored()[0] == {"personakit/openai": CANARY}


def test_ctrl_c_keeps_nothing(keys: Keys) -> None:
    keys.shell.env |= keys.env
    with keys.shell.terminal("keys", "set", "openai") as session:
        session.until("(not shown): ")
        session.interrupt()
        assert session.end() == 130
        assert "Traceback" not in session.text
    assert keys.stored() == (None, None)


# --- the key of a run ---------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(["Hello from loopback."]) as running:
        yield running


def sent(server: Server) -> str | None:
    headers = {name.lower(): value for name, value in server.requests[-1].headers.items()}
    return headers.get("authorization")


def test_the_places_are_asked_in_order(keys: Keys, server: Server) -> None:
    run = ("run", "chef", "hi", "-m", "openai/x")
    env = {"OPENAI_BASE_URL": server.base_url}
    keys(*run, fails="the keyring (no entry)", **env)
    keys("keys", "set", "openai", "--file", stdin="file-key")
    keys.ring.write_text(json.dumps({"personakit/openai": "ring-key"}))
    file = keys.shell.write("the key", "\ufeff given-key\r\n")
    for more, expected in [
        ({"RING_FAULT": "locked"}, "file-key"),
        (NO_RING, "file-key"),
        ({}, "ring-key"),
        ({"OPENAI_API_KEY": "env-key"}, "env-key"),
    ]:
        assert keys(*run, **env, **more) == "Hello from loopback.\n"
        assert sent(server) == f"Bearer {expected}"
    more = {"OPENAI_API_KEY": "env-key"}
    keys(*run, "--key-file", str(file), **env, **more)
    assert sent(server) == "Bearer given-key"
    keys(*run, "--key-file", "-", stdin="piped-key\n", **env, **more)
    assert sent(server) == "Bearer piped-key"


def test_the_keyring_is_imported_only_when_it_is_asked(keys: Keys, server: Server) -> None:
    env = {"OPENAI_BASE_URL": server.base_url, "PYTHONVERBOSE": "1"}
    shell = keys.shell.shell  # a process that has imported nothing yet
    done = shell("run", "chef", "hi", "-m", "openai/x", OPENAI_API_KEY="k", **keys.env, **env)
    assert "import 'personakit.keys.keyring'" in done.stderr
    assert "import 'keyring" not in done.stderr
    ollama = {"OLLAMA_BASE_URL": server.base_url.removesuffix("/v1"), "PYTHONVERBOSE": "1"}
    done = shell("run", "chef", "hi", "-m", "ollama/x", **keys.env, **ollama)
    assert done.stdout == "Hello from loopback.\n"
    assert "import 'keyring" not in done.stderr


def test_a_provider_that_needs_no_key_sends_the_one_in_the_keyring(
    keys: Keys, server: Server
) -> None:
    env = {"OLLAMA_BASE_URL": server.base_url.removesuffix("/v1")}
    keys("keys", "set", "ollama", stdin="ring-key")
    assert keys.stored() == ({"personakit/ollama": "ring-key"}, {"ollama": None})
    assert keys.rows() == [("ollama", "keyring", True)]
    keys("run", "chef", "hi", "-m", "ollama/x", **env)
    assert sent(server) == "Bearer ring-key"
    keys("run", "chef", "hi", "-m", "ollama/x", fails="the keyring (it is locked)",
         RING_FAULT="locked", **env)  # fmt: skip
    keys("keys", "rm", "ollama")
    assert keys.stored() == ({}, {})
    keys("run", "chef", "hi", "-m", "ollama/x", **env)
    assert sent(server) == "Bearer none"


def test_the_key_of_a_file_is_for_one_provider_alone(keys: Keys, server: Server) -> None:
    keys.shell.write(
        "home/.config/personakit/config.yaml",
        f"providers: {{work: {{base_url: '{server.base_url}', key_env: WORK_KEY}}}}\n",
    )
    keys.shell.write("key", "given-key")
    env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "openai-key"}
    keys("run", "chef", "hi", "-m", "work/x", "--key-file", "key", **env)
    assert sent(server) == "Bearer given-key"
    keys("run", "chef", "hi", "-m", "openai/x", **env)
    assert sent(server) == "Bearer openai-key"


def test_key_files_that_are_none(keys: Keys) -> None:
    run = ("run", "chef", "-m", "openai/x")
    keys(*run, "hi", "--key-file", "nothing", fails="cannot read it: No such file or directory")
    keys(*run, "hi", "--key-file", ".", fails="cannot read it: it is a folder")
    keys(*run, "hi", "--key-file", "/dev/zero", fails="it is a device; expected a file")
    keys(*run, "hi", "--key-file", "~nobody-of-that-name/k", fails="expects the path of a file")
    keys(*run, "-", "--key-file", "-", fails="standard input is the key")
    keys(*run, "hi", "-v", "x=@-", "--key-file", "-", fails="standard input is the key")
    keys("run", "chef", "hi", "--key-file", "k", fails="choose one with -m")


def test_chat_takes_a_key_file_but_no_key_in_place_of_what_is_said(
    keys: Keys, server: Server
) -> None:
    keys.shell.write("key", "given-key")
    chat = ("chat", "chef", "-m", "openai/x", "--key-file")
    keys(*chat, "key", stdin="hi\n", OPENAI_BASE_URL=server.base_url)
    assert sent(server) == "Bearer given-key"
    keys(*chat, "-", stdin="given-key", fails="used by --key-file -, so it cannot contain messages")
    keys(*chat, "key", "-v", "cook=@-", stdin="hi", fails="used by -v cook=@-")


def test_test_takes_a_key_file(keys: Keys, server: Server) -> None:
    tests = "[{name: a, prompt: hi, expect: {contains: [Hello]}}]"
    keys.shell.write("personas/ann.yaml", f"system: You.\ntests: {tests}\n")
    keys.shell.write("key", "given-key")
    args = ("test", "--record", "all", "--key-file", "key")
    keys(*args, fails="choose one with -m")
    said = keys(*args, "-m", "openai/x", OPENAI_BASE_URL=server.base_url)
    assert "1 passed" in said
    assert sent(server) == "Bearer given-key"


def test_a_refused_key_names_no_key(keys: Keys) -> None:
    body = json.dumps({"error": {"message": f"bad key {CANARY}"}}).encode()
    with Server([Reply(body, 401)]) as server:
        done = keys.shell("run", "chef", "hi", "-m", "openai/x", OPENAI_BASE_URL=server.base_url,
                          OPENAI_API_KEY=CANARY)  # fmt: skip
    assert done.returncode == 1
    assert "bad key ***" in done.stderr
    assert CANARY not in done.stdout + done.stderr
