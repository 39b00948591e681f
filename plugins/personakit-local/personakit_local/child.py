"""The child process: serves one model on loopback until its parent ends.

It runs as a script and imports nothing from personakit. It reads one line of JSON from standard
input, which then stays open as long as the parent lives. It prints one line of JSON with the
address, or the error messages of llama.cpp.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import sys
import threading
from pathlib import Path
from typing import Any, TypedDict

GREETING = (
    "{%- set messages = messages if messages | selectattr('role', 'equalto', 'user') | list "
    "else messages + [{'role': 'user', 'content': 'Please begin.'}] -%}"
)
"""A prefix for chat templates that adds a user message to a conversation without one: models are
trained on user turns, and SmolLM2 often answers a lone system message with endless repetition. It
answers "Hello!" with "Hello!", and this message with what the system message asks for."""

TEMPLATE_KEY = b"tokenizer.chat_template"
METADATA = 64 << 20
"""The bytes of a GGUF file that are searched for metadata; vocabularies need up to about 20 MB."""


class Job(TypedDict):
    """The JSON object that the parent sends."""

    path: str
    name: str
    embedded: bool
    api_key: str
    parent: int
    threads: int
    parallel: int
    context: int


def main() -> None:
    """Serve the model that standard input describes; never return."""
    job: Job = json.loads(sys.stdin.buffer.readline())
    watch = threading.Thread(target=_end_with_parent, args=[job["parent"]], daemon=True)
    watch.start()
    _end_while_loading()
    try:
        server = _serve(job)
    except Exception as error:
        _say(f"{type(error).__name__}: {error}")
        os._exit(1)
    _say(json.dumps({"url": server.listening_address}))
    # The parent stops reading here, and a full pipe would stop the server.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    watch.join()


def chat_template(file: Path) -> str:
    """Return the chat template in a GGUF file's metadata, ``""`` if it is missing.

    An entry consists of the key, its type (4 bytes, the number 8 for text), the length of the text
    (8 bytes) and the text.

    Args:
        file: The GGUF file.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        entry = TEMPLATE_KEY + (8).to_bytes(4, "little")
        start = data.find(len(TEMPLATE_KEY).to_bytes(8, "little") + entry, 0, METADATA)
        if start < 0:
            return ""
        start += 8 + len(entry)
        length = int.from_bytes(data[start : start + 8], "little")
        return data[start + 8 : start + 8 + length].decode(errors="replace")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _serve(job: Job) -> Any:
    """Load the model and return its server, which runs in its own threads."""
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.model_alias = {job["name"]}
    params.api_keys = [job["api_key"]]
    params.verbosity = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    params.n_parallel = job["parallel"]
    params.n_ctx = job["context"] * job["parallel"]  # llama.cpp divides it among the slots
    params.cache_ram_mib = 0  # the default lets old prompts fill 8 GB
    params.prefill_assistant = False  # do not continue the last few-shot answer
    params.ui = False
    if template := chat_template(Path(job["path"])):
        params.chat_template = GREETING + template
    if job["embedded"]:
        # Half the memory at the same speed.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
    return xllamacpp.Server(params)


def _end_with_parent(parent: int) -> None:
    """End this process when standard input closes or the parent changes."""
    if sys.platform == "win32":
        sys.stdin.buffer.read()
    else:
        # A process forked from the parent may hold the other end of the pipe open, so check the
        # parent as well.
        while os.getppid() == parent and not select.select([0], [], [], 1.0)[0]:
            pass
    os._exit(0)


def _end_while_loading() -> None:
    """Let the kernel end this process when standard input closes.

    xllamacpp holds the GIL while it loads a model, for minutes if the model is large, so no Python
    thread can watch during that time.
    """
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415

        with contextlib.suppress(OSError):
            fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
            flags = fcntl.fcntl(0, fcntl.F_GETFL)
            fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)  # then SIGIO, which ends a process


if __name__ == "__main__":
    main()
