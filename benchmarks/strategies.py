"""Which strategy for one's own images? Each on two data sets, with the same budget, and on the other set afterwards.

A strategy is tried with two learning rates, in every fold; the one with the better mean validation AUC reports. The budget is
the same for all: epochs, images, size, augmentation. The score is out of fold, with its interval by group. "Elsewhere" is the mean
of the folds' models on the other set, which is looked at once, when the run is complete. `linear-probe` trains no network: a
logistic regression (scikit-learn) on the features of the untrained one, with the C that the fold's validation part prefers.
Runs that are complete are not trained again; `--only` names strategies.

    python benchmarks/strategies.py --busi BUSI --bus-bra BUSBRA --out OUT [--size 128] [--epochs 6] [--jobs 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

CLASSES = ("benign", "malignant")
#: Strategy → the learning rates it is tried with: lower where pretrained layers move.
STRATEGIES = {
    "frozen": (1e-2, 1e-3),
    "linear-probe": (),
    "last-blocks:1": (1e-3, 3e-4),
    "full": (1e-3, 3e-4),
    "expdecay": (1e-3, 3e-4),
    "drs": (1e-2, 1e-3),
    "drs+last-blocks:1": (1e-3, 3e-4),
    "peft-lora:r=4": (1e-2, 1e-3),
}
FOLDS = {"busi": 3, "bus-bra": 2}  # of which the larger set has fewer, so that both take as long
CS = np.logspace(-4, 2, 13)


def mammozoo(*words: object, json_out: bool = True) -> Any:
    """What `mammozoo WORDS --json` prints."""
    command = [sys.executable, "-m", "mammozoo", *map(str, words), *(["--json"] if json_out else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout) if json_out else None


def train(name: str, strategy: str, given: argparse.Namespace) -> Path:
    """The complete run of a strategy on one set, trained as far as it is missing."""
    run: Path = given.out / name / strategy.replace(":", "-").replace("=", "")
    if (run / "scores.json").is_file():
        return run
    rates = ", ".join(f"{rate:g}" for rate in STRATEGIES[strategy])
    settings = {
        "dataset": name, "root": given.roots[name], "classes": f"[{','.join(CLASSES)}]", "backbone": "tf_efficientnet_lite0",
        "weights": "imagenet", "strategy": strategy, "head": "gap:dropout=0.2", "size": given.size, "fit": "pad",
        "augment": "[hflip]", "epochs": given.epochs, "batch": 32, "optimizer.name": "adamw", "monitor": "auc",
        "schedule": "{kind: cosine, warmup: 1}", "split.folds": FOLDS[name], "split.val": 0.15,
        "grid": f"{{optimizer.lr: [{rates}]}}",
    }  # fmt: skip
    new = ("--out", run, *(word for item in settings.items() for word in ("--set", "=".join(map(str, item)))))
    words = ("--resume", run) if run.exists() else new
    mammozoo("train", *words, "--jobs", given.jobs, "--no-report", json_out=False)
    return run


def probe(name: str, given: argparse.Namespace) -> tuple[Any, Any]:
    """Scores of the linear probe on its own set and elsewhere, by tables that `evaluate` scores like any other."""
    frozen, found = train(name, "frozen", given), {}
    for at in FOLDS:
        out = given.out / name / f"features-{at}.npz"
        if not out.exists():
            mammozoo("embed", frozen, given.roots[at], "--dataset", at, "--out", out, json_out=False)
        arrays = np.load(out)
        kept = np.isin(arrays["labels"], CLASSES)
        found[at] = {key: arrays[key][kept] for key in arrays.files}
    own, other = found[name], next(found[at] for at in FOLDS if at != name)
    truth = (own["labels"] == CLASSES[1]).astype(int)
    place = {str(one): i for i, one in enumerate(own["ids"])}
    answers, elsewhere = np.full(len(truth), np.nan), []
    for split in json.loads((frozen / "splits.json").read_text())["splits"]:
        train_, val, test = ([place[one] for one in split[part]] for part in ("train", "val", "test"))
        mean, spread = own["embeddings"][train_].mean(0), own["embeddings"][train_].std(0) + 1e-6
        scaled = (own["embeddings"] - mean) / spread
        models = [
            LogisticRegression(C=c, max_iter=2000, class_weight="balanced").fit(scaled[train_], truth[train_])
            for c in CS
        ]
        best = max(models, key=lambda model: roc_auc_score(truth[val], model.decision_function(scaled[val])))
        answers[test] = best.predict_proba(scaled[test])[:, 1]
        elsewhere.append(best.predict_proba((other["embeddings"] - mean) / spread)[:, 1])
    return (
        _scored(given.out / name / "probe.csv", own, answers),
        _scored(given.out / name / "probe-elsewhere.csv", other, np.mean(elsewhere, axis=0)),
    )


def _scored(table: Path, of: dict[str, Any], answers: Any) -> Any:
    rows = zip(of["ids"], of["labels"], of["groups"], answers, strict=True)
    lines = [f"{one},{label},{group},{1 - p},{p}\n" for one, label, group, p in rows]
    table.write_text("id,truth,group,prob_benign,prob_malignant\n" + "".join(lines))
    return mammozoo("evaluate", table)["scores"]["auc"]


def elsewhere(name: str, run: Path, given: argparse.Namespace) -> Any:
    """The AUC of the run's models together on the other set, looked at once."""
    (other,) = (at for at in FOLDS if at != name)
    kept = run / f"elsewhere-{other}.json"
    if not kept.exists():
        kept.write_text(json.dumps(mammozoo("evaluate", run, "--dataset", other, "--root", given.roots[other])))
    return json.loads(kept.read_text())["scores"]["auc"]


def learning(run: Path) -> int:
    """How many parameters the strategy trains."""
    return int(mammozoo("train", run / "recipe.yaml", "--dry-run")["parameters"]["trainable"])


def shown(score: Any) -> str:
    """`0.912 (0.881–0.937)`."""
    return f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"


def main() -> None:
    """Train what is missing and print a row for each strategy and set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busi", type=Path, required=True)
    parser.add_argument("--bus-bra", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--sets", nargs="+", choices=FOLDS, default=list(FOLDS))
    given = parser.parse_args()
    given.roots = {"busi": given.busi, "bus-bra": given.bus_bra}
    print("| set | strategy | rate | AUC | AUC elsewhere | learns | seconds |\n|---|---|---:|---|---|---:|---:|")
    for name in given.sets:
        for strategy in given.only:
            if strategy == "linear-probe":
                own, away = probe(name, given)
                print(f"| {name} | {strategy} | | {shown(own)} | {shown(away)} | | |", flush=True)
                continue
            run = train(name, strategy, given)
            with (run / "attempts.csv").open() as handle:
                rates = [
                    f"{float(row['optimizer.lr']):g}" for row in csv.DictReader(handle) if row["reports"] == "True"
                ]
            clock = json.loads((run / "run.json").read_text())["seconds"]
            seconds = clock["fits"] if "fits" in clock else clock["steps"]
            own, away = mammozoo("evaluate", run)["scores"]["auc"], elsewhere(name, run, given)
            cells = [name, strategy, ", ".join(rates), shown(own), shown(away), f"{learning(run):,}", f"{seconds:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
