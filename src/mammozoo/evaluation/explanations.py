"""Explanations of many images: for each a heat map, its scores against the lesion mask, and two files.

OUT/<stem>.png    the picture as the model sees it, and beside it the overlay with the outline of the lesion
OUT/<stem>.npy    the heat, float32 (h, w) at the model's input size
"""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammozoo.config.sections import Root
from mammozoo.data.duplicates.seen import Seen
from mammozoo.data.io.regions import Box
from mammozoo.data.joined import places
from mammozoo.data.preprocessing import Input
from mammozoo.errors import FailedError, MammozooError, UsageError, nearest, reason
from mammozoo.evaluation.cases import Case, of_dataset, of_files
from mammozoo.evaluation.explain import (
    METHODS,
    Localisation,
    classify,
    heat,
    localise,
    rank_correlation,
    side_by_side,
    untrained,
)
from mammozoo.evaluation.predict import find_images, folders_of
from mammozoo.evaluation.scores import mean
from mammozoo.evaluation.suitable import SEEN
from mammozoo.files import refuse_to_replace, write_bytes
from mammozoo.models.config import CONFIG, ModelConfig, read_config
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import Model
from mammozoo.progress import Progress

TRUE = "true"  #: in place of a class to explain: that of the label of each image
EMPTY = "no heat: nothing in the feature map speaks for this class"
#: Networks with random weights; the images are dealt out among them, since a single network may resemble the model by luck.
RANDOMISATIONS = 5
#: Mean rank correlation from which on a method counts as insensitive. Our choice; the paper gives no number.
INSENSITIVE = 0.5
_SHORTEST, _LONGEST = 256, 1024  # of a drawn picture's longer side, in pixels
_SCORES = tuple(field.name for field in dataclasses.fields(Localisation))


@dataclass(frozen=True)
class Explanation:
    """The explanation of a case, or the reason in `error`; `rank_correlation` is that of the sanity check."""

    case: Case
    decision: str | None = None
    explained: str | None = None
    probability: float | None = None
    place: Localisation | None = None
    overlay: str | None = None
    array: str | None = None
    rank_correlation: float | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None

    def row(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "file": self.case.name,
            "label": self.case.label,
            "fold": self.case.fold,
            "decision": self.decision,
            "class": self.explained,
            "probability": self.probability,
            **(dataclasses.asdict(self.place) if self.place else dict.fromkeys(_SCORES)),
            **{name: getattr(self, name) for name in ("overlay", "array", "rank_correlation", "warnings", "error")},
        }


@dataclass(frozen=True)
class ExplainResult:
    """Explanations in the order of the images, the model that they are of, and the warning labels of model and data."""

    folder: Path
    config: ModelConfig = dataclasses.field(repr=False)
    explanations: list[Explanation]
    stamps: tuple[str, ...]


