"""Files from strangers: whatever a model's folder or a zoo says, it is data, and nothing is built, run or read outside of it.

Hostile safetensors files are in tests/models/test_weights.py, hostile zoos in test_entry.py.
"""

import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mammozoo.errors import IncompatibleError, MammozooError, NotFoundError, NotVerifiedError
from mammozoo.models.config import read_config
from mammozoo.models.factory import load_model
from mammozoo.models.weights import read_tensors, write_tensors

from ..helpers import edit_json

Change = Callable[[dict[str, Any]], object]
ROOT = Path(__file__).parents[2]


def spoil(folder: Path, change: Change) -> None:
    edit_json(folder / "config.json", lambda content: change(content["mammozoo"]))


# ---------------------------------------------------------------- config.json

#: What somebody writes who hopes that a name is imported, opened or run.
NAMES = [
    "os.system", "os:system", "torch.hub.load", "builtins.eval", "__import__('os')", "../../etc/passwd", "/etc/passwd",
    "hf-hub:someone/model", "https://example.org/model.py", "file:/anywhere/x.pt", "timm.create_model", "{0.__class__}", "", "a\nb",
    "test_resnet:pretrained=true", "test_resnet:checkpoint_path=/anywhere/x.pth", "resnet9:width=1e400", "resnet9:width=-1",
    "resnet9:width=x", "test_resnet+os.system",
]  # fmt: skip


