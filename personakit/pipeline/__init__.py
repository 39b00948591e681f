"""The pipeline: layers of plugins around a model call, sync or async, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.pipeline.chain import Chain as Chain
    from personakit.pipeline.dry_run import DryRun as DryRun
    from personakit.pipeline.dry_run import Leaving as Leaving
    from personakit.pipeline.inside import Inside as Inside
    from personakit.pipeline.inside import Layer as Layer
    from personakit.pipeline.inside import sent as sent
    from personakit.pipeline.layers import BETWEEN as BETWEEN
    from personakit.pipeline.layers import RunLayer as RunLayer
    from personakit.pipeline.layers import Start as Start
    from personakit.pipeline.layers import Watch as Watch
    from personakit.pipeline.layers import observed as observed
    from personakit.pipeline.layers import returned as returned
    from personakit.pipeline.layers import with_run_hooks as with_run_hooks
    from personakit.pipeline.layers import within_deadline as within_deadline
    from personakit.pipeline.modes.drivers import Passed as Passed
    from personakit.pipeline.modes.drivers import Run as Run
    from personakit.pipeline.modes.drivers import deferred as deferred
    from personakit.pipeline.modes.drivers import loading as loading
    from personakit.pipeline.modes.drivers import needs_loop as needs_loop
    from personakit.pipeline.modes.drivers import run_async as run_async
    from personakit.pipeline.modes.drivers import run_sync as run_sync
    from personakit.pipeline.modes.resuming import Resuming as Resuming
    from personakit.pipeline.modes.streams import AsyncStream as AsyncStream
    from personakit.pipeline.modes.streams import Stream as Stream
    from personakit.pipeline.options import MAX_ROUNDS as MAX_ROUNDS
    from personakit.pipeline.options import AllOptions as AllOptions
    from personakit.pipeline.options import Backend as Backend
    from personakit.pipeline.options import Options as Options
    from personakit.pipeline.options import Prompt as Prompt
    from personakit.pipeline.options import RunOptions as RunOptions
    from personakit.pipeline.options import Setup as Setup
    from personakit.pipeline.options import attached as attached
    from personakit.pipeline.options import check_names as check_names
    from personakit.pipeline.options import check_setup as check_setup
    from personakit.pipeline.options import keywords as keywords
    from personakit.pipeline.options import not_a_prompt as not_a_prompt
    from personakit.pipeline.together import gather as gather
    from personakit.pipeline.tool_loop import ToolLoop as ToolLoop
    from personakit.pipeline.tool_loop import call_alone as call_alone
    from personakit.pipeline.trace import Step as Step
    from personakit.pipeline.trace import Trace as Trace
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "chain": "Chain",
            "modes.drivers": "Passed Run deferred loading needs_loop run_async run_sync",
            "dry_run": "DryRun Leaving",
            "inside": "Inside Layer sent",
            "layers": (
                "BETWEEN RunLayer Start Watch observed returned with_run_hooks within_deadline"
            ),
            "options": (
                "MAX_ROUNDS AllOptions Backend Options Prompt RunOptions Setup attached "
                "check_names check_setup keywords not_a_prompt"
            ),
            "modes.resuming": "Resuming",
            "modes.streams": "AsyncStream Stream",
            "together": "gather",
            "tool_loop": "ToolLoop call_alone",
            "trace": "Step Trace",
        },
    )
