"""A cluster of Ray on this machine, of several nodes, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
_STORE = 80_000_000


class Cluster:
    """The cluster, as tests see it.

    Attributes:
        address: Its address.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._said()["address"]

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                value: dict[str, Any] = json.loads(line)
                return value
        raise AssertionError("the cluster has ended")

    def add_node(self, cpus: int) -> int:
        """Add a node; return the process of its raylet, which is the parent of its workers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{cpus}\n")
        self._process.stdin.flush()
        pid: int = self._said()["pid"]
        return pid


def workers(pid: int) -> list[psutil.Process]:
    """Return the processes below another one that answer rows."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any("Worker)" in word for word in child.cmdline()):
                    found.append(child)
    return found


def kill(pid: int) -> None:
    """Kill a process and all below it, as the end of a machine does."""
    everything = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


@contextmanager
def cluster(env: Mapping[str, str], cpus: int = 1) -> Iterator[Cluster]:
    """Run a cluster of one node.

    Args:
        env: The environment of its workers.
        cpus: The processors that the first node has.
    """
    env = {**env, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.ray_cluster", str(cpus)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=ROOT, env=env, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Cluster(process)
        finally:
            kill(process.pid)


def main() -> None:
    """Start a node for each number of processors that is read, until standard input ends."""
    from ray.cluster_utils import Cluster as Nodes

    arguments = {"object_store_memory": _STORE, "include_dashboard": False}
    config = {"health_check_period_ms": 1000, "health_check_failure_threshold": 10}
    nodes = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": int(sys.argv[1]), "_system_config": config, **arguments},
    )
    say(address=nodes.address)
    for line in sys.stdin:
        node = nodes.add_node(num_cpus=int(line), object_store_memory=_STORE)
        say(pid=node.all_processes["raylet"][0].process.pid)


def say(**values: Any) -> None:
    sys.stdout.write(f"{json.dumps(values)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    main()
