"""Measure personakit beside its peers, in turns, and print tables of ratios."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks import LONG, QUESTIONS
from benchmarks.harness import report, traffic
from benchmarks.harness.bench import Bench
from benchmarks.harness.envs import ROOT, Environments, Missing

KNOWN = (*QUESTIONS, *LONG)


def main(arguments: list[str] | None = None) -> int:
    """Ask the questions and print what they find out."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="question", help=", ".join(KNOWN))
    parser.add_argument("--quick", action="store_true", help="do less: under 5 minutes for all")
    parser.add_argument(
        "--own", action="store_true", help="no environments of peers: this interpreter alone"
    )
    parser.add_argument(
        "--count", type=int, default=0, metavar="NUMBER", help="the requests of soak: 500000"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the results into a page")
    parser.add_argument(
        "--checkout", type=Path, metavar="FOLDER", action="append", default=[],
        help="measure that personakit; given twice, the first is compared with the second alone",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    unknown = [name for name in options.questions if name not in KNOWN]
    if unknown:
        parser.error(f"no question {unknown[0]!r}; there are {', '.join(KNOWN)}")
    if options.write and not options.write.is_file():
        parser.error(f"no file {options.write}")
    if len(options.checkout) > 2 or (len(options.checkout) == 2 and options.questions):
        parser.error("--checkout twice compares two checkouts, and asks nothing else")
    checkouts = [folder.resolve() for folder in options.checkout] or [ROOT]
    environments = Environments(options.own, *checkouts)
    try:
        environments.python("personakit")
    except Missing as why:
        parser.exit(1, f"personakit of {environments.checkout} cannot be installed: {why}\n")
    with traffic.serving() as server:
        bench = Bench(environments, server, options.quick, options.count)
        about = report.machine(maximum=traffic.maximum(server), quick=options.quick)
        print(about, flush=True)
        questions, wrong = options.questions or QUESTIONS, False
        for name in ("harness.against",) if environments.before else questions:
            start = time.monotonic()
            tables = importlib.import_module(f"benchmarks.{name}").ask(bench)
            text = report.markdown(tables)
            wrong = wrong or any("**no**" in row for table in tables for row in table.rows)
            print(f"\n## {name} ({time.monotonic() - start:.0f} s)\n\n{text}", flush=True)
            if options.write:
                report.write(options.write, name, f"{text}\n{about}\n", tables)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
