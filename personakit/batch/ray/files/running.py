"""Run datasets of Ray Data: read and check files, answer their rows, write the output."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Ray would run each worker with the command line of `uv run` in a copy of the working folder.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

import ray
import ray.data

from personakit.batch.ray.files.answering import FilesWorker
from personakit.batch.ray.files.checking import examined
from personakit.batch.ray.files.reading import RowsSource
from personakit.batch.ray.storage import Place
from personakit.batch.rows import Columns
from personakit.errors import PersonakitError, RunError, UsageError
from personakit.persona import Reference

_LARGEST = 1 << 20
_FEWEST, _MOST = 64, 1024
_BLOCKS = 8
"""The blocks of a worker, at least, so that all of them end at about the same time."""
_ROWS_OF_FILE = 50_000
_SHARE = 0.5
_LOCAL = "local"
_PATIENCE = 10.0
_ADVICE = "start a cluster with `ray start --head`, or leave the address out"
_FREE = {"num_cpus": 0}
"""Reading and writing find room also when a node is lost and the workers have taken all CPUs."""
_FILES_AT_ONCE = 8
_SUCCESS = "_SUCCESS"
_ERROR = re.compile(r"^personakit\.(?:\w+\.)+[A-Z]\w+: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """What is read; see `RowsSource`."""

    place: Place
    persona: Reference
    columns: Columns
    dedupe: bool = True

    def dataset(self) -> Any:
        """Return the dataset of its rows.

        Raises:
            UsageError: There are none.
        """
        try:
            source = RowsSource(self.place, self.persona, self.columns, dedupe=self.dedupe)
        except (OSError, ValueError) as error:
            message = str(error).partition("\n")[0]
            raise UsageError(f"{self.place.name}: cannot be read: {message}") from None
        return ray.data.read_datasource(source, concurrency=_FILES_AT_ONCE, **_FREE)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with the rows.

    Attributes:
        arguments: Those of a `FilesWorker`.
        workers: How many of them there are.
        out: The output.
        format: ``parquet``, ``jsonl`` or ``csv``.
        rows: How many rows there are.
        size: Their bytes.
    """

    arguments: dict[str, Any]
    workers: int
    out: Place
    format: str
    rows: int
    size: int

    @property
    def block(self) -> int:
        """The bytes of a block: what a worker gets at once."""
        rows = min(_MOST, max(_FEWEST, self.rows // (_BLOCKS * self.workers)))
        return max(1, min(_LARGEST, rows * self.size // max(1, self.rows)))


@contextmanager
def connected(address: str | None) -> Iterator[int]:
    """Connect to a cluster, or start one; yield the number of its CPUs.

    Raises:
        UsageError: There is no cluster at the address.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    own = not ray.is_initialized()
    if own:
        # Without one, Ray looks for a cluster that has run here, and may have ended.
        address = address or os.environ.get("RAY_ADDRESS") or _LOCAL
        _check_reachable(address)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            message = str(error).partition("\n")[0]
            raise UsageError(f"--address {address}: {message}; {_ADVICE}") from error
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        with warnings.catch_warnings():
            # Ray's advice about how many blocks there are is for those who choose that.
            warnings.filterwarnings("ignore", module=r"ray\.", category=UserWarning)
            yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        context.target_max_block_size, context.enable_progress_bars = before
        if own:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check that something listens at an address; Ray would wait for it for minutes.

    Raises:
        UsageError: Nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"--address {address}: {reason}; {_ADVICE}") from None


def examined_rows(source: Source) -> Iterator[dict[str, Any]]:
    """Yield what `examined` says of each block.

    Raises:
        UsageError: A file cannot be read.
    """
    options = ray.data.DataContext.get_current().execution_options
    # Of two rows with one key, the second is the faulty one.
    before, options.preserve_order = options.preserve_order, True
    try:
        yield from _examined(source)
    finally:
        options.preserve_order = before


def _examined(source: Source) -> Iterator[dict[str, Any]]:
    with _explained():
        dataset = source.dataset().map_batches(
            examined, batch_size=None, batch_format="pyarrow", **_FREE
        )
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table.to_pylist()


def run(source: Source, job: Job) -> None:
    """Answer rows, and write the output.

    Raises:
        PersonakitError: A worker could not begin, or Ray gave up.
    """
    ray.data.DataContext.get_current().target_max_block_size = job.block
    with _explained():
        dataset = source.dataset().map_batches(
            FilesWorker,
            fn_constructor_kwargs=job.arguments,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=job.workers, max_tasks_in_flight_per_actor=4, max_concurrent_calls_per_actor=2
            ),
            num_cpus=_SHARE,
        )
        write = {
            "parquet": dataset.write_parquet,
            "jsonl": dataset.write_json,
            "csv": dataset.write_csv,
        }[job.format]
        write(
            job.out.path,
            filesystem=job.out.filesystem,
            mode=ray.data.SaveMode.OVERWRITE,
            min_rows_per_file=_ROWS_OF_FILE,
            ray_remote_args=_FREE,
        )
        job.out.filesystem.create_dir(job.out.path)  # of no rows, nothing was written
        job.out.write(_SUCCESS, b"")


@contextmanager
def _explained() -> Iterator[None]:
    """Raise the error of a row's reader or of a worker without Ray's errors around it."""
    try:
        yield
    except PersonakitError as error:
        raise _own(error) or error from None
    except Exception as error:
        if (own := _own(error)) is not None:
            raise own from error
        text = str(error).strip()
        # A worker that cannot begin is known to Ray by its traceback alone.
        if found := _ERROR.findall(text):
            raise RunError(f"a worker: {found[-1].strip()}") from error
        message = text.partition("\n")[0]
        raise RunError(f"Ray: {type(error).__name__}: {message}") from error


def _own(error: BaseException) -> PersonakitError | None:
    """Return the error of personakit that one of Ray has come from; None if it is none."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        if isinstance(each, PersonakitError) and type(each).__module__.startswith("personakit."):
            return each
        waiting += [each.__cause__, each.__context__, getattr(each, "cause", None)]
    return None
