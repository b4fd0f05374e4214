"""Mistakes that a test must notice, put one at a time into a copy of the source.

    python tests/mutants.py                 all of them, an hour on two cores; the survivors are listed at the end
    python tests/mutants.py guard- claim    those whose name contains one of the words
    python tests/mutants.py --check         only whether each text that a mutation replaces is still there, once

`mutants.txt` holds them:

    = file | what pytest is given           for all mutants that follow
    name
    - text, which stands once in the file   \\n is the end of a line
    + what replaces it                      a mutant may have several such pairs

A mutant is tried with the tests that should notice it, and no others. It is killed if one of them fails, or they take ten
minutes. A text that is gone is an error: give the mutant the new text, or take it out with what it was about. Exit code 1
if one survives, 2 if a text is not found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LIMIT = 600  # seconds


@dataclass
class Mutant:
    """A mistake: in `file` the texts `old` are replaced by `new`, and `tests` (arguments of pytest) should fail."""

    name: str
    file: str
    tests: str
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def read(path: Path) -> list[Mutant]:
    """The mutants in a file as described above."""
    mutants: list[Mutant] = []
    file = tests = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line[2:].replace("\\n", "\n")
        match line[:1]:
            case "=":
                file, tests = text.split(" | ")
            case "-":
                mutants[-1].old.append(text)
            case "+":
                mutants[-1].new.append(text)
            case _:
                mutants.append(Mutant(line, file, tests))
    return mutants


def missing(mutant: Mutant) -> list[str]:
    """The texts that do not stand exactly once in the mutant's file."""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    return [old for old in mutant.old if text.count(old) != 1]


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass all the same, in a copy of the source with the mistake in it."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for part in ("src", "plugins"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        file = Path(folder) / mutant.file
        text = file.read_text(encoding="utf-8")
        for old, new in zip(mutant.old, mutant.new, strict=True):
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        path = os.pathsep.join(str(Path(folder) / part) for part in ("src", "plugins"))
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests.split()]
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=_LIMIT,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
        if done.returncode not in (0, 1):  # no test was run
            raise RuntimeError(f"{mutant.name}: pytest {mutant.tests}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == 0


def main() -> int:
    """Try the chosen mutants and list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of names; without any, all mutants")
    parser.add_argument("--check", action="store_true", help="only look for the texts")
    given = parser.parse_args()
    everyone = read(ROOT / "tests" / "mutants.txt")
    chosen = [mutant for mutant in everyone if not given.words or any(word in mutant.name for word in given.words)]
    lost = [(mutant, old) for mutant in chosen for old in missing(mutant)]
    for mutant, old in lost:
        print(f"{mutant.name}: {mutant.file} does not hold this text once: {old!r}")
    if lost or given.check or not chosen:
        print(f"{len(chosen)} mutants, {len(lost)} texts not found")
        return 2 if lost or not chosen else 0
    survivors = []
    for mutant in chosen:
        start = time.monotonic()
        if survives(mutant):
            survivors.append(mutant)
        verdict = "SURVIVED" if mutant in survivors else "killed"
        print(f"{verdict:<9} {mutant.name:<40} {time.monotonic() - start:4.0f} s  {mutant.tests}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
