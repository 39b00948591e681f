"""What is loaded, and when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from personakit_budget.ledger import Ledger, LedgerError


def test_prices_are_loaded_by_the_first_call_only() -> None:
    code = (
        "import sys; from personakit_budget import Budget; Budget(folder='nowhere');"
        "print(sorted({'genai_prices', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_ledger_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "budget.sqlite3")
    with pytest.raises(LedgerError, match=r"budget\.sqlite3 cannot be used: .*it is a FIFO"):
        Ledger(tmp_path).by_persona(0, 1)
