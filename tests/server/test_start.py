"""What keeps the server from starting, and what it says then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from helpers.process import Folder, Result, command
from helpers.server_process import serving

from personakit import ConfigError
from personakit.server import Settings, serve


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def ran(home: Folder, *args: str, **env: str) -> Result:
    return home.run(command("serve", *args), b"", env)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use(home: Folder, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = ran(home, "--port", str(port), "--workers", workers)
    assert result.code == 2
    assert result.err == (
        f"Error: port {port} of 127.0.0.1 is in use by another program; end it, or choose another "
        f"port: --port {port + 1}, or --port 0 for a free one\n"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_host_needs_a_key(home: Folder, host: str) -> None:
    result = ran(home, "--port", "0", "--host", host)
    assert result.code == 2
    assert result.err == (
        f"Error: host {host} is reached from other machines, and there is no key; make a key with "
        f"`personakit serve keys new NAME`, or serve this machine alone with --host 127.0.0.1\n"
    )
    home.run(command("serve", "keys", "new", "anna"), b"", {})
    home.run(command("serve", "keys", "revoke", "anna"), b"", {})
    assert "every key is revoked or expired" in ran(home, "--host", host).err


def test_with_a_key_another_host_is_served(home: Folder, tmp_path: Path) -> None:
    ledger = str(tmp_path / "keys.db")
    home.run(command("serve", "keys", "new", "anna", "--ledger", ledger), b"", {})
    with serving(tmp_path, "--host", "0.0.0.0", "--ledger", ledger) as server:
        assert "(1 key)" in server.lines[0]
        server.host = "127.0.0.1"
        assert server.get("/health")[0] == 200
        server.signal()
        assert server.end() == 0


def test_hosts_without_an_address(home: Folder) -> None:
    result = ran(home, "--host", "nowhere.invalid")
    assert result.code == 2
    assert result.err.startswith("Error: host 'nowhere.invalid' has no address (")
    assert "127.0.0.1 serves this machine" in result.err


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_host_of_ipv6(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "[::1]") as server:
        assert server.lines[0].startswith(f"serving http://[::1]:{server.port}/v1 ")
        assert server.get("/health")[0] == 200
        server.signal()
        assert server.end() == 0


def test_localhost_is_served_on_all_its_addresses(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "localhost") as server:
        for family, *_, place in socket.getaddrinfo("localhost", server.port, type=1):
            with socket.socket(family) as client:
                client.connect(place)
        server.signal()
        assert server.end() == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may use every port")
def test_a_port_that_needs_more_rights(home: Folder) -> None:
    result = ran(home, "--port", "80")
    assert result.code == 2
    assert "port 80 of 127.0.0.1 is not allowed for this user" in result.err


@pytest.mark.parametrize("name", ["uvicorn", "httptools", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(home: Folder, name: str) -> None:
    script = (
        f"import sys; sys.modules[{name!r}] = None; sys.argv[1:] = ['serve']\n"
        "from personakit.cli import main; main()"
    )
    result = home.run([sys.executable, "-c", script], b"", {})
    assert result.code == 2
    shown = name.replace("_", "-")
    assert result.err.startswith(
        f"Error: personakit serve needs {shown}, which is not installed; install the extra: "
    )
    assert "[serve]" in result.err


def test_other_commands_do_not_load_the_server(home: Folder) -> None:
    script = (
        "import sys; sys.argv[1:] = ['serve', 'keys', 'list']\n"
        "from personakit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'uvicorn', 'prometheus_client', 'asyncio'} & set(sys.modules))"
    )
    assert home.run([sys.executable, "-c", script], b"", {}).out == "set()\n"


WRONG = [
    (["--port", "99999"], "--port: expected a port from 0 to 65,535, found an integer 99999"),
    (["--personas", "chfe"], "--personas: no persona has the name 'chfe' in "),
    (["--personas", "x*"], "--personas: no persona matches 'x*' in "),
    (["chef"], "unknown command 'chef'; it is a persona: personakit serve --personas chef"),
    (["mcp"], "unknown command 'mcp'; it is an option: personakit serve --mcp"),
    (
        ["--personas", "chef", "--mcp-tools", "tutor"],
        "--mcp-tools: 'tutor' is not among the personas that are offered: chef",
    ),
    (["key"], "unknown command 'key'; did you mean 'keys'?"),
    (["--prot", "1"], "No such option '--prot'"),
    (["--port", "1", "openapi"], "--port before 'openapi': `serve openapi` does not use it"),
    (["--ledger", "x", "keys", "list"], "--ledger before 'keys': write it at the end, as in "),
]


@pytest.mark.parametrize(("args", "message"), WRONG)
def test_a_wrong_option(home: Folder, args: list[str], message: str) -> None:
    result = ran(home, *args)
    assert result.code == 2
    assert message in result.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_broken_config_file(home: Folder, workers: str) -> None:
    home.write("config/personakit/config.yaml", "serve: {port: 0}\nmodle: x\n")
    result = ran(home, "--workers", workers)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "config.yaml:2:1: unknown key 'modle'" in result.err


def test_in_python_the_hints_name_arguments() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"another `port`, or port=0 for a free one"):
            serve(Settings(port=port))


def test_a_ledger_that_cannot_be_read(home: Folder, tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"no database at all, but long enough to be read as one")
    result = ran(home, "--port", "0", "--ledger", "keys.db")
    assert result.code in (1, 2)
    assert result.err.startswith("Error: ")
    assert "keys.db" in result.err


def test_it_runs_from_the_script_as_well(home: Folder) -> None:
    """A worker imports the main module again, which is a script here."""
    script = Path(sys.executable).with_name("personakit")
    if not script.exists():
        pytest.skip("the script is not installed")
    with subprocess.Popen(
        [str(script), "serve", "--port", "0", "--workers", "2"],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=home.folder, env=home.env,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("serving http://127.0.0.1:")
        process.terminate()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def test_it_may_open_as_many_files_as_it_has_connections(home: Folder) -> None:
    home.write("config/personakit/config.yaml", "serve: {limits: {connections: 400}}")
    args = ["sh", "-c", 'ulimit -Sn 256; exec "$0" "$@"', *command("serve", "--port", "0")]
    with subprocess.Popen(
        args, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=home.folder,
        env=home.env,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("serving http://127.0.0.1:")
        assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == 1800
        process.terminate()
        assert process.wait(60) == 0
