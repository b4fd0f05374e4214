"""What a run says to the items of CLAIM: sentences made of its own numbers, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mammozoo.evaluation.intervals import DRAWS
from mammozoo.models.config import INTENDED_USE
from mammozoo.report.claim import Answer
from mammozoo.report.content import Content, auc_of
from mammozoo.report.mistakes import Gallery
from mammozoo.report.separation import Separation
from mammozoo.report.settings import weights_without_path

_DIAGNOSTIC = ("sensitivity", "specificity", "ppv", "npv")
_GENERATED = "Generated images: there are no patients, no devices and no readers."


def answers(content: Content, separation: Separation, gallery: Gallery, parameters: int) -> dict[int, Answer]:
    """Item number → answer, for the items to which the run has one."""
    return {
        **_study(content),
        **_data(content),
        **_partitions(content, separation),
        **_model(content, parameters),
        **_training(content),
        **_evaluation(content, gallery),
        **_results(content, gallery),
        **_other(content),
    }


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _study(content: Content) -> dict[int, Answer]:
    recipe, classes = content.recipe, listed(content.config.classes)
    modality = content.info.modality if content.info and content.info.modality != "any" else "breast"
    task = f"classification of {modality} images into {classes}"
    found = {
        1: Answer(
            f"Deep learning: {task} with a {recipe.backbone} network, strategy {recipe.strategy}.", "the paper's title"
        ),
        6: Answer(f"Model creation and internal testing: {task}.", "the clinical question behind it"),
    }
    if content.synthetic:
        found |= {number: Answer(_GENERATED) for number in (5, 11, 13, 16, 17, 18, 36)}
        found[14] = Answer("The generator decides the class of an image before it draws it.")
    return found


def _data(content: Content) -> dict[int, Answer]:
    recipe, config, info, facts = content.recipe, content.config, content.info, content.facts
    classes = listed(config.classes)
    named = f"Data set {recipe.dataset}"
    if info:
        published = f"; {info.images} images as published" if info.images else ""
        named += f": {info.title}{published}{f'; {info.url}' if info.url else ''}{f'; {info.license}' if info.license else ''}"
    of_all = set(config.classes) == set(info.classes) if info and info.classes else False
    shape = config.input
    steps = f"{listed(shape.preprocess)} at full resolution; then " if shape.preprocess else ""
    patients = sum(bool(image.patient) for image in content.images)
    return {
        7: Answer(f"{named}.", "" if content.synthetic else "where, when and from whom the images were collected"),
        8: Answer(
            f"Every image of {classes} in the copy of the data set at hand: {facts['images']}.",
            "" if content.synthetic else "the criteria by which the data set was collected",
        ),
        9: Answer(
            f"{steps}{'Grey' if shape.color == 'grey' else 'Colour'} images of 8 bits (deeper ones stretched from their "
            "minimum to their maximum), "
            f"{shape.fit} to {shape.size[0]}×{shape.size[1]} pixels (bilinear, anti-aliased), "
            f"normalised with mean {listed([f'{v:g}' for v in shape.mean])} and standard deviation "
            f"{listed([f'{v:g}' for v in shape.std])}."
        ),
        10: Answer(
            f"{'All classes of the data set' if of_all else f'The classes {classes}'}; "
            + (f"images pass {listed(shape.preprocess)}." if shape.preprocess else "whole images, no region cut out.")
        ),
        12: Answer(
            "Nothing is imputed: an image that cannot be read stops a run. A patient identifier is known for "
            f"{patients} of the {len(content.images)} test images."
        ),
    }


def _partitions(content: Content, separation: Separation) -> dict[int, Answer]:
    outcome, facts = content.outcome, content.facts
    per_class = listed([f"{int((outcome.labels == k).sum())} {name}" for k, name in enumerate(outcome.classes)])
    sure = content.synthetic or all(image.patient for image in content.images) or content.recipe.split.by == "patient"
    return {
        19: Answer(f"{separation.method} Class counts of every part are in the table of splits."),
        20: Answer(
            " ".join([separation.level, *separation.checks]),
            "" if sure and not separation.leaky else "whether images of one patient lie in several parts",
        ),
        21: Answer(
            f"No power calculation. Tested on {len(outcome)} images ({per_class}) in {len(np.unique(outcome.groups))} "
            f"independent groups, of {facts['images']} images in all.",
            "how the sample size was determined",
        ),
    }


def _model(content: Content, parameters: int) -> dict[int, Answer]:
    recipe, config, facts = content.recipe, content.config, content.facts
    outputs = "one logit (sigmoid)" if len(config.classes) == 2 else f"{len(config.classes)} logits (softmax)"
    versions = listed([f"{name} {version}" for name, version in facts.get("versions", {}).items()])
    weights = str(facts.get("weights", weights_without_path(recipe.weights)))
    return {
        22: Answer(
            f"Backbone {config.backbone}, strategy {config.strategy}, head {config.head}; input {config.input.channels} × "
            f"{config.input.size[0]} × {config.input.size[1]}; output {outputs} for {listed(config.classes)}; "
            f"{parameters:,} numbers in the weights file."
        ),
        23: Answer(f"mammozoo {facts['mammozoo']}, Python {facts['python']}, {versions}; {facts['system']}."),
        24: Answer(
            f"Backbone: {weights}. Head: random, from seed {recipe.seed}.",
            "where the weights file comes from" if weights.startswith("file:") else "",
        ),
    }


def _training(content: Content) -> dict[int, Answer]:
    recipe, facts = content.recipe, content.facts
    phases = "; then ".join(
        f"{p.epochs} epochs of {p.name}, learning rate {p.lr:g}, weight decay {p.weight_decay:g}"
        for p in recipe.all_phases()
    )
    folds = len(content.folds)
    what = "loss" if recipe.monitor == "loss" else recipe.monitor
    choice = f"In each training the epoch with the best validation {what}."
    if recipe.threshold and content.outcome.binary:
        choice += f" Decision threshold by the rule '{content.config.threshold or recipe.threshold}'."
    if folds > 1:
        choice += f" The model of the run is that of {facts['model']['fold']}, best on its own validation part."
    return {
        25: Answer(
            f"{phases}; batches of {recipe.batch}; {recipe.schedule.kind} schedule; class weights {recipe.class_weights}; "
            f"augmentation {listed(recipe.augment) or 'none'}; seed {recipe.seed}; {facts.get('device', 'unknown device')}, "
            f"{facts.get('precision', 'unknown precision')}. Models trained: {folds}."
        ),
        26: Answer(choice),
        27: Answer("No ensemble: one model judged each test image."),
    }


def _evaluation(content: Content, gallery: Gallery) -> dict[int, Answer]:
    per_fold = [area for fold in content.folds if (area := auc_of(content.of_fold(fold.name))) is not None]
    found = {
        28: Answer(f"{listed(list(content.scores))}. Each is in the table of scores."),
        29: Answer(
            f"95 % intervals: BCa bootstrap over groups, {DRAWS:,} draws, widened for few groups. No hypothesis was tested."
        ),
        32: Answer(
            "Internal testing only, on "
            + (
                f"the parts that each of {len(content.folds)} models had not seen."
                if len(content.folds) > 1
                else "the held-out test part."
            )
            + (" This split leaks." if content.facts.get("stamps") and _leaks(content) else "")
        ),
    }
    if len(per_fold) > 1:
        found[30] = Answer(
            f"AUC of the {len(per_fold)} folds: {min(per_fold):.3f} to {max(per_fold):.3f}.",
            "other scanners, sites, seeds and subgroups",
        )
    if gallery.heatmaps:
        found[31] = Answer(
            f"Grad-CAM of the {gallery.heatmaps} worst mistakes.", "whether the heatmaps show what they seem to show"
        )
    return found


def _results(content: Content, gallery: Gallery) -> dict[int, Answer]:
    facts, outcome = content.facts, content.outcome
    found = {
        35: Answer(
            f"{facts['images']} images in {facts['groups']} independent groups were included.",
            "" if content.synthetic else "how many patients they are of, and what was excluded before",
        ),
        37: Answer(f"{scores_in_words(content, lambda name: name not in _DIAGNOSTIC)}."),
        39: Answer(
            f"{gallery.wrong} of {len(outcome)} test images were decided wrongly; see the confusion matrix and the worst "
            "mistakes.",
            "the reasons, seen by a reader",
        ),
    }
    diagnostic = scores_in_words(content, lambda name: name in _DIAGNOSTIC)
    if diagnostic:
        found[38] = Answer(f"{diagnostic}.")
    return found


def scores_in_words(content: Content, wanted: Callable[[str], bool]) -> str:
    """`auc 0.896 (0.864–0.927), …` for the scores whose metrics are wanted."""
    return "; ".join(f"{name} {score}" for name, score in content.scores.items() if wanted(name.partition("[")[0]))


def _other(content: Content) -> dict[int, Answer]:
    facts = content.facts
    git = f", commit {facts['git']}" if facts.get("git") else ""
    stamps = " ".join(f"{stamp[0].upper()}{stamp[1:]}." for stamp in facts.get("stamps", []))
    return {
        40: Answer(
            f"{stamps} One data set, {content.recipe.dataset}; no external test.".strip(),
            "all that the run cannot know",
        ),
        41: Answer(INTENDED_USE, "implications for practice"),
        42: Answer("The recipe with every setting is part of this report; mammozoo train recipe.yaml repeats the run."),
        43: Answer(
            f"mammozoo {facts['mammozoo']}{git}, Apache-2.0. Model: SHA-256 {facts['model']['sha256']}.",
            "where model and data can be had",
        ),
    }


def _leaks(content: Content) -> bool:
    return any("leak" in stamp for stamp in content.facts.get("stamps", []))
