"""How long until `mammozoo predict --example` has answered, against importing torch and timm alone?

    python benchmarks/startup.py [--rounds 5] [--json FILE]

Every command runs in a process of its own, in turns; one round warms the disk's cache and is not counted. Seconds by
the clock and of the processor: on a busy machine only the latter can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import torch, timm": ["-c", "import torch, timm"],
    "mammozoo --help": ["-m", "mammozoo", "--help"],
    "mammozoo predict --example": ["-m", "mammozoo", "predict", "--example"],
}
PEER = "import torch, timm"


def measure(words: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="for `predict`; without it, the built-in model")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    commands = dict(COMMANDS)
    if given.model:
        commands[f"mammozoo predict --model {given.model}"] = [*COMMANDS[list(COMMANDS)[-1]], "--model", given.model]
    load = os.getloadavg()[0]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(given.rounds + 1):
        for name, words in commands.items():
            seconds = measure(words)
            if turn:
                found[name].append(seconds)
    print(f"{given.rounds} rounds, load {load:.1f} before\n")
    print(f"| command | seconds | of the processor | of `{PEER}` |\n|---|---|---|---|")
    rows = []
    for name, times in found.items():
        ratio = median(mine[1] / other[1] for mine, other in zip(times, found[PEER], strict=True))
        clock, busy = (median(t[k] for t in times) for k in (0, 1))
        rows.append({"command": name, "seconds": clock, "cpu_seconds": busy, "ratio": ratio})
        print(f"| `{name}` | {clock:.2f} | {busy:.2f} | {ratio:.2f} |")
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "load": load}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
