"""The model card: what a model is, how good it is with what certainty, and what it is not for. Written from facts only."""

from __future__ import annotations

from typing import Any

import yaml

from mammozoo.models.config import ModelConfig


def write_card(config: ModelConfig, facts: dict[str, Any]) -> str:
    """`README.md` of a model; `facts` is the content of its run's `run.json`."""
    front = {
        "library_name": "mammozoo",
        "pipeline_tag": "image-classification",
        "tags": ["medical", "breast-imaging", "research-only"],
    }
    training = config.training
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {config.name}",
        f"**{config.intended_use}**",
        *(f"> **{stamp[0].upper()}{stamp[1:]}.**" for stamp in config.stamps),
        f"Tells {', '.join(config.classes[:-1])} and {config.classes[-1]} apart: backbone `{config.backbone}`, strategy "
        f"`{config.strategy}`, head `{config.head}`, input {config.input.size[0]}×{config.input.size[1]} pixels.",
        "## Scores",
        _scope(config, facts),
        _table(config),
        "## Training",
        f"* Data: `{training.dataset}`, {facts['images']} images in {facts['groups']} independent groups (one patient, or "
        f"near-duplicate images); this model trained on {training.images['train']}, chose its epoch and threshold on "
        f"{training.images['val']}, and was tested on {training.images['test']}.",
        f"* Starting weights: {training.weights}. Seed: {training.seed}. Split: SHA-256 `{training.split_sha256}`.",
        f"* mammozoo {facts['mammozoo']}, torch {facts['versions']['torch']}, {facts['device']}, {facts['precision']}.",
        *([_thresholds(config)] if config.thresholds else []),
        *(["## Stages", _stages(config)] if training.stages else []),
        "## Use",
        "```\nmammozoo predict image.png --model THIS_FOLDER\n```",
        f"`config.json` lists {len(training.seen)} perceptual hashes, those of all images that the weights have seen, so that "
        "`mammozoo evaluate` can tell whether a test set is new to them."
        if training.seen
        else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scope(config: ModelConfig, facts: dict[str, Any]) -> str:
    folds = len(facts["splits"])
    if folds == 1:
        return "On the held-out test part, of which no image or near-duplicate was used for training or for any choice."
    return (
        f"Out of fold, over {folds} models, each tested on the part that it had not seen; the weights here are those of "
        f"one of them ({facts['model']['fold']}), chosen by its validation part."
    )


def _table(config: ModelConfig) -> str:
    rows = ["| score | value | 95 % interval | n |", "| --- | --- | --- | --- |"]
    for name, score in config.scores.items():
        value = "undefined" if score["value"] is None else f"{score['value']:.3f}"
        bounds = "" if score["low"] is None else f"{score['low']:.3f}–{score['high']:.3f}"
        rows.append(f"| {name} | {value} | {bounds} | {score['n']} |")
    return "\n".join(rows) + "\n\nIntervals: BCa bootstrap over groups, 2,000 draws, widened for few groups."


def _thresholds(config: ModelConfig) -> str:
    listed = ", ".join(f"{name} {t.value:.3f} (chosen on {t.chosen_on})" for name, t in config.thresholds.items())
    return f"* Thresholds of the probability of {config.classes[-1]}: {listed}. In force: {config.threshold}."


def _stages(config: ModelConfig) -> str:
    """What was trained on what, from which weights: the earlier stages, and the model itself."""
    training = config.training
    rows = [
        "| stage | data | classes | train / val | left out | strategy, head | epochs | from weights | SHA-256 of its weights |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for s in training.stages:
        classes = ", ".join(s.classes).replace("|", "\\|")
        rows.append(
            f"| {s.name} | `{s.dataset}` | {classes} | {s.images['train']} / {s.images['val']} | {s.left_out} | `{s.strategy}`, "
            f"`{s.head}` | {s.epochs} | {s.weights} | `{s.sha256[:16]}…` |"
        )
    rows.append(
        f"| this model | `{training.dataset}` | {', '.join(config.classes)} | {training.images['train']} / "
        f"{training.images['val']} | {training.left_out} | `{config.strategy}`, `{config.head}` | | {training.weights} | |"
    )
    note = (
        "Left out of a stage are images that the final model's validation or test part holds, or that belong with one of it: one "
        "patient, or near-duplicates."
    )
    return "\n".join(rows) + f"\n\n{note}"
