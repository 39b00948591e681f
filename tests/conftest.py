"""What several test modules need: plugins that are installed, as a package would install them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_folders = itertools.count()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install plugins of a distribution: by name a class, or what an entry point says."""

    def install(distribution: str = "acme", /, **plugins: Any) -> None:
        site = tmp_path / f"site-{next(_folders)}"
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        lines = [
            f"{name} = {it if isinstance(it, str) else f'{it.__module__}:{it.__qualname__}'}"
            for name, it in plugins.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(["[personakit]", *lines, ""]))
        monkeypatch.syspath_prepend(site)

    return install
