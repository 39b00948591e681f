"""An installed plugin with a tool that touches the network."""

from __future__ import annotations

from pathlib import Path

MODULE = """
from personakit import hookimpl

def search(words: str) -> str:
    "Search the web."
    return words

class Web:
    @staticmethod
    @hookimpl
    def setup(registry):
        registry.tool(search, touches=["network"])
"""


def install(site: Path) -> str:
    """Install the plugin `web` in a folder, and return the folder as a value of PYTHONPATH."""
    info = site / "web-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "web_plugin.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: web\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[personakit]\nweb = web_plugin:Web\n")
    return str(site)
