"""Batches on a cluster, through Ray Data: a worker for its datasets, and the command's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.batch.ray.files.cluster import ClusterBatch as ClusterBatch
    from personakit.batch.ray.segments import Summary as Summary
    from personakit.batch.ray.segments import summary as summary
    from personakit.batch.ray.worker import Worker as Worker
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "files.cluster": "ClusterBatch",
            "segments": "Summary summary",
            "worker": "Worker",
        },
    )
