"""A server whose ledger cannot be read."""

from __future__ import annotations

from pathlib import Path

from helpers.serving import served

from personakit.server import Settings
from personakit.testing import runner


def test_probes_are_answered_while_the_ledger_cannot_be_read(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"not a database" * 1000)
    running, upstream = runner(["Hello!"], path=[tmp_path])
    with served(running, Settings(open=True, ledger=ledger)) as server:
        assert server.get("/health").status == 200
        assert server.get("/metrics").status == 200
        ready = server.get("/ready")
        assert (ready.status, ready.json["status"]) == (503, "not ready")
        assert server.get("/v1/models").error["code"] == "ledger_unavailable"
        answer = server.chat()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert not upstream.requests