@pytest.mark.parametrize("field", ["backbone", "strategy", "head"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_looked_up(field: str, name: str, run_copy) -> None:
    spoil(run_copy, lambda config: config.update({field: name}))
    with pytest.raises(IncompatibleError) as caught:
        load_model(run_copy)
    assert "\n" not in str(caught.value).replace("a\nb", "")


@pytest.mark.parametrize("field", ["backbone", "strategy", "head"])
def test_what_a_plugin_would_bring_is_said(field: str, run_copy) -> None:
    def change(config: dict[str, Any]) -> None:
        config[field] = "their-own"
        config["plugins"] = {"mammozoo": "0.1.0", "mammozoo-of-theirs": "2.1"}

    spoil(run_copy, change)
    with pytest.raises(IncompatibleError, match=r"mammozoo-of-theirs 2\.1 \(not installed\).*'their-own'") as caught:
        load_model(run_copy)
    assert "mammozoo 0.1.0" not in str(caught.value), "that one is here"


GUARD = {
    "images": 20, "low": [0.0] * 16, "high": [1.0] * 16, "mean": [0.0] * 11, "scale": [1.0] * 11, "limit": 9.0, "polarity": True,
    "factor": [[1.0] * n for n in range(1, 12)],
}  # fmt: skip
CONFIGS: dict[str, Change] = {
    "a target to instantiate": lambda c: c.update({"_target_": "os.system"}),
    "a map of classes": lambda c: c.update({"auto_map": {"AutoModel": "modeling.Model"}}),
    "trust": lambda c: c.update(trust_remote_code=True),
    "a number as name": lambda c: c.update(backbone=7),
    "a list as name": lambda c: c.update(strategy=["drs"]),
    "one class": lambda c: c.update(classes=["benign"]),
    "no classes": lambda c: c.update(classes=[]),
    "classes of numbers": lambda c: c.update(classes=[0, 1]),
    "a threshold above 1": lambda c: c["thresholds"].update(half={"value": 2, "chosen_on": "nothing"}),
    "a threshold that is no number": lambda c: c["thresholds"].update(half={"value": float("nan"), "chosen_on": "nothing"}),
    "an infinite temperature": lambda c: c.update(calibration={"temperature": float("inf"), "chosen_on": "validation"}),
    "a temperature of zero": lambda c: c.update(calibration={"temperature": 0, "chosen_on": "validation"}),
    "scores that are no numbers": lambda c: c.update(scores={"auc": {"value": float("nan")}}),
    "hashes that are none": lambda c: c["training"].update(seen=["../../x"]),
    "a newer schema": lambda c: c.update(schema_version=2),
    "an input of no pixels": lambda c: c["input"].update(size=[0, 64]),
    "an input of less than that": lambda c: c["input"].update(size=[-64, -64]),
    "an input of a terabyte": lambda c: c["input"].update(size=[10**6, 10**6]),
    "an input of many channels": lambda c: c["input"].update(channels=10**9),
    "an input of text": lambda c: c["input"].update(size="64"),
    "a network of a terabyte": lambda c: c.update(backbone="resnet9:width=100000"),
    "a head of a terabyte": lambda c: c.update(head="gap-fc:hidden=10000000000"),
    "another network": lambda c: c.update(backbone="resnet9:width=8", strategy="frozen"),
    "another head": lambda c: c.update(head="gap-fc:hidden=8"),
    "more classes than the head has": lambda c: c.update(classes=["a", "b", "c"]),
    "a guard of sides beyond numbers": lambda c: c.update(guard=GUARD | {"low": [1024.0] * 16}),
    "a guard that divides by next to nothing": lambda c: c.update(guard=GUARD | {"scale": [1e-320] * 11}),
    "a guard without a limit": lambda c: c.update(guard=GUARD | {"limit": 1e300}),
    "a hundred thousand classes": lambda c: c.update(classes=[str(i) for i in range(100_000)]),
}  # fmt: skip


@pytest.mark.parametrize("what", CONFIGS)
def test_a_hostile_config_is_refused_and_costs_nothing(what: str, run_copy) -> None:
    spoil(run_copy, CONFIGS[what])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(IncompatibleError):
        load_model(run_copy)
    assert time.perf_counter() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kilobytes"


def test_a_pickle_and_a_config_of_gigabytes_are_not_read(run_copy) -> None:
    tensors = read_tensors(run_copy / "model.safetensors")
    (run_copy / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "model.pth"):
        torch.save(tensors, run_copy / name)
    with pytest.raises(NotFoundError, match=r"model\.safetensors"):
        load_model(run_copy)
    with (run_copy / "config.json").open("r+b") as handle:
        handle.truncate(8 * 2**30)  # sparse: it takes no room on the disk
    with pytest.raises(IncompatibleError, match="longer than 32 MiB"):
        read_config(run_copy)


# ---------------------------------------------------------------- weights of another shape

Tensors = dict[str, torch.Tensor]
WEIGHTS: dict[str, tuple[Callable[[Tensors], object], type[MammozooError], str]] = {
    "one more": (lambda t: t.update(extra=torch.zeros(1)), IncompatibleError, "unknown extra"),
    "a name that is a path": (lambda t: t.update({"../../x": torch.zeros(1)}), IncompatibleError, r"unknown \.\./\.\./x"),
    "one less": (lambda t: t.pop("head.2.weight"), IncompatibleError, r"missing head\.2\.weight"),
    "another shape": (lambda t: t.update({"head.2.bias": torch.zeros(7)}), IncompatibleError, r"head\.2\.bias is \(7,\)"),
    "none at all": (lambda t: t.clear(), IncompatibleError, "missing"),
    "NaN": (lambda t: t["head.2.bias"].fill_(float("nan")), NotVerifiedError, r"not finite, in head\.2\.bias"),
    "infinity": (lambda t: t["head.2.weight"].view(-1)[0].fill_(float("-inf")), NotVerifiedError, "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_are_exactly_those_of_our_own_network(what: str, run_copy) -> None:
    change, kind, words = WEIGHTS[what]
    tensors = {name: tensor.clone() for name, tensor in read_tensors(run_copy / "model.safetensors").items()}
    change(tensors)
    write_tensors(run_copy / "model.safetensors", tensors)
    with pytest.raises(kind, match=words):
        load_model(run_copy)


# ---------------------------------------------------------------- our own code

UNSAFE = {
    "pickle.load": r"\b(?:c?[pP]ickle|dill|cloudpickle|shelve|marshal)\.loads?\("
    r"|^\s*(?:import|from) (?:pickle|dill|shelve|marshal)\b",
    "torch.load": r"torch\.load\((?!.*weights_only=True)",
    "joblib.load": r"joblib\.load\(",
    "np.load": r"np\.load\((?!.*allow_pickle=False)",
    "yaml.load": r"yaml\.(?:unsafe_|full_)?load(?:_all)?\(",
    "eval": r"(?<![\w.])(?:eval|exec)\(",
    "torch.hub.load": r"trust_remote_code|torch\.hub\.load\(",
}


@pytest.mark.parametrize("what", UNSAFE)
def test_nothing_of_ours_unpickles_or_runs_what_it_reads(what: str) -> None:
    assert re.search(UNSAFE[what], f"x = {what}(path)")
    files = [path for folder in ("src", "plugins") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if (what, path.stem) != ("pickle.load", "strategies")  # which reads what it wrote itself a line before
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(UNSAFE[what], line)
    ]
    assert not found


def test_packaged_models_hold_no_path_of_the_machine_that_made_them() -> None:
    texts = [path for path in (ROOT / "plugins").glob("*/models/**/*") if path.suffix in (".json", ".md")]
    assert texts
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w./])/(?:home|root|tmp|work|mnt|Users|data)/", text), path
