"""A persona over a table: every row once, and on again after any end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.batch.batch import Batch as Batch
    from personakit.batch.errors import BatchStopped as BatchStopped
    from personakit.batch.errors import InvalidRows as InvalidRows
    from personakit.batch.errors import UnderWay as UnderWay
    from personakit.batch.estimate import Estimate as Estimate
    from personakit.batch.exports import Exported as Exported
    from personakit.batch.exports import export as export
    from personakit.batch.inspection import Status as Status
    from personakit.batch.inspection import status as status
    from personakit.batch.progress import Progress as Progress
    from personakit.batch.ray import ClusterBatch as ClusterBatch
    from personakit.batch.results import Result as Result
    from personakit.batch.settings import BatchOptions as BatchOptions
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "batch": "Batch",
            "errors": "BatchStopped InvalidRows UnderWay",
            "estimate": "Estimate",
            "exports": "Exported export",
            "inspection": "Status status",
            "progress": "Progress",
            "ray": "ClusterBatch",
            "results": "Result",
            "settings": "BatchOptions",
        },
    )
