"""testing: TODO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.testing.checks import MODES as MODES
    from personakit.testing.checks import check_filter as check_filter
    from personakit.testing.checks import check_plugin as check_plugin
    from personakit.testing.checks import in_mode as in_mode
    from personakit.testing.server import Received as Received
    from personakit.testing.server import Reply as Reply
    from personakit.testing.server import Server as Server
    from personakit.testing.upstream import Answer as Answer
    from personakit.testing.upstream import Upstream as Upstream
    from personakit.testing.upstream import persona as persona
    from personakit.testing.upstream import pieces as pieces
    from personakit.testing.upstream import runner as runner
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "checks": "MODES check_filter check_plugin in_mode",
            "server": "Received Reply Server",
            "upstream": "Answer Upstream persona pieces runner",
        },
    )
