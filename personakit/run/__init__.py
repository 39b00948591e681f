"""A run: layers around a call, in four modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.run.chain import Chain as Chain
    from personakit.run.chain import Layer as Layer
    from personakit.run.drivers import Run as Run
    from personakit.run.drivers import Stream as Stream
    from personakit.run.drivers import acomplete as acomplete
    from personakit.run.drivers import complete as complete
    from personakit.run.dry_run import Leaving as Leaving
    from personakit.run.dry_run import Nothing as Nothing
    from personakit.run.observers import Watch as Watch
    from personakit.run.options import AS_GIVEN as AS_GIVEN
    from personakit.run.options import Options as Options
    from personakit.run.options import Prompt as Prompt
    from personakit.run.options import SendsRequests as SendsRequests
    from personakit.run.options import check as check
    from personakit.run.options import check_names as check_names
    from personakit.run.tool_loop import MAX_ROUNDS as MAX_ROUNDS
    from personakit.run.tool_loop import Rounds as Rounds
    from personakit.run.tool_loop import call_tool as call_tool
    from personakit.run.trace import Step as Step
    from personakit.run.trace import Trace as Trace
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "chain": "Chain Layer",
            "drivers": "Run Stream acomplete complete",
            "dry_run": "Leaving Nothing",
            "observers": "Watch",
            "options": "AS_GIVEN Options Prompt SendsRequests check check_names",
            "tool_loop": "MAX_ROUNDS Rounds call_tool",
            "trace": "Step Trace",
        },
    )
