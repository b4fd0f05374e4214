"""Methods beside the papers', each alone against plain training: the same network, images, folds, seed and epochs.

The budget is fixed before: `--epochs` of `--folds` folds. An averaged weight or a smoothed label gets no epoch more, and nothing is
tuned. Runs that are complete are not trained again.

    python benchmarks/methods.py busi --root ~/BUSI --epochs 20 --folds 5 --out runs/methods-busi
    python benchmarks/methods.py phantom:n=60 --backbone test_resnet --weights random --size 64 --epochs 1 --folds 2 --out methods
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import mammozoo
from mammozoo.errors import ConflictError
from mammozoo.training.experiment import resume

METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "label_smoothing=0.1": {"methods.label_smoothing": 0.1},
    "loss=focal:gamma=2": {"methods.loss": "focal:gamma=2"},
    "mixup=0.2": {"methods.mixup": 0.2},
    "cutmix=1": {"methods.cutmix": 1.0},
    "ema=0.99": {"methods.ema": 0.99},
    "clip=1": {"methods.clip": 1.0},
    "accumulate=2": {"methods.accumulate": 2},
    "schedule.warmup=3": {"schedule.warmup": 3},
    "sampling=balanced": {"methods.sampling": "balanced", "class_weights": "none"},
}


def complete(out: Path, settings: dict[str, Any]) -> None:
    """Train the run in `out`, or go on with it, as far as it is missing."""
    if not (out / "run.json").is_file():
        mammozoo.train(None, settings, out=out)
    else:
        with contextlib.suppress(ConflictError):  # complete
            resume(out)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--root")
    parser.add_argument(
        "--classes", help="those of the data set that are trained on, with commas between; all of them otherwise"
    )
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--strategy", default="full")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--folds", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shared = {
        "dataset": given.dataset, "root": given.root, "classes": given.classes and given.classes.split(","),
        "backbone": given.backbone, "weights": given.weights, "strategy": given.strategy, "size": given.size,
        "optimizer.lr": given.lr, "epochs": given.epochs, "split.folds": given.folds, "monitor": "auc",
    }  # fmt: skip
    shared = {key: value for key, value in shared.items() if value is not None}
    print(
        f"| {given.dataset}, {given.epochs} epochs | AUC (95 % interval) | difference from plain (95 % interval, paired) |"
    )
    print("|---|---|---|")
    for name, settings in METHODS.items():
        run = given.out / name.replace(":", "-").replace("=", "-")
        complete(run, shared | settings)
        cells = [str(mammozoo.evaluate(run).scores["auc"]), ""]
        if name != "plain":
            less = mammozoo.compare([run, given.out / "plain"])[0]
            cells[1] = f"{less.difference:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
