"""What the supervisor tells a worker, besides SIGTERM."""

from __future__ import annotations

import signal

RETIRE: int = getattr(signal, "SIGUSR1", 0)
"""The signal by which a worker leaves new connections to the others, and stops."""
END: int = getattr(signal, "SIGUSR2", 0)
"""The signal by which a worker stops at once."""
AT_ONCE = 1.0
"""Seconds after which the process ends if it has to stop at once, whatever its threads do."""