def explain(
    run: Path,
    folder: Path,
    images: Sequence[str],
    out: Path,
    *,
    method: str,
    class_name: str | None,
    mask: Path | None,
    dataset: str | None,
    root: Root | None,
    part: str | None,
    limit: int | None,
    sanity: bool,
    overwrite: bool,
    device: str,
    progress: Progress | None,
) -> ExplainResult:
    """What `mammozoo.api.explain` describes, by the model in `folder`; of a `run`'s own test images each by the fold's."""
    progress = progress or Progress()
    if bool(images) == (dataset is not None):
        raise UsageError("What should be explained? Give either images or --dataset.")
    if dataset is None and (root or part or limit):
        raise UsageError("--root, --part and --limit go with --dataset.")
    if method not in METHODS:
        raise UsageError(f"Unknown --method '{method}'.{nearest(method, METHODS)} There are: {', '.join(METHODS)}.")
    config = read_config(folder)
    by_label = class_name == TRUE and TRUE not in config.classes
    if by_label and dataset is None:
        raise UsageError("--class true explains the label of each image; only a --dataset has labels.")
    if class_name is not None and not by_label and class_name not in config.classes:
        close = nearest(class_name, config.classes)
        raise UsageError(
            f"The model has no class '{class_name}'.{close} It has {', '.join(config.classes)}, or say {TRUE}."
        )
    target = None if class_name is None or by_label else config.classes.index(class_name)
    files, stamps = find_images(images), list[str]()
    if mask is not None and len(files) != 1:
        raise UsageError(f"--mask goes with one image, and there are {len(files)}.")
    if dataset is None:
        cases = of_files(files, mask)
    else:
        cases, stamps = of_dataset(run, config, dataset, root, part=part, limit=limit, progress=progress)
    inputs = [*files, *folders_of(images), *places(root), *([mask] if mask else [])]
    refuse_occupied_files(out, cases, inputs, overwrite)
    engine, explained = choose_engine(device, "fp32"), dict[str, Explanation]()
    progress.start("explaining", len(cases))
    # By fold, so that each model is loaded once, and its images are dealt out among all the random networks.
    by_fold = sorted(cases, key=lambda case: case.fold or "")
    for fold, members in itertools.groupby(by_fold, key=lambda case: case.fold):
        own = run / fold if fold and (run / fold / CONFIG).is_file() else folder  # `run` may be one fold of a run
        folder = run if own != folder else folder  # several models answer
        network, its = load_model(own)
        controls = [untrained(its, seed) for seed in range(RANDOMISATIONS)] if sanity else []
        for one in explain_cases(
            network, its, [*members], engine, out, method=method, target=target, by_label=by_label, controls=controls
        ):
            explained[one.case.stem] = one
            progress.advance()
    explanations = [explained[case.stem] for case in cases]
    return ExplainResult(folder, config, explanations, (*config.stamps, *stamps))


def explain_cases(
    model: Model,
    config: ModelConfig,
    cases: Sequence[Case],
    engine: Engine,
    out: Path,
    *,
    method: str,
    target: int | None = None,
    by_label: bool = False,
    controls: Sequence[Model] = (),
) -> Iterator[Explanation]:
    """An explanation for each case, in order. An image or mask that cannot be read does not stop the others.

    Explained is the class `target`, or `by_label` that of the case, or else the one decided for. `controls` are networks with
    random weights for the sanity check; the cases are dealt out among them.

    Raises:
        AccessError, FailedError: `out` cannot be written.
    """
    seen = Seen(config.training.seen)
    for number, case in enumerate(cases):
        warnings = [*config.stamps]
        try:
            image, mask = case.read(), case.mask()
            if case.label is None and image in seen:  # of a data set, a stamp says it
                warnings.append(SEEN)
            box = case.box() if config.input.region else None
            if mask is not None and mask.shape != image.shape[:2]:
                own, its = (f"{shape[0]}×{shape[1]}" for shape in (image.shape, mask.shape))
                raise UsageError(
                    f"The mask of '{case.name}' is {its} pixels, but the image has {own}: it belongs to another image."
                )
            pixels = config.input.preparer()(image, box)
        except Exception as error:  # whatever a reader or a step raises
            why = str(error) if isinstance(error, MammozooError) else f"'{case.name}' cannot be read: {reason(error)}."
            yield Explanation(case, error=why)
            continue
        try:
            decided, p = classify(model, config, pixels, engine)
        except FailedError as error:
            yield Explanation(case, error=f"'{case.name}': {error}")
            continue
        explained = decided if target is None else target
        if by_label and case.label in config.classes:
            explained = config.classes.index(case.label)
        heat_map = heat(model, config, pixels, engine, method=method, target=explained)
        correlation = None
        if controls:
            control = heat(controls[number % len(controls)], config, pixels, engine, method=method, target=explained)
            correlation = rank_correlation(heat_map, control)
        yield Explanation(
            case,
            config.classes[decided],
            config.classes[explained],
            float(p[explained]),
            None if mask is None else localise(heat_map, config.input.fit_mask(mask, box, image)),
            *_write(out / case.stem, config.input, image, mask, box, heat_map),
            correlation,
            warnings if heat_map.any() else [*warnings, EMPTY],
        )


