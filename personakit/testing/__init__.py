"""What authors of plugins and personas test with: fakes, a real server, and checks.

::

    from personakit.testing import check_plugin

    def test_shout():
        response = check_plugin(Shout(), "Hi!", ["hello"])
        assert response.text == "HELLO"
"""

from __future__ import annotations

from personakit.testing.checks import MODES, check_filter, check_plugin, in_mode
from personakit.testing.server import Received, Reply, Server
from personakit.testing.upstream import Answer, Upstream, persona, pieces, runner

__all__ = [
    "MODES",
    "Answer",
    "Received",
    "Reply",
    "Server",
    "Upstream",
    "check_filter",
    "check_plugin",
    "in_mode",
    "persona",
    "pieces",
    "runner",
]
