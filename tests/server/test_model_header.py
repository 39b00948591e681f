"""The upstream model that a client chooses with a header."""

from __future__ import annotations

from pathlib import Path

from helpers.serving import served

from personakit import Registry, hookimpl
from personakit.server import Settings
from personakit.testing import runner


class Files:
    """A plugin with a provider whose models are files, as that of personakit-local."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        registry.provider("files", base_url="http://127.0.0.1:9/v1", names_file=_is_path)


def _is_path(rest: str) -> bool:
    return rest.startswith("/")


def test_a_client_cannot_name_a_file_of_the_server(tmp_path: Path) -> None:
    """A persona cannot, either: the server would read any file, and tell whether it exists."""
    (tmp_path / "p.yaml").write_text("system: You help.\n")
    running, upstream = runner(["Hello!"], plugins=[Files()], path=[tmp_path])
    with served(running, Settings(open=True, ledger=tmp_path / "ledger.db")) as server:
        refused = server.chat(headers={"x-personakit-model": "files//etc/passwd"})
        assert (refused.status, refused.error["param"]) == (400, "x-personakit-model")
        assert "/etc" not in refused.error["message"]
        assert server.chat(headers={"x-personakit-model": "files/small"}).status == 200
    assert [request.model for request in upstream.requests] == ["files/small"]
