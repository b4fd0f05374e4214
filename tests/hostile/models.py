"""Models and runs with other weights, and with files of another shape, type or nesting, for every command that looks at one."""

import json
import random

import safetensors.torch
import torch
import yaml

from .house import House, one_file
from .spoil import SHORT, damaged, spoilt, table, yaml_of

MODEL, RUN = {0, 1, 3, 6, 7}, {0, 3, 6, 7, 9}


def _tensors(rng: random.Random, whole: bytes) -> bytes:
    """Weights with another header, other numbers, shapes or types."""
    if rng.random() < 0.4:
        place = rng.choice((0, 8, rng.randrange(2000), rng.randrange(len(whole))))
        return whole[:place] + damaged(whole[place : place + 60], rng) + whole[place + 60 :]
    tensors = safetensors.torch.load(whole)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(tensors))
        value = rng.choice((float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0, -1.0, 1e20))
        tensor = tensors.pop(name).clone()
        if rng.random() < 0.7 and tensor.is_floating_point():
            tensor.view(-1)[rng.randrange(max(1, tensor.numel())) if rng.random() < 0.5 else slice(None)] = value
        else:
            tensor = rng.choice(
                (tensor[None], tensor.double(), tensor.to(torch.int64), tensor.to(torch.bfloat16), tensor[:0])
            )
        tensors[name if rng.random() < 0.9 else rng.choice(SHORT)] = tensor
    return safetensors.torch.save(
        {name.encode("utf-8", "ignore").decode(): t.contiguous() for name, t in tensors.items()}
    )


#: Commands that look at a run, and the exit codes that may be.
LOOKS: list[tuple[tuple[str, ...], set[int]]] = [
    (("report", "run", "--no-heatmaps"), RUN), (("report", "run"), RUN), (("evaluate", "./run", "--json"), RUN | {1, 2}),
    (("evaluate", "./run", "--aggregate", "max", "--json"), RUN | {1, 2}), (("compare", "run", "RUN"), RUN | {2}),
    (("compare", "run", "RUN", "--metric", "beta"), RUN | {2}), (("train", "--resume", "run", "--no-report"), RUN | {1, 2}),
    (("train", "--extend", "run", "--epochs", "2", "--out", "more"), RUN | {2}),
    (("zoo", "push", "run", "--to", "zoo", "--license", "MIT", "--dry-run", "--allow-stamped"), RUN | {2, 8, 10}),
    (("predict", "GOOD", "--model", "./run", "--json"), MODEL), (("predict", "GOOD", "--model", "./run", "--abstain"),
    MODEL | {2}),
    (("explain", "./run", "GOOD", "--out", "maps"), MODEL | {2}),
    (("diagnose", "./run", "--dataset", "phantom:n=8", "--images", "2", "--against", "RUN"), MODEL | {2}),
]  # fmt: skip
JSON_FILES = ["config.json", "run.json", "scores.json", "splits.json", "holdout/config.json", "holdout/key.json"]
CSV_FILES = ["predictions.csv", "holdout/predictions.csv", "holdout/history.csv", "holdout/split.csv", "attempts.csv"]


def models(house: House, rng: random.Random) -> None:
    if rng.random() < 0.6:
        return one_file(house, rng, "config", "config", "facts")
    run = house.copy()
    whole = (run / "model.safetensors").read_bytes()
    name = rng.choice(["config.json"] * 5 + ["model.safetensors"] * 4 + JSON_FILES + CSV_FILES + ["recipe.yaml"] * 2)
    path = run / name
    if name.endswith(".safetensors"):
        house.put(path, _tensors(rng, whole))
    elif name.endswith(".json"):
        house.put(path, spoilt(json.loads(path.read_text()), json.dumps, rng))
    elif name.endswith(".csv"):
        rows = (
            [line.split(",") for line in path.read_text().splitlines()]
            if path.exists()
            else [["fit", "split", "reports", "validation loss"], ["holdout", "holdout", "True", "0.7"]]
        )
        house.put(path, spoilt(rows, table, rng))
    else:
        house.put(path, spoilt(yaml.safe_load(path.read_text()), yaml_of, rng))
    if name in ("config.json", "model.safetensors") and rng.random() < 0.7:
        words, codes = LOOKS[9]
    else:
        words, codes = rng.choice(LOOKS)
    if "--resume" in words:  # what was stopped before its end
        facts = json.loads((house.run / "run.json").read_text()) | {"status": "interrupted"}
        if name != "run.json":
            house.put(run / "run.json", json.dumps(facts).encode())
    places = {"RUN": [house.run], "GOOD": sorted(house.good.iterdir())}
    answer = house.command(
        *(x for word in words for x in places.get(word, [word])),
        codes=codes,
        writes="run" if "--resume" in words else "",
    )
    if "predict" in words and "--json" in words and answer.code <= 1:
        house.check_results(answer)
    return None
