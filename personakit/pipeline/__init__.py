"""A run: layers around a call, in four modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.pipeline.chain import Chain as Chain
    from personakit.pipeline.chain import Layer as Layer
    from personakit.pipeline.drivers import Run as Run
    from personakit.pipeline.drivers import Stream as Stream
    from personakit.pipeline.drivers import acomplete as acomplete
    from personakit.pipeline.drivers import complete as complete
    from personakit.pipeline.dry_run import Leaving as Leaving
    from personakit.pipeline.dry_run import Nothing as Nothing
    from personakit.pipeline.observers import Watch as Watch
    from personakit.pipeline.options import AS_GIVEN as AS_GIVEN
    from personakit.pipeline.options import Options as Options
    from personakit.pipeline.options import Prompt as Prompt
    from personakit.pipeline.options import SendsRequests as SendsRequests
    from personakit.pipeline.options import attached as attached
    from personakit.pipeline.options import check as check
    from personakit.pipeline.options import check_names as check_names
    from personakit.pipeline.tool_loop import MAX_ROUNDS as MAX_ROUNDS
    from personakit.pipeline.tool_loop import Rounds as Rounds
    from personakit.pipeline.tool_loop import call_tool as call_tool
    from personakit.pipeline.trace import Step as Step
    from personakit.pipeline.trace import Trace as Trace
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "chain": "Chain Layer",
            "drivers": "Run Stream acomplete complete",
            "dry_run": "Leaving Nothing",
            "observers": "Watch",
            "options": "AS_GIVEN Options Prompt SendsRequests attached check check_names",
            "tool_loop": "MAX_ROUNDS Rounds call_tool",
            "trace": "Step Trace",
        },
    )
