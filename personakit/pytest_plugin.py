"""The pytest plugin: `pytest personas/` runs the tests of each persona, one item per test.

It collects YAML files that contain `tests:` and either `system:` or `extends:` at the top level, if
they are below a folder called ``personas``, or are named by the ini option ``personakit_personas``
or on the command line. Until such a file is found, nothing else of personakit is imported: pytest
loads this module in every environment with personakit installed.

The fixture `personakit_runner` is for the tests of plugins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from personakit.runner import Runner
    from personakit.suite import Case, Outcome, Suite
    from personakit.testing import Upstream

FOLDER = "personas"
_TESTS = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?tests[\"']?[ \t]*:", re.MULTILINE)
_PERSONA = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?(?:system|extends)[\"']?[ \t]*:", re.MULTILINE)
_suite = pytest.StashKey["Suite"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the ini option."""
    group = parser.getgroup("personakit", "tests of personas")
    group.addoption(
        "--personakit-record",
        choices=("new", "all", "none"),
        help="record answers from the model: those without a recording (new), all, or none; "
        "default: new, in CI none",
    )
    group.addoption("--personakit-model", metavar="MODEL", help="use this model (provider/model)")
    parser.addini(
        "personakit_personas",
        "folders and files of personas with tests, in addition to folders called personas",
        type="paths",
        default=[],
    )


@pytest.fixture
def personakit_runner() -> Iterator[Callable[..., tuple[Runner, Upstream]]]:
    """Return a function that creates an isolated runner and its fake upstream.

    See `testing.runner`. The runner uses no config, environment or network, and loads only the
    installed plugins that `select=` names. Its connections are closed when the test ends.
    """
    from personakit import testing  # noqa: PLC0415

    runners = []

    def make(*args: Any, **options: Any) -> tuple[Runner, Upstream]:
        running, upstream = testing.runner(*args, **{"select": (), **options})
        runners.append(running)
        return running, upstream

    yield make
    for running in runners:
        running.close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> PersonaFile | None:
    """Collect a persona file with tests."""
    if file_path.suffix != ".yaml" or not _is_ours(file_path, parent):
        return None
    from personakit.base import read_file  # noqa: PLC0415
    from personakit.persona import MAX_BYTES  # noqa: PLC0415

    try:
        source = read_file(file_path, MAX_BYTES)
    except OSError:
        # Collecting it reports why it cannot be read.
        source = b"tests:\nsystem:"
    if not _TESTS.search(source) or not _PERSONA.search(source):
        return None
    collector: PersonaFile = PersonaFile.from_parent(parent, path=file_path)
    return collector


def _is_ours(file: Path, parent: pytest.Collector) -> bool:
    root = parent.config.rootpath
    below = file.relative_to(root) if file.is_relative_to(root) else file
    if FOLDER in below.parts[:-1] or parent.session.isinitpath(file):
        return True
    named = parent.config.getini("personakit_personas")
    return any(file == path or path in file.parents for path in named)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the suite's connections."""
    suite = config.stash.get(_suite, None)
    if suite is not None:
        suite.close()


class PersonaFile(pytest.File):
    """A persona with tests."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the tests of the persona."""
        from personakit.base import printable  # noqa: PLC0415
        from personakit.errors import PersonakitError  # noqa: PLC0415
        from personakit.suite import Broken  # noqa: PLC0415

        try:
            cases = _suite_of(self.config).collect([_shown(self.path)])
        except PersonakitError as error:
            raise self.CollectError(printable(str(error))) from None
        for case in cases:
            if isinstance(case, Broken):
                raise self.CollectError(printable(case.message))
            yield PersonaItem.from_parent(self, name=printable(case.test.name), case=case)


class PersonaItem(pytest.Item):
    """One test of a persona."""

    def __init__(self, *, case: Case, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.case = case

    def runtest(self) -> None:
        """Run the test."""
        outcome = _suite_of(self.config).run(self.case)
        if outcome.failures:
            raise Failed(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the report of a failure, without a traceback of personakit's code."""
        if isinstance(excinfo.value, Failed):
            return Shown(excinfo.value.outcome)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file, the line (counted from 0) and the name of the test."""
        from personakit.base import printable  # noqa: PLC0415

        return self.path, self.case.line() - 1, printable(self.case.name)


class Failed(Exception):
    """The failure of a persona's test."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.fault())
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Crash:
    """The place and message of a failure, for pytest's short summary and JUnit XML."""

    path: str
    lineno: int
    message: str


class Shown:
    """A failure in the form that pytest shows."""

    def __init__(self, outcome: Outcome) -> None:
        from personakit.base import printable  # noqa: PLC0415

        # The process that runs a test is not always the one that prints its report.
        self.text, fault = printable(outcome.report()), printable(outcome.fault())
        self.reprcrash = Crash(printable(outcome.case.path), outcome.case.line(), fault)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: Any) -> None:
        """Print the report."""
        for line in self.text.splitlines():
            tw.line(line)


def _suite_of(config: pytest.Config) -> Suite:
    """Return the suite of a session, created when the first persona is collected."""
    suite = config.stash.get(_suite, None)
    if suite is None:
        from personakit.suite import Suite, default_mode  # noqa: PLC0415

        record = config.getoption("--personakit-record") or default_mode(os.environ)
        suite = Suite(record=record, model=config.getoption("--personakit-model"))
        config.stash[_suite] = suite
    return suite


def _shown(path: Path) -> str:
    """Return a path relative to the current folder, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
