"""Entry points are those that importlib.metadata finds, wherever a package is."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from personakit.base.distributions import entry_points, install_command

POINTS = "[acme.things]\nhammer = acme:Hammer\n"


def found(group: str = "acme.things") -> list[str]:
    points = [f"{point.name}={point.value}" for point in entry_points(group)]
    known = [f"{point.name}={point.value}" for point in metadata.entry_points(group=group)]
    assert points == known
    return points


@pytest.mark.parametrize("kind", ["acme-1.0.dist-info", "acme.egg-info", "Acme-1.0.DIST-INFO"])
def test_of_a_package_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / kind).mkdir()
    (tmp_path / kind / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (tmp_path / kind / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (tmp_path / kind / "entry_points.txt").write_text(POINTS)
    assert found() == []
    monkeypatch.syspath_prepend(tmp_path)
    assert found() == ["hammer=acme:Hammer"]
    assert found("acme.other") == []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    assert found() == ["hammer=acme:Hammer"]


def test_of_an_egg_and_of_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    egg = tmp_path / "acme-1.0.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (egg / "EGG-INFO" / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(egg)
    assert found() == ["hammer=acme:Hammer"]
    with zipfile.ZipFile(tmp_path / "tools.zip", "w") as packed:
        packed.writestr("tools-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tools\n")
        packed.writestr("tools-1.dist-info/entry_points.txt", POINTS.replace("things", "tools"))
    monkeypatch.syspath_prepend(tmp_path / "tools.zip")
    assert found("acme.tools") == ["hammer=acme:Hammer"]


def test_of_a_finder_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "hidden" / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)

    class Finder(metadata.DistributionFinder):
        def find_distributions(  # type: ignore[override]
            self, context: metadata.DistributionFinder.Context
        ) -> Iterable[metadata.Distribution]:
            return [metadata.PathDistribution(info)]

        def find_spec(self, *_: object) -> None:
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert found() == ["hammer=acme:Hammer"]


def test_of_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("no package")
    (tmp_path / "odd-1.dist-info").write_text("a file")
    (tmp_path / "odd-2.dist-info" / "entry_points.txt").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "notes.txt")
    monkeypatch.syspath_prepend(tmp_path / "none")
    assert found("acme.nowhere") == []


@pytest.mark.parametrize(
    ("pip", "active", "pipx", "command"),
    [
        (True, True, False, 'pip install -e "acme[test]"'),
        (True, False, False, '{python} -m pip install -e "acme[test]"'),
        (False, True, False, 'uv pip install -e "acme[test]"'),
        (False, False, False, 'uv pip install --python {python} -e "acme[test]"'),
        (True, False, True, 'pipx runpip env install -e "acme[test]"'),
    ],
)
def test_the_command_installs_into_this_environment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pip: bool,
    active: bool,
    pipx: bool,
    command: str,
) -> None:
    folder, packages = tmp_path / "env", tmp_path / "packages"
    folder.mkdir()
    packages.mkdir()
    (packages / "pip.py").touch() if pip else None
    (folder / "pipx_metadata.json").touch() if pipx else None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    monkeypatch.setattr(sys, "path", [str(packages)])
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", str(folder) if active else "")
    found = install_command("-e", "acme[test]")
    assert found == command.format(python="/env/bin/python")


def test_uv_finds_the_environment_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert install_command("acme") == "uv pip install acme"


def test_an_extra_of_a_clone_is_installed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "personakit-9.dist-info").mkdir()
    direct = tmp_path / "personakit-9.dist-info" / "direct_url.json"
    (tmp_path / "personakit-9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: personakit\nVersion: 9\n"
    )
    direct.write_text('{"url": "file:///some/clone", "dir_info": {"editable": true}}')
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command("personakit[serve]").endswith('-e "/some/clone[serve]"')
    direct.write_text('{"url": "file:///some/clone", "dir_info": {}}')
    assert install_command("personakit[serve]").endswith('"personakit[serve]"')
    direct.unlink()
    assert install_command("personakit[serve]").endswith('"personakit[serve]"')
