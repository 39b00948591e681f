"""An S3 on loopback: moto's server, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENV = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PATIENCE = 60


class S3:
    """The server, as tests see it."""

    def __init__(self, port: int) -> None:
        self._endpoint = f"127.0.0.1:{port}"

    def uri(self, path: str) -> str:
        """Return the URI of ``bucket/path``."""
        return f"s3://{path}?scheme=http&endpoint_override={self._endpoint}&region=us-east-1"

    def filesystem(self) -> Any:
        """Return the file system, which may make buckets."""
        from pyarrow.fs import S3FileSystem

        return S3FileSystem(
            access_key="test", secret_key="test", region="us-east-1", scheme="http",
            endpoint_override=self._endpoint, allow_bucket_creation=True,
        )  # fmt: skip


@contextmanager
def s3() -> Iterator[S3]:
    """Run the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < end, "moto's server did not start"
                    time.sleep(0.1)
            yield S3(port)
        finally:
            process.kill()
