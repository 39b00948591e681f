"""The life of the child process: one per process, and gone with it however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from personakit_local import child, connect

from personakit import BackendError, Endpoint

Start = Callable[..., "subprocess.Popen[str]"]
Gone = Callable[[int], bool]
Children = Callable[[int], list[int]]

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="sends POSIX signals, looks with ps"
)

UP = "from personakit_local import connect; e = connect(''); print(e.base_url, flush=True)\n"
STREAM = """
import openai
client = openai.OpenAI(base_url=e.base_url, api_key=e.api_key.reveal(), max_retries=0)
def story(tokens):
    return client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Tell a story."}], stream=True,
        max_tokens=tokens, extra_body={"ignore_eos": True})
"""
WAIT = "import sys; sys.stdin.readline()\n"


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line of a process."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        pytest.fail(f"the process ended: {process.communicate()[1]}")
    return line


def only(pids: list[int]) -> int:
    assert len(pids) == 1
    return pids[0]


def test_quiet_and_gone_after_a_normal_exit(start: Start, children: Children, gone: Gone) -> None:
    parent = start("import os, time\nfrom personakit_local import connect\n" + WAIT + UP + WAIT)
    time.sleep(0.5)
    assert children(parent.pid) == []  # nothing is started before the first request
    assert parent.stdin is not None
    parent.stdin.write("go\n")
    parent.stdin.flush()
    url = said(parent)
    pid = only(children(parent.pid))
    assert parent.communicate("\n", timeout=60) == ("", "")
    assert parent.returncode == 0
    assert gone(pid)
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(("127.0.0.1", int(url.split(":")[2].removesuffix("/v1"))))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_gone_with_a_killed_parent(
    start: Start, children: Children, gone: Gone, sent: signal.Signals
) -> None:
    streaming = "stream = iter(story(2000)); next(stream); print('streams', flush=True)\n"
    parent = start(UP + STREAM + streaming + WAIT)
    said(parent)
    pid = only(children(parent.pid))
    assert said(parent) == "streams"
    parent.send_signal(sent)
    assert parent.wait(60) == -sent
    assert gone(pid)


def test_gone_with_a_parent_killed_while_it_loads(
    start: Start, children: Children, gone: Gone
) -> None:
    parent = start("from personakit_local import connect; connect('')\n" + WAIT)
    end = time.monotonic() + 60
    while not (found := children(parent.pid)) and time.monotonic() < end:
        time.sleep(0.01)
    parent.kill()
    assert gone(only(found))


def test_the_kernel_ends_a_child_that_cannot_look(start: Start) -> None:
    # xllamacpp holds the interpreter's lock while it loads: no thread of the child sees anything.
    code = (
        "from personakit_local import child\n"
        "import ctypes, sys\n"
        "sys.stdin.buffer.readline(); child._end_while_loading()\n"
        "print('busy', flush=True); ctypes.PyDLL(None).sleep(60)\n"
    )
    busy = start(code)
    assert busy.stdin is not None
    busy.stdin.write("{}\n")
    busy.stdin.flush()
    assert said(busy) == "busy"
    busy.stdin.close()
    busy.stdin = None
    assert busy.wait(30) == -signal.SIGIO


def test_it_ends_when_it_has_another_parent(weights: Path) -> None:
    # As when the parent is killed while a fork of it holds the pipe open.
    job: child.Job = {
        "path": str(weights),
        "name": "m",
        "embedded": True,
        "api_key": "k",
        "parent": os.getppid(),
        "threads": 1,
        "parallel": 1,
        "context": 512,
    }
    with subprocess.Popen([sys.executable, child.__file__], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(60) == 0


def test_ctrl_c_in_a_stream_leaves_the_server_to_the_parent(
    start: Start, children: Children, gone: Gone
) -> None:
    code = """
