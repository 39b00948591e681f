"""`personakit test`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click

from personakit.cli.shared import completing, output
from personakit.cli.shared.keyfile import key_option, use_key
from personakit.cli.shared.options import PersonaName
from personakit.config import Config
from personakit.errors import UsageError, did_you_mean
from personakit.suite import MODES, Broken, Case, Outcome, Suite, default_mode

FOLDER = "personas"
WIDTH = 80
MARKS = {"passed": ".", "broken": "E", "failed": "F"}
# Characters that XML 1.0 excludes, even escaped: https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class Report:
    """The output of the tests: progress, failures and a summary.

    Attributes:
        verbose: Print a line for each test instead of a character.
        results: The outcomes so far, and the broken files.
    """

    verbose: bool
    results: list[Outcome | Broken] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: Outcome | Broken) -> None:
        """Record and show a result."""
        self.results.append(result)
        state = _state(result)
        colour = "green" if state == "passed" else "red"
        if self.verbose:
            title = result.case.name if isinstance(result, Outcome) else result.path
            output.echo(state, fg=colour, end="")
            output.line(f"  {title}")
        else:
            output.echo(MARKS[state], fg=colour, end="\n" * (len(self.results) % WIDTH == 0))

    def finish(self) -> None:
        """Print the failures and the summary."""
        if not self.verbose and len(self.results) % WIDTH:
            output.echo()
        wrong = [result for result in self.results if _state(result) != "passed"]
        for result in wrong:
            output.echo(f"\n{_text(result)}")
        if wrong:
            output.echo()
        output.echo(self._summary(), fg="red" if wrong else "green")

    def _summary(self) -> str:
        states = Counter(map(_state, self.results))
        shown = [f"{states[name]} {name}" for name in reversed(MARKS) if states[name]]
        outcomes = [result for result in self.results if isinstance(result, Outcome)]
        answers = {
            "recorded": sum(outcome.recorded for outcome in outcomes),
            "replayed": sum(outcome.replayed for outcome in outcomes),
        }
        about = ", ".join(f"{n} {what}" for what, n in answers.items() if n)
        seconds = time.perf_counter() - self.started
        ran = ", ".join(shown) or "no tests ran"
        return f"{ran} in {seconds:.2f} s{about and f' (answers: {about})'}"

    def exit_code(self) -> int:
        """Return 1 if a test failed, 2 if only files are broken, otherwise 0."""
        states = set(map(_state, self.results))
        return 1 if "failed" in states else 2 if "broken" in states else 0


@click.command("test")  # fmt: skip
@click.argument("paths", nargs=-1, type=PersonaName())
@click.option(
    "--record",
    type=click.Choice(MODES),
    help="Request and record the answers without a recording (new), all answers, or none. "
    "Default: new; in CI none.",
)
@click.option("-m", "--model", metavar="MODEL", shell_complete=completing.model,
              help="provider/model, such as openai/gpt-5-mini.")  # fmt: skip
@click.option(
    "-k",
    "word",
    metavar="WORD",
    help="Only tests whose name or persona contains WORD.",
)
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first failure.")
@click.option("-v", "--verbose", is_flag=True, help="Show the name of each test.")
@click.option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
@key_option
def command(
    paths: tuple[str, ...],
    record: Any,
    model: str | None,
    word: str | None,
    junit: str | None,
    **options: Any,
) -> int:
    """Run the `tests:` of personas.

    PATHS are files, folders or names of personas. Default: the folder personas. A test with
    `expect:` calls the model once; its answer is recorded in recordings/ next to the persona and
    replayed from then on.

    \b
      personakit test
      personakit test chef -m openai/gpt-5-mini -k diet --record all
    """  # noqa: D301
    config = Config.read()
    if not paths and not Path(FOLDER).is_dir():
        raise UsageError(
            f"folder {FOLDER!r} does not exist here; specify files, folders or personas"
        )
    mode = record or default_mode(config.environ)
    report = Report(options["verbose"])
    with Suite(config, record=mode, model=model) as suite:
        use_key(suite.runner, options["key_file"], model or config.model)
        chosen = _chosen(suite.collect(paths or (FOLDER,)), word, paths or (FOLDER,))
        suite.announce(item for item in chosen if isinstance(item, Case))
        try:
            for item in chosen:
                report.add(suite.run(item) if isinstance(item, Case) else item)
                if options["exitfirst"] and report.exit_code():
                    break
        finally:
            report.finish()
            if junit is not None:
                _write(Path(junit), report.results)
    return report.exit_code()


def _chosen(
    found: Sequence[Case | Broken], word: str | None, paths: Sequence[str]
) -> list[Case | Broken]:
    """Return the tests whose names contain a word, and all broken files."""
    if not found:
        raise UsageError(f"no tests in {', '.join(paths)}; add them to a persona under `tests:`")
    if word is None:
        return list(found)
    names = [item.name for item in found if isinstance(item, Case)]
    chosen = [
        item
        for item in found
        if not isinstance(item, Case) or word.casefold() in item.name.casefold()
    ]
    if not any(isinstance(item, Case) for item in chosen):
        hint = did_you_mean(word, [part for name in names for part in re.split(r"\W+", name)])
        raise UsageError(f"-k: none of the {len(names)} tests has {word!r} in its name{hint}")
    return chosen


def _state(result: Outcome | Broken) -> str:
    if isinstance(result, Broken):
        return "broken"
    return "failed" if result.failures else "passed"


def _text(result: Outcome | Broken) -> str:
    return result.message if isinstance(result, Broken) else result.report()


def _write(file: Path, results: Sequence[Outcome | Broken]) -> None:
    """Write results as JUnit XML."""
    states = Counter(map(_state, results))
    counts = {
        "tests": str(len(results)),
        "failures": str(states["failed"]),
        "errors": str(states["broken"]),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": "personakit", **counts})
    for result in results:
        _add(suite, result)
    ET.indent(root)
    try:
        file.write_bytes(ET.tostring(root, "utf-8", xml_declaration=True) + b"\n")
    except OSError as error:
        raise UsageError(f"--junit: cannot write {file}: {error.strerror}") from None


def _add(suite: ET.Element, result: Outcome | Broken) -> None:
    if isinstance(result, Broken):
        about = {"classname": result.path, "name": "the file", "file": result.path}
        kind = "error"
    else:
        case, kind = result.case, "failure"
        about = {"classname": case.persona.name, "name": case.test.name, "file": case.path}
        about |= {"line": str(case.line()), "time": f"{result.seconds:.3f}"}
    element = ET.SubElement(suite, "testcase", {key: _xml(value) for key, value in about.items()})
    if isinstance(result, Outcome) and not result.failures:
        return
    text = _text(result)
    first = text.partition("\n")[0] if isinstance(result, Broken) else result.fault()
    ET.SubElement(element, kind, {"message": _xml(first)}).text = _xml(text)


def _xml(text: str) -> str:
    """Replace the characters that XML 1.0 excludes."""
    return _NO_XML.sub("\ufffd", text)
