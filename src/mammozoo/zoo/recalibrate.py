"""A model recalibrated for a hospital: new temperature and thresholds, the parent's weights, which it names by their digest.

On disk it is an adapter (`adapter.py`) without a tensor of its own. Where the parent is in no zoo, `parent.txt` says where it lies.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.config.names import named_folder
from mammozoo.config.sections import Root
from mammozoo.data.joined import without_paths
from mammozoo.data.loaded import open_data
from mammozoo.data.loader import batches
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import ConflictError, UsageError
from mammozoo.evaluation.recalibration import Expected, Point, expectations, verdict
from mammozoo.evaluation.thresholds import RULES, check_rule, choose_abstention, choose_threshold
from mammozoo.files import sha256, write_json, write_text
from mammozoo.models.config import CONFIG, Calibration, ModelConfig, Threshold, read_config
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import check_probabilities, probabilities
from mammozoo.progress import Progress
from mammozoo.text import interval
from mammozoo.zoo.adapter import CARD, PARENT, WEIGHTS, is_adapter, parent_of, read_adapter, split
from mammozoo.zoo.registry import find_model


@dataclass(frozen=True)
class Recalibration:
    """What was written to `folder`: the points before and after, chosen on `images` images, and what to expect."""

    folder: Path
    parent: str
    sha256: str
    images: int
    groups: int
    before: Point
    after: Point
    rule: str
    expected: list[Expected]
    verdict: str


def recalibrate(
    parent: Path,
    reference: str | Path,
    dataset: str,
    root: Root | None,
    out: Path,
    *,
    rule: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Recalibration:
    """Choose temperature and thresholds of the two-class model in `parent` anew, and write the result to the new folder `out`.

    Images that the model was trained on, and those of their groups, are left out: on them it is too sure. The weights stay. A
    recalibrated model is left aside for its parent.

    Raises:
        ConflictError: `out` is not empty.
        UsageError: another number of classes, a class that the data lack, too few images, or an unknown rule.
        NotFoundError: no such data set.
    """
    progress = progress or Progress()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"'{out}' already exists. Choose another --out.")
    parent, name, place = _origin(parent, reference)
    model, config = load_model(parent)
    if len(config.classes) != 2:
        raise UsageError(
            f"The model '{config.name}' has {len(config.classes)} classes. Recalibration is for two: with more, the most probable "
            "class is predicted, which neither a temperature nor a threshold changes."
        )
    rule = check_rule(rule or config.threshold or RULES[0])
    data = open_data(dataset, root, config.asked, config.input, "group", progress)
    known = seen_before(data, np.arange(len(data.samples)), config.training.seen)
    used = np.flatnonzero(~np.isin(data.groups, data.groups[known]))
    if not len(used):
        raise UsageError(
            f"All {len(data.samples)} images were seen in training, or nearly so: none is left for the choice."
        )
    if len(used) < len(data.samples):
        progress.note(
            f"{len(data.samples) - len(used)} images are left out: seen in training, or of one group with such."
        )
    engine = choose_engine(device, "auto")
    engine.place(model)
    progress.start("predicting", len(used))
    loader = batches(data.images.pixels, data.labels, used, 32, device=engine.device)
    found = engine.logits(model, loader, config.input)[0].cpu()
    logits, labels, groups = found[:, 0].double().numpy(), data.labels[used], data.groups[used]
    check_probabilities(probabilities(found).numpy(), config.name)
    progress.advance(len(used))
    before = Point(config.temperature, config.cut(rule if rule in config.thresholds else None))
    expected = expectations(logits, labels, groups, before, rule, progress)
    after, said = Point.chosen(logits, labels, rule), verdict(expected)

    chosen_on = f"{len(used)} images of {len(np.unique(groups))} groups of {without_paths(dataset)}"
    p = probabilities(found, after.temperature).numpy()
    fitted = config.model_copy(
        update={
            "name": f"{config.name}-recalibrated",
            "calibration": Calibration(temperature=after.temperature, chosen_on=chosen_on),
            "thresholds": {
                one: Threshold(
                    value=choose_threshold(one, labels, p[:, 1]), chosen_on="nothing" if one == "half" else chosen_on
                )
                for one in dict.fromkeys((*RULES, rule))
            },
            "threshold": rule,
            "abstention": choose_abstention(p, after.cut).model_copy(update={"chosen_on": chosen_on}),
            "training": config.training.model_copy(
                update={"seen": tuple(dict.fromkeys([*config.training.seen, *data.images.fingerprints.written(used)]))}
            ),
            "scores_of": f"Of `{config.name}`, before it was recalibrated.",
        }
    )
    result = Recalibration(
        out, name, sha256(parent / WEIGHTS), len(used), len(np.unique(groups)), before, after, rule, expected, said
    )
    if place is not None:
        write_text(out / PARENT, Path(os.path.relpath(place.resolve(), out.resolve())).as_posix() + "\n")
    _write(result, parent, fitted)
    return result


def _origin(parent: Path, reference: str | Path) -> tuple[Path, str, Path | None]:
    """The parent's folder and name, and where it lies if it is in no zoo; of a recalibrated model those of its own parent."""
    folder = named_folder(reference)
    if folder is not None and is_adapter(folder) and not (adapter := read_adapter(folder)).tensors:
        place = parent_of(folder, adapter.base.name)
        return place or find_model(f"zoo:{adapter.base.name}"), adapter.base.name, place
    if folder is None and not str(reference).startswith("hub:"):
        return parent, str(reference).removeprefix("zoo:"), None
    return parent, read_config(parent).name, parent


def _write(result: Recalibration, parent: Path, config: ModelConfig) -> None:
    with tempfile.TemporaryDirectory(prefix="mammozoo-") as folder:
        whole = Path(folder)
        shutil.copyfile(parent / WEIGHTS, whole / WEIGHTS)
        write_json(whole / CONFIG, config.to_json())
        write_text(whole / CARD, _card(result, config))
        split(whole, parent, result.folder, base_name=result.parent)


def _card(result: Recalibration, config: ModelConfig) -> str:
    after, before = result.after, result.before
    rows = [
        f"| {one.images} | {_range(one, 0)} | {_range(one, 1)} | {one.before[0]:.2f}, {one.before[1]:.2f} |"
        for one in result.expected
    ]
    return "\n".join(
        [
            f"# {config.name}", "", f"**{config.intended_use}**", "",
            *(line for stamp in config.stamps for line in (f"> **{stamp}.**", "")),
            f"`{result.parent}` (SHA-256 of its weights `{result.sha256}`) with a temperature and thresholds chosen on "
            f"{config.calibration.chosen_on if config.calibration else ''}. Its weights are the parent's.", "",
            f"Temperature {before.temperature:.3f} → {after.temperature:.3f}, threshold ({result.rule}) {before.cut:.3f} → "
            f"{after.cut:.3f} for {config.classes[1]}.", "", "## What to expect", "",
            "On images that did not choose, by repeated splits of the same images: mean, and range of 95 % of the splits.", "",
            "| images that choose | sensitivity | specificity | both, parent's own point |", "| --- | --- | --- | --- |", *rows, "",
            result.verdict, "", "## Use", "", "```", "mammozoo predict image.png --model THIS_FOLDER", "```", "",
        ]
    )  # fmt: skip


def _range(one: Expected, place: int) -> str:
    return f"{one.after[place]:.2f} ({interval(one.low[place], one.high[place], 2)})"
