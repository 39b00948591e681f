"""Run the tests of personas, for pytest and for `personakit test`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.suite.cassettes import MODES as MODES
    from personakit.suite.collect import Broken as Broken
    from personakit.suite.collect import Case as Case
    from personakit.suite.collect import Outcome as Outcome
    from personakit.suite.suite import Suite as Suite
    from personakit.suite.suite import default_mode as default_mode
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "cassettes": "MODES",
            "collect": "Broken Case Outcome",
            "suite": "Suite default_mode",
        },
    )
