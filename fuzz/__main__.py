"""Fuzz every target: `python -m fuzz MINUTES [TARGET…]`.

An input that fails is kept in `fuzz/corpus/TARGET`, which the tests replay. With atheris, which the
dependency group `fuzz` installs where it has a wheel, coverage guides the inputs; without it, they
are random changes of the seeds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEGABYTES = 300
"""The memory that the inputs of one target may add."""


def main() -> int:
    """Divide the minutes among the targets; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("minutes", type=float, help="of all targets together")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the random changes")
    parser.add_argument("--count", type=int, default=0, help="of inputs; 0 for no limit")
    parser.add_argument("--random", action="store_true", help="do not use atheris")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None and not chosen.random
    if chosen.alone:
        seconds = chosen.minutes * 60
        if guided:
            _guided(chosen.targets[0], seconds, chosen.seed)
        return _random(chosen.targets[0], seconds, chosen.seed, chosen.count)
    # Not earlier: atheris instruments modules when they are imported.
    from fuzz.targets import TARGETS

    names = chosen.targets or list(TARGETS)
    if not guided:
        print("atheris is not used: the inputs are random changes of the seeds", flush=True)
    # A target in a process of its own: a hang or a crash ends only that one.
    more = ["--random"] if chosen.random else []
    codes = [
        subprocess.run(
            [sys.executable, "-m", "fuzz", str(chosen.minutes / len(names)), name, "--alone",
             "--seed", str(chosen.seed), "--count", str(chosen.count), *more],
            check=False,
        ).returncode
        for name in names
    ]  # fmt: skip
    for name, code in zip(names, codes, strict=True):
        print(f"{name}: {'failed' if code else 'nothing found'}")
    return int(any(codes))


def _guided(name: str, seconds: float, seed: int) -> None:
    """Fuzz a target with atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["personakit"]):
        from fuzz.seeds import seeds
        from fuzz.targets import CORPUS, SECONDS, TARGETS

        # Modules that are imported on use are instrumented only here.
        for data in seeds(name):
            TARGETS[name](data)
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(name)):
            Path(folder, str(number)).write_bytes(data)
        limits = [f"-max_total_time={int(seconds)}", f"-timeout={int(SECONDS * 5)}"]
        limits += ["-rss_limit_mb=900", "-max_len=20000", f"-seed={seed or 1}"]
        limits += [f"-artifact_prefix={CORPUS / name}/", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *limits, folder], TARGETS[name])
        atheris.Fuzz()


def _random(name: str, seconds: float, seed: int, count: int) -> int:
    """Fuzz a target with random changes of its seeds; return 1 if it failed."""
    from fuzz.seeds import mutated, seeds
    from fuzz.targets import SECONDS, TARGETS

    chance, known, failed = random.Random(seed), seeds(name), 0
    for data in known:
        TARGETS[name](data)
    before, slowest, done = _megabytes(), 0.0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (count and done >= count):
        data = mutated(known, chance)
        begun = time.process_time()
        try:
            TARGETS[name](data)
        except Exception as error:
            failed = _keep(name, data, repr(error)[:200])
        took = time.process_time() - begun
        slowest, done = max(slowest, took), done + 1
        if took > SECONDS:
            failed = _keep(name, data, f"it took {took:.1f} s")
    added = _megabytes() - before
    print(f"{name}: {done:,} inputs, slowest {slowest:.2f} s, {added} MB more", flush=True)
    return failed or int(added > MEGABYTES)


def _keep(name: str, data: bytes, reason: str) -> int:
    from fuzz.targets import CORPUS

    file = CORPUS / name / hashlib.sha256(data).hexdigest()[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    print(f"{name}: {reason}; kept as {file}", flush=True)
    return 1


def _megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
