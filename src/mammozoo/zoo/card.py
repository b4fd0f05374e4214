"""The model card: what a model is, how good it is with what certainty, and what it is not for. Written from facts only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from mammozoo.models.config import ModelConfig

_TAGS = ("medical", "breast-imaging", "research-only")
#: The Hub's names of scores that it knows under another one.
_HUB_METRICS = {"auc": "roc_auc", "macro-f1": "f1"}


@dataclass(frozen=True)
class Publication:
    """What a published model's card says and its run does not know.

    Attributes:
        name: of the model, in a zoo.
        version: of the model; tag `vVERSION`.
        license: SPDX expression of the weights' licence.
        data_terms: what the data behind the weights asks for.
        repository: `ORG/NAME` on the Hub; empty for a directory zoo.
        kind: the whole model, its difference to a base, or its backbone alone.
        base: of an adapter: the base's name in a zoo, and its repository on the Hub where it has one.
    """

    name: str
    version: str
    license: str
    data_terms: str
    repository: str
    kind: Literal["full", "adapter", "backbone"] = "full"
    base: str = ""
    base_repository: str = ""


def write_card(config: ModelConfig, facts: dict[str, Any]) -> str:
    """`README.md` of a model; `facts` is the content of its run's `run.json`."""
    front = {"library_name": "mammozoo", "pipeline_tag": "image-classification", "tags": list(_TAGS)}
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{_body(config, facts)}"


def publish_card(config: ModelConfig, facts: dict[str, Any] | None, own: str, publication: Publication) -> str:
    """`README.md` of a model as it is published, with the metadata that the Hub shows.

    Without the `facts` of a run, the text is that of the model's `own` card.
    """
    text = _body(config, facts) if facts else _FRONT.sub("", own, count=1).lstrip("\n")
    text = re.sub(r"^# .*$", f"# {publication.name}", text, count=1, flags=re.MULTILINE)
    if publication.kind == "backbone":
        text = re.sub(r"^## Use\n\n```.*?^```\n+", "", text, flags=re.DOTALL | re.MULTILINE)
    reference = f"hub:{publication.repository}@COMMIT" if publication.repository else publication.name
    text = text.replace("--model THIS_FOLDER", f"--model {reference}")
    parts = [
        _front(config, publication),
        text.rstrip("\n"),
        *_kind(publication),
        "## Licence",
        _terms(config, publication),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_FRONT = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)


def _front(config: ModelConfig, publication: Publication) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    training = config.training
    results = [
        EvalResult(
            task_type="image-classification", dataset_type=training.dataset, dataset_name=training.dataset, dataset_split="test",
            dataset_revision=training.split_sha256 or None, metric_type=_HUB_METRICS.get(name, name), metric_value=score["value"],
            metric_name=f"{name} (95 % interval {score['low']:.3f} to {score['high']:.3f}, n = {score['n']})",
            metric_args={"ci_low": score["low"], "ci_high": score["high"], "level": 0.95, "n": score["n"]},
        )
        for name, score in config.scores.items()
        if "[" not in name and None not in (score["value"], score["low"], score["high"])
    ]  # fmt: skip
    backbone = publication.kind == "backbone"
    data = ModelCardData(
        license=_hub_license(publication.license),
        license_name=publication.license if _hub_license(publication.license) == "other" else None,
        library_name="timm" if backbone else "mammozoo",
        pipeline_tag="image-feature-extraction" if backbone else "image-classification",
        tags=[*_TAGS, *(["mammozoo"] if backbone else [])],
        base_model=publication.base_repository or None,
        base_model_relation="adapter" if publication.base_repository else None,
        model_name=publication.name,
        eval_results=None if backbone else results,
    )
    return f"---\n{data.to_yaml()}\n---"


def _hub_license(expression: str) -> str:
    """The Hub's identifier: the SPDX one in small letters; a compound or own licence is `other` there."""
    return "other" if " " in expression or expression.startswith("LicenseRef") else expression.lower()


def _kind(publication: Publication) -> list[str]:
    if publication.kind == "adapter":
        return [
            "## Adapter",
            f"The weights here are the difference to `{publication.base}`; mammozoo fetches that, checks both, and makes of them "
            "the whole model, bit by bit the one that was trained.",
        ]
    if publication.kind == "backbone":
        return [
            "## Backbone",
            "The weights here are the backbone's alone, under timm's own names; the scores are those of the whole model, with the "
            "head that it was trained with.",
            f'```python\ntimm.create_model("hf-hub:{publication.repository}@COMMIT", pretrained=True)\n```',
        ]
    return []


def _terms(config: ModelConfig, publication: Publication) -> str:
    return (
        f"Weights, version {publication.version}: {publication.license}. Data `{config.training.dataset}`: "
        f"{publication.data_terms.rstrip('.')}. Research only."
    )


def _body(config: ModelConfig, facts: dict[str, Any]) -> str:
    training = config.training
    parts = [
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
