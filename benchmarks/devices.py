"""Does augmentation that imitates other scanners help on a scanner that training has not seen? Each device is left out in turn.

The recipe is the built-in model's, `ultrasound.yaml`; variants differ in `augment` alone. Each row is a run of one fit for each
device, tested on that device. The AUC is of all images pooled, and of each device with its interval by patient. The set
that is external to the built-in model is not looked at here, so a variant can be chosen by this table.

    python benchmarks/devices.py --bus-bra BUSBRA --out OUT [--size 128] [--epochs 6] [--jobs 2] [--only plain tones]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

import mammozoo

RECIPE = Path(__file__).with_name("ultrasound.yaml")
TONES = ["gamma", "blur", "grain"]
VARIANTS = {"plain": [], "tones": TONES, "tones and marks": [*TONES, "calipers"]}


def trained(name: str, given: argparse.Namespace) -> Path:
    """The complete run of one variant, trained as far as it is missing."""
    run: Path = given.out / name.replace(" ", "-")
    if (run / "scores.json").is_file():
        return run
    augment = [*yaml.safe_load(RECIPE.read_text())["augment"], *VARIANTS[name]]
    new = ["--out", run, "--root", given.bus_bra, "--leave-out", "device=*"]
    for setting in (f"augment={augment}", f"size={given.size}", f"epochs={given.epochs}", "split.official=false"):
        new += ["--set", setting]
    words = ["--resume", run] if run.exists() else [RECIPE, *new]
    command = [sys.executable, "-m", "mammozoo", "train", *map(str, words), "--jobs", str(given.jobs), "--no-report"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


def main() -> None:
    """Train what is missing and print a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bus-bra", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    for name in given.only:
        found = mammozoo.evaluate(trained(name, given), subgroup=["device"])
        parts = [f"{one.value} {one.scores['auc']}, n = {one.n}" for one in found.subgroups if one.scores]
        print(f"| {name} | {found.scores['auc'].pooled:.3f}, n = {found.n} | {'; '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main()
