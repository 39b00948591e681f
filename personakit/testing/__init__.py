"""Test tools for authors of plugins and personas: fakes, a real server, and checks.

::

    from personakit.testing import check_plugin

    def test_shout():
        response = check_plugin(Shout(), "Hi!", ["hello"])
        assert response.text == "HELLO"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.testing.backend_checks import check_backend as check_backend
    from personakit.testing.checks import MODES as MODES
    from personakit.testing.checks import check_filter as check_filter
    from personakit.testing.checks import check_plugin as check_plugin
    from personakit.testing.checks import in_mode as in_mode
    from personakit.testing.fake_backend import Answer as Answer
    from personakit.testing.fake_backend import Upstream as Upstream
    from personakit.testing.fake_backend import persona as persona
    from personakit.testing.fake_backend import pieces as pieces
    from personakit.testing.fake_backend import runner as runner
    from personakit.testing.memory_journals import MemoryJournals as MemoryJournals
    from personakit.testing.replay import check_replay as check_replay
    from personakit.testing.server import Received as Received
    from personakit.testing.server import Reply as Reply
    from personakit.testing.server import Server as Server
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "backend_checks": "check_backend",
            "checks": "MODES check_filter check_plugin in_mode",
            "fake_backend": "Answer Upstream persona pieces runner",
            "memory_journals": "MemoryJournals",
            "replay": "check_replay",
            "server": "Received Reply Server",
        },
    )
