"""Repositories of git as sources: fetched by the user's git, and never checked out.

Nothing of a repository is run: without a checkout there are no hooks, filters (LFS), links or
submodules. The protocols are those of `_PROTOCOLS`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from personakit.errors import UsageError
from personakit.formats.sources.archives import _is_visible
from personakit.formats.sources.folders import MAX_FILES
from personakit.formats.sources.tree import MAX_FILE, Tree

_PROTOCOLS = "https:ssh:file"
_PATIENCE = 300
_GITHUB = re.compile(
    r"gh:(?P<owner>[A-Za-z0-9][\w-]*)/(?P<name>\w[\w.-]*)(?:@(?P<rev>[^:\s]+))?(?::(?P<path>.+))?\Z"
)
_PAGE = re.compile(
    r"https://github\.com/(?P<owner>[A-Za-z0-9][\w-]*)/(?P<name>\w[\w.-]*?)"
    r"/(?:blob|tree)/(?P<rev>[^/\s]+)(?:/(?P<path>.+))?\Z"
)
_RAW = re.compile(
    r"https://raw\.githubusercontent\.com/(?P<owner>[A-Za-z0-9][\w-]*)/(?P<name>\w[\w.-]*?)"
    r"/(?:refs/(?:heads|tags)/)?(?P<rev>[^/\s]+)/(?P<path>.+)\Z"
)
_URL = re.compile(r"(?P<url>(?:https|ssh|file|http|git|ftp|ext)://\S+?|git@[\w.-]+:\S+?)\Z")
_REVISION = re.compile(r"[A-Za-z0-9][\w./+-]*\Z")
_BLOB = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Address:
    """What to fetch.

    Attributes:
        url: The address for git.
        revision: A branch, a tag or a whole commit id; ``HEAD`` for the default branch.
        path: The folder or file within the repository; empty for all of it.
    """

    url: str
    revision: str = "HEAD"
    path: str = ""

    @classmethod
    def of(cls, source: str) -> Address | None:
        """Return the address that a source names; None if it is a path of this machine.

        Raises:
            UsageError: A part of it is invalid.
        """
        match = _GITHUB.match(source) or _PAGE.match(source) or _RAW.match(source)
        if match is not None:
            url = f"https://github.com/{match['owner']}/{match['name'].removesuffix('.git')}.git"
            return cls(url, match["rev"] or "HEAD", match["path"] or "")._checked(source)
        if source.startswith("gh:"):
            raise UsageError(
                f"{source}: not an address of a repository; write gh:owner/name, "
                f"gh:owner/name@revision or gh:owner/name@revision:path/in/it"
            )
        if _URL.match(source):
            protocol = source.partition(":")[0]
            if "://" in source and protocol not in _PROTOCOLS.split(":"):
                raise UsageError(
                    f"{source}: {protocol} is not used; give an address with https or ssh"
                )
            return cls(source)
        folder = Path(source)
        if all((folder / part).exists() for part in ("HEAD", "objects", "refs")):
            return cls(folder.resolve().as_uri())
        return None

    def _checked(self, source: str) -> Address:
        if not _REVISION.match(self.revision) or ".." in self.revision:
            raise UsageError(
                f"{source}: invalid revision {self.revision!r}; name a branch or a tag"
            )
        parts = PurePosixPath(self.path)
        if parts.is_absolute() or ".." in parts.parts:
            raise UsageError(f"{source}: the path {self.path!r} leads out of the repository")
        return self


@contextlib.contextmanager
def repository_tree(address: Address) -> Iterator[Tree]:
    """Fetch one commit; yield its files while the block runs.

    Raises:
        UsageError: git is not installed or cannot fetch it, or there is no such path.
    """
    git = shutil.which("git")
    if git is None:
        raise UsageError(f"{address.url}: needs git, which is not installed or not on the PATH")
    with tempfile.TemporaryDirectory(prefix="personakit-", ignore_cleanup_errors=True) as folder:
        repository = _Repository(git, Path(folder))
        repository.run("init", "--quiet", "--bare", "--template=", ".")
        repository.run(
            "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
            "--no-write-commit-graph", "--", address.url, address.revision,
            url=address.url,
        )  # fmt: skip
        commit = repository.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").decode().strip()
        yield _tree(repository, address, commit)


@dataclass(frozen=True, slots=True)
class _Repository:
    git: str
    folder: Path

    def run(self, *arguments: str, url: str = "") -> bytes:
        """Run a command of git; return what it prints.

        Raises:
            UsageError: It failed.
        """
        command = [self.git, "-c", f"core.hooksPath={os.devnull}", "-c", "gc.auto=0", *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and no value begins with "-"
                command, cwd=self.folder, env=_environment(), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UsageError(f"{url}: git did not end within {_PATIENCE} seconds") from None
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
            raise UsageError(
                f"{url or 'git'}: git cannot fetch it: {lines[-1]}; check the address with "
                f"`git ls-remote`"
            )
        return done.stdout


def _environment() -> Mapping[str, str]:
    # A repository that the caller works in must not be the one that git uses.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(("GIT_CONFIG", "GIT_SSH", "GIT_SSL"))
    }
    return kept | {
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }


def _tree(repository: _Repository, address: Address, commit: str) -> Tree:
    listed = repository.run("ls-tree", "-r", "-z", "-l", "--full-tree", commit)
    blobs: dict[PurePosixPath, tuple[str, int]] = {}
    for entry in filter(None, listed.split(b"\0")):
        head, _, written = entry.partition(b"\t")
        mode, kind, blob, size = head.decode().split()
        path = PurePosixPath(written.decode("utf-8", "surrogateescape"))
        if kind == "blob" and mode in _BLOB and _is_visible(path) and ".." not in path.parts:
            blobs[path] = blob, int(size)
    if len(blobs) > MAX_FILES:
        raise UsageError(
            f"{address.url}: {len(blobs):,} files; the limit is {MAX_FILES:,}: name a folder, as "
            f"in gh:owner/name:folder"
        )
    wanted = PurePosixPath(address.path) if address.path else None

    def read(path: PurePosixPath) -> bytes:
        blob, size = blobs[path]
        if size > MAX_FILE:
            raise OSError(f"it is larger than {MAX_FILE:,} bytes")
        return repository.run("cat-file", "blob", blob)

    name = address.url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    all_paths = tuple(sorted(blobs))
    if wanted is None:
        return Tree(all_paths, read, (name,), url=address.url, revision=commit)
    inside = tuple(path for path in all_paths if path == wanted or wanted in path.parents)
    if not inside:
        raise UsageError(f"{address.url}: there is no {address.path!r} at {address.revision}")
    return Tree(
        inside, read, (name,), file=inside == (wanted,), url=address.url, revision=commit,
        beside=all_paths,
    )  # fmt: skip
