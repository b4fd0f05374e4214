"""What `train` prints with --dry-run and --plan, and after --fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mammozoo.cli.output import note_stamps, print_json, print_table, say

if TYPE_CHECKING:
    from mammozoo.training.run_directory import RunDirectory


def show_fits(fits: list[dict[str, Any]], as_json: bool) -> None:
    """The fits of a run, a row each."""
    if as_json:
        print_json({"fits": fits})
        return
    rows = [(one["number"], one["name"], in_words(one["settings"]) or "–", one["state"]) for one in fits]
    print_table("Fits", ["number", "name", "settings", "state"], rows)


def show_dry_run(content: dict[str, Any], as_json: bool) -> None:
    """A recipe in full, and what it does to the network and the data."""
    if as_json:
        print_json(content)
        return
    import yaml

    say(yaml.safe_dump(content["recipe"], sort_keys=False, allow_unicode=True))
    trainable, total, head = (f"{content['parameters'][key]:,}" for key in ("trainable", "total", "head"))
    say(f"{trainable} of {total} parameters train, {head} of them in the head.")
    groups = [(f"{g['lr']:g}", f"{g['parameters']:,}", len(g["layers"])) for g in content["groups"]]
    print_table("Parameter groups", ["learning rate", "parameters", "tensors"], groups)
    if content["stages"]:
        rows = []
        for stage in content["stages"]:
            counts = stage["left_out"].values()
            fewest_most = "–".join(str(n) for n in sorted({min(counts), max(counts)}))
            cells = stage | {"classes": ", ".join(stage["classes"]), "trains": f"{stage['strategy']}, {stage['head']}"}
            facts = [cells[key] for key in ("name", "dataset", "classes", "trains", "epochs", "images")]
            rows.append((*facts, fewest_most))
        columns = ["stage", "data", "classes", "strategy, head", "epochs", "images", "left out, by split"]
        print_table("Stages before, each from the weights of the one above it", columns, rows)
    parts = ("train", "val", "test")
    splits = [
        (split["name"], *(", ".join(f"{n} {label}" for label, n in split[part].items()) for part in parts))
        for split in content["splits"]
    ]
    print_table("Splits", ["split", *parts], splits)
    note_stamps(content["stamps"])


def in_words(value: Any) -> str:
    """A value of a recipe as prose."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {in_words(of)}" for key, of in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def show_ended(run: RunDirectory, ended: Mapping[str, Any], as_json: bool, by_last: bool) -> None:
    """How many fits of a run have ended, and what comes next; `by_last`, if each job merges a run that it finds complete."""
    from mammozoo.training.dry_run import states

    told = states(ended)
    if as_json:
        print_json({"run": run.path.as_posix(), "fits": told})
        return
    left = [name for name, state in told.items() if state == "to do"]
    come = f"; {len(left)} to do, such as {left[0]}. After the last one" if left else ". Next"
    come = ", and another job merges them" if by_last and not left else f"{come}: mammozoo merge {run.path}"
    say(f"{run.path}: {len(told) - len(left)} of {len(told)} fits have ended{come}")
