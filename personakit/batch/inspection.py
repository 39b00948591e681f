"""How far a batch is, by its files, also while another process writes them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from personakit.batch.ray.segments import segments_of, summary
from personakit.batch.records import Files, is_locked, recovered
from personakit.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True)
class Status:
    """How far a batch is.

    Attributes:
        persona: The persona's name.
        model: ``provider/model``.
        source: The name of the table.
        rows: The rows that can be sent; None if the table was not checked to its end.
        done: Those with an answer.
        failed: Those that failed for good.
        in_flight: Those that were sent and have neither.
        invalid: The rows that were left out; None if the table was not checked to its end.
        tokens: Tokens, as far as they are known.
        cost: US dollars; None if that of a row is unknown.
        running: Whether a process writes the files now.
        written: When the last line was written, as Unix time.
    """

    persona: str
    model: str
    source: str
    rows: int | None
    done: int
    failed: int
    in_flight: int
    invalid: int | None
    tokens: int
    cost: float | None
    running: bool
    written: float

    @property
    def is_finished(self) -> bool:
        """Whether every row has an answer or has failed for good."""
        return self.rows is not None and self.done + self.failed >= self.rows


def status(out: str | Path) -> Status:
    """Return how far a batch is.

    Args:
        out: The file of its answers, or the folder of an output on Ray; of the latter, rows with
            equal content are counted once.

    Raises:
        UsageError: It is not the output of a batch.
    """
    path = Path(out)
    if (journals := path.with_name(f"{path.name}.journal")).is_dir():
        return _of_workers(journals)
    if path.is_dir() or not path.name:
        raise UsageError(f"{out}: it is a folder; give the file of a batch's answers")
    files = Files.of(path)
    if not files.journal.exists():
        raise _not_a_batch(path)
    heads = files.heads()
    if not heads:
        raise UsageError(f"{files.journal}: it is empty; run the batch again")
    head = heads[-1]
    state = recovered(files[:3], files.known, head.table, lambda _, place: place)
    checked = files.checked(head)
    return Status(
        persona=head.persona,
        model=head.model,
        source=str(head.source.get("name", "")),
        rows=None if checked is None else checked["rows"],
        done=state.done.count,
        failed=state.failed.count,
        in_flight=len(state.in_flight),
        invalid=None if checked is None else checked["invalid"],
        tokens=state.tokens,
        cost=state.cost,
        running=is_locked(files.journal),
        written=max(path.stat().st_mtime for path in files[:3] if path.exists()),
    )


def _of_workers(folder: Path) -> Status:
    """Return how far a batch on Ray is.

    Args:
        folder: The journals of its workers.

    Raises:
        UsageError: There are none.
    """
    head = checked = None
    written, running = 0.0, False
    for files in segments_of(folder):
        for each in files.heads()[-1:]:
            head = each
            if (found := files.checked(each)) is not None:
                checked, source = found, str(each.source.get("name", ""))
        written = max(written, files.journal.stat().st_mtime, files.answers.stat().st_mtime)
        running = running or is_locked(files.journal)
    if head is None or checked is None:
        raise UsageError(f"{folder}: there is no journal of a batch in it; run the batch again")
    counts = summary(folder)
    return Status(
        persona=head.persona,
        model=head.model,
        source=source,
        rows=checked["rows"],
        done=counts.done,
        failed=counts.failed,
        in_flight=counts.in_flight,
        invalid=checked["invalid"],
        tokens=counts.tokens,
        cost=counts.cost,
        running=running,
        written=written,
    )


def _not_a_batch(path: Path) -> UsageError:
    """Return the error for a file that has no journal."""
    for each in path.parent.glob("*.jsonl.journal") if path.parent.is_dir() else ():
        files = Files.of(each.with_suffix(""))
        if path in files:
            return UsageError(
                f"{path}: it belongs to the batch of {files.answers}: "
                f"personakit batch status {shlex.quote(str(files.answers))}"
            )
    if path.exists():
        name = Files.of(path).journal.name
        return UsageError(
            f"{path}: it has no journal ({name}), so it is not the output of a batch; expected the "
            "FILE of `personakit batch … -o FILE`"
        )
    outputs = [each.stem for each in path.parent.glob("*.jsonl.journal")]
    hint = did_you_mean(path.name, outputs, lambda name: str(path.with_name(name)))
    return UsageError(f"{path}: no such file{hint or '; expected the FILE of a batch'}")
