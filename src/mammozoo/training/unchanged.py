"""Whether what a run depends on is still what it was: the fits of one run never mix two data sets, splits or recipes.

A complete fit keeps in `key.json` what it depended on and the hashes of its files, and `run.json` has the digest of the data. Runs
from before have neither: they are held to their `splits.json` and `split.csv`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mammozoo.data.loaded import Data
from mammozoo.data.splits.make import PARTS, Split
from mammozoo.errors import IncompatibleError
from mammozoo.evaluation.run_files import read_key, read_split_names
from mammozoo.models.config import read_config
from mammozoo.training.fit_files import check_digests, read_split
from mammozoo.training.fit_spec import FitSpec, all_fits, depends_on, needed, recipe_text
from mammozoo.training.fold import read_result
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.stages import read_stage

_SHOWN = 3  # images that a message names
_SAID = {
    "data": "the pixels, labels, patients or groups of its images were others",
    "recipe": "its recipe was another",
    "split": "its split was another",
    "stages": "the stages before it were others",
    "excluded": "other images were excluded",
}


def check_unchanged(run: RunDirectory, prepared: PreparedRun, fits: str = "") -> None:
    """Compare a run with its data and recipe as they are now; nothing is written.

    Of complete fits every file is read and hashed, where `fits` asks for them, as `chosen_fits` reads it.

    Raises:
        IncompatibleError: they differ, so the fits to come would not belong to those that are complete; with what changed. Or a
            file of the run is damaged.
        NotFoundError, NotVerifiedError: a file of a complete fit is missing, or not the one that the fit has written.
    """
    if change := next(_changes(run, prepared, fits), ""):
        raise IncompatibleError(
            f"The run '{run.path}' cannot go on, because its fits would not be consistent: {change}. Restore what was changed, "
            "or start a new run."
        )


def _changes(run: RunDirectory, prepared: PreparedRun, fits: str) -> Iterator[str]:
    """What differs, the most telling first."""
    was, now = (json.loads(recipe_text(recipe)) for recipe in (run.recipe, prepared.recipe))
    if others := [key for key in {**was, **now} if was.get(key) != now.get(key)]:
        yield f"the recipe is another ({', '.join(others)})"
    before = read_split_names(run.path)
    for split in prepared.splits if before else ():
        old = {image: (part,) for part in PARTS for image in dict(before.get(split.name, {})).get(part, ())}
        new = {image: (part,) for image, (part, _) in _rows(split, prepared.data).items()}
        yield from _differences(old, new, split.name)
    data = [one.data.sha256 for one in (*prepared.stages, prepared)]
    if run.facts.get("data_sha256", data) != data:
        yield _SAID["data"]
    every = all_fits(prepared)
    hashed = {spec.name for _, specs in needed(every, fits) for spec in specs}
    for stage, specs in every:
        for spec in specs:
            if (result := read_result(run.path, spec)) is not None:
                if not (result.rows and result.history):
                    raise IncompatibleError(
                        f"A table of '{run.path / spec.name}' is empty. It is damaged, or was changed."
                    )
                if spec.name in hashed:
                    check_digests(folder := run.path / spec.name, read_key(folder) or {})
                yield from _changes_of_fit(run.path, stage, spec)


def _changes_of_fit(run: Path, prepared: PreparedRun, spec: FitSpec) -> Iterator[str]:
    """What differs from what a complete fit depended on."""
    folder, after = run / spec.name, run / spec.after
    old = {sample: (part, str(group)) for sample, group, part in read_split(folder)}
    yield from _differences(old, _rows(spec.split, prepared.data), spec.name)
    if (kept := read_key(folder)) is None:
        return
    # A stage whose files are gone is trained again, to the same bytes.
    there = spec.after and (after / "predictions.csv").is_file()
    past = read_stage(after).past if there else read_config(folder).training.stages
    for name, now in depends_on(replace(prepared, past=past), spec).items():
        if kept.get(name) != now:
            yield f"{spec.name}: {_SAID.get(name) or f'{name} was {kept.get(name)} and is {now}'}"


def _rows(split: Split, data: Data) -> dict[str, tuple[str, ...]]:
    """Image → (its part, its group), as `split.csv` has them."""
    names = data.names
    return {names[i]: (part, str(data.groups[i])) for part in PARTS for i in split.part(part)}


def _differences(old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]], where: str) -> Iterator[str]:
    found = {
        "new": new.keys() - old.keys(),
        "gone": old.keys() - new.keys(),
        "in another part or group": {image for image in old.keys() & new.keys() if old[image] != new[image]},
    }
    texts = [
        f"{len(images)} {what} ({', '.join(sorted(images)[:_SHOWN])}{' …' if len(images) > _SHOWN else ''})"
        for what, images in found.items()
        if images
    ]
    if texts:
        yield f"of the images of {where}, {', '.join(texts)}"