try:
    for number, chunk in enumerate(story(3000)):
        if number == 3:
            print("streams", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("again" if connect("") == e and len(list(story(4))) > 4 else "another", flush=True)
raise KeyboardInterrupt
"""
    parent = start(UP + STREAM + code)
    said(parent)
    pid = only(children(parent.pid))
    assert said(parent) == "streams"
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does it: the whole group
    assert said(parent) == "interrupted"
    assert said(parent) == "again"
    parent.communicate(timeout=60)
    assert parent.returncode == -signal.SIGINT
    assert gone(pid)


def test_a_dead_child_is_replaced(start: Start, children: Children, gone: Gone) -> None:
    parent = start(UP + WAIT + UP + WAIT)
    url = said(parent)
    pid = only(children(parent.pid))
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert parent.stdin is not None
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert said(parent) != url
    assert only(children(parent.pid)) != pid
    assert parent.communicate("\n", timeout=60) == ("", "")


FORK = """
import os, sys
pid = os.fork()
if pid == 0:
    own = connect("")
    print("own" if own.base_url != e.base_url else "shared", flush=True)
    sys.exit()
os.waitpid(pid, 0)
print("up" if list(story(4)) and connect("") == e else "down", flush=True)
if os.fork() == 0:
    import time
    print(os.getpid(), flush=True)
    time.sleep(100)
"""


def test_forks_neither_share_nor_end_nor_keep_a_server(
    start: Start, children: Children, gone: Gone
) -> None:
    parent = start(UP + STREAM + FORK + WAIT)
    said(parent)
    server = only(children(parent.pid))
    assert said(parent) == "own"
    assert said(parent) == "up"
    fork = int(said(parent))
    parent.kill()
    try:
        assert gone(server)
        assert not gone_already(fork)
    finally:
        os.kill(fork, signal.SIGKILL)
    assert parent.communicate()[1] == ""


def gone_already(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_racing_threads_get_one_server(start: Start, children: Children) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from personakit_local import connect
barrier = Barrier(8)
def ask(_):
    barrier.wait()
    return connect("")
with ThreadPoolExecutor(8) as threads:
    print(len(set(threads.map(ask, range(8)))), flush=True)
"""
    parent = start(code + WAIT)
    assert said(parent) == "1"
    only(children(parent.pid))
    assert parent.communicate("\n", timeout=60) == ("", "")


def test_the_key_is_random_and_not_to_be_seen(
    start: Start, children: Children, endpoint: Endpoint
) -> None:
    theirs = "import os; os.environ['ACME_API_KEY'] = 'canary'; os.environ['ACME'] = 'kept'\n"
    parent = start(theirs + UP + "print(e.api_key.reveal(), flush=True)\n" + WAIT)
    said(parent)
    key = said(parent)
    assert len(key) > 40
    assert endpoint.api_key is not None
    assert key != endpoint.api_key.reveal()
    ps = ["ps", "eww", "-p", str(only(children(parent.pid)))]  # with the environment
    shown = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
    assert "child.py" in shown
    assert "ACME=kept" in shown
    assert key not in shown
    assert "canary" not in shown


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    assert endpoint.base_url.startswith("http://127.0.0.1:")
    port = int(endpoint.base_url.split(":")[2].removesuffix("/v1"))
    # On Linux all of 127.0.0.0/8 is this machine: an answer here would mean 0.0.0.0.
    if sys.platform == "linux":
        with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
            probe.connect(("127.0.0.2", port))


def test_a_file_that_does_not_load(weights: Path, tmp_path: Path, children: Children) -> None:
    broken = tmp_path / "broken.gguf"
    with weights.open("rb") as whole, broken.open("wb") as part:
        part.write(whole.read(3_000_000))
    before = children(os.getpid())
    with pytest.raises(BackendError, match=r"broken\.gguf exited with code 1\n.*") as caught:
        connect(str(broken))
    assert "corrupted or incomplete" in str(caught.value)
    assert children(os.getpid()) == before


def test_a_start_that_takes_too_long(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    monkeypatch.setenv("PERSONAKIT_LOCAL_START_TIMEOUT", "0.001")
    slow = tmp_path / "slow.gguf"
    slow.symlink_to(weights)
    before = children(os.getpid())
    message = r"not ready within 0\.001 s; set PERSONAKIT_LOCAL_START_TIMEOUT to more"
    with pytest.raises(BackendError, match=message):
        connect(str(slow))
    assert children(os.getpid()) == before


def test_another_file_gets_a_server_of_its_own(
    weights: Path, endpoint: Endpoint, tmp_path: Path
) -> None:
    link = tmp_path / "other.gguf"
    shutil.copyfile(weights, link)
    barrier = Barrier(2)

    def ask(model: str) -> Endpoint:
        barrier.wait()
        return connect(model)

    with ThreadPoolExecutor(2) as threads:
        other, same = threads.map(ask, [str(link), ""])
    assert same == endpoint
    assert other.model == "other"
    assert other.base_url != same.base_url
    assert connect(str(link)) == other
