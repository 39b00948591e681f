"""examples/chef.ipynb runs from the first cell to the last, with the embedded model."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.notebook import failed, opened, shown

FILE = Path(__file__).parent.parent.parent / "examples" / "chef.ipynb"
CELLS: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["cells"]


@pytest.mark.skipif(sys.platform != "linux", reason="other tests ask the model elsewhere")
def test_the_notebook_runs_with_the_embedded_model(tmp_path: Path) -> None:
    kept = ("PATH", "PERSONAKIT_LOCAL_THREADS", "COVERAGE", "COV_")
    env = {k: v for k, v in os.environ.items() if k.startswith(kept)}
    with opened(tmp_path, {**env, "HOME": str(tmp_path)}) as notebook:
        sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
        done = [notebook(source) for source in sources]
    assert [failed(cell) for cell in done] == [""] * len(done)
    assert "guests" in shown(done[1], "text/html")
    answers = [shown(cell) for cell in done if "smollm2" in shown(cell)]
    assert len(answers) == 3
    assert "diet=vegan · guests=4" in answers[0]
    assert "shopping list for the market" in shown(done[6], "text/html")
    assert done[-1].outputs[0].data["application/vnd.jupyter.widget-view+json"]


def test_the_file_has_no_outputs_and_nothing_of_a_machine() -> None:
    assert all(not cell.get("outputs") and not cell["metadata"] for cell in CELLS)
    metadata = json.loads(FILE.read_text("utf-8"))["metadata"]
    assert set(metadata) == {"kernelspec", "language_info"}
    assert metadata["language_info"] == {"name": "python"}