def refuse_occupied_files(out: Path, cases: Sequence[Case], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise ConflictError if an explanation would replace one of `inputs`, lie in a folder of them, or replace any other file.

    With `overwrite` it may replace an explanation: a picture that has its heat map beside it.
    """
    folders = [path for path in inputs if path.is_dir()]
    sources = {path.resolve() for path in inputs}
    for case in cases:
        picture, heat_map = Path(f"{out / case.stem}.png"), Path(f"{out / case.stem}.npy")
        kinds = ("heat map", "overlay" if heat_map.exists() else None) if overwrite else (None, None)
        for path, kind in zip((heat_map, picture), kinds, strict=True):
            source = [path] if path.resolve() in sources else []
            option = "--out" if source or overwrite else "--out, or say --overwrite"
            refuse_to_replace(path, kind, [*source, *folders], option=option)


def summarise(results: Sequence[Explanation]) -> dict[str, Any]:
    """Means with 95 % intervals by group: over all images with a lesion mask, and by true class and decision if it is known."""
    known = [r for r in results if r.case.label is not None]
    labels = dict.fromkeys(r.case.label for r in known)
    decided = {"right": [r for r in known if r.decision == r.case.label]}
    decided["wrong"] = [r for r in known if r.decision not in (r.case.label, None)]
    return {
        "n": len(results),
        "errors": sum(r.error is not None for r in results),
        "without_heat": sum(EMPTY in r.warnings for r in results),
        **_means(results),
        "by_class": {label: _means([r for r in results if r.case.label == label]) for label in labels},
        "by_decision": {name: _means(some) for name, some in decided.items() if some},
    }


def summarise_sanity(results: Sequence[Explanation]) -> dict[str, Any]:
    """The sanity check over all images; `undefined` counts those with a constant map."""
    done = [r for r in results if r.error is None]
    pairs = [(r.rank_correlation, r.case.group) for r in done if r.rank_correlation is not None]
    rho = mean([value for value, _ in pairs], [group for _, group in pairs])
    return {
        "rank_correlation": dataclasses.asdict(rho),
        "undefined": len(done) - len(pairs),
        "randomisations": RANDOMISATIONS,
        "limit": INSENSITIVE,
        "insensitive": None if rho.value is None else rho.value >= INSENSITIVE,
    }


def _means(results: Sequence[Explanation]) -> dict[str, Any]:
    scored = [(r.place, r.case.group) for r in results if r.place is not None]
    groups = [group for _, group in scored]
    return {
        name: dataclasses.asdict(mean([getattr(place, name) for place, _ in scored], groups, shares=True))
        for name in _SCORES
    }


def _write(
    stem: Path,
    input: Input,
    image: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None,
    box: Box | None,
    heat_map: npt.NDArray[np.float32],
) -> tuple[str, str]:
    """The paths of the picture and of the array. The picture is drawn at about the resolution of the image.

    The heat map then only has to be resized. A stretched image gets its aspect ratio back; a padded or cropped one stays so.
    """
    shape = input.cropped(image, box).shape[:2]
    height, width = shape if input.fit == "stretch" else input.size
    factor = min(max(*shape, _SHORTEST), _LONGEST) / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    drawn = input.model_copy(update={"size": size})
    outline = None if mask is None else drawn.fit_mask(mask, box, image)
    png, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(side_by_side(drawn.preparer()(image, box), heat_map, outline)).save(png, "PNG")
    np.save(npy, heat_map)
    paths = [write_bytes(Path(f"{stem}.png"), png.getvalue()), write_bytes(Path(f"{stem}.npy"), npy.getvalue())]
    return paths[0].as_posix(), paths[1].as_posix()
