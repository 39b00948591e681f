"""What is loaded, and when."""

import subprocess
import sys


def test_prices_are_loaded_by_the_first_call_only() -> None:
    code = (
        "import sys; from personakit_budget import Budget; Budget(folder='nowhere');"
        "print(sorted({'genai_prices', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
