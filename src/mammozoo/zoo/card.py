"""The model card: what a model is, its scores with their uncertainty, and its limits. Written from facts only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from mammozoo.config.names import named_folder
from mammozoo.evaluation.metric import printed
from mammozoo.models.config import ModelConfig
from mammozoo.text import interval
from mammozoo.zoo.account import Account
from mammozoo.zoo.elsewhere import Elsewhere
from mammozoo.zoo.registry import listed
from mammozoo.zoo.section import cell

_TAGS = ("medical", "breast-imaging", "research-only")
#: The Hub's own names of scores.
_HUB_METRICS = {"auc": "roc_auc", "macro-f1": "f1"}
_FRONT = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Publication:
    """Facts for the card of a published model that its run does not hold.

    Attributes:
        version: the tag is `vVERSION`.
        license: SPDX expression of the weights' licence; `data_terms` are those of the data behind them.
        repository: `ORG/NAME` on the Hub; empty for a directory zoo.
        kind: the whole model, its difference to a base, or its backbone alone.
        base: name of an adapter's base in a zoo; `base_repository` is that on the Hub, if there is one.
    """

    name: str
    version: str
    license: str
    data_terms: str
    repository: str
    kind: Literal["full", "adapter", "backbone"] = "full"
    base: str = ""
    base_repository: str = ""


def write_card(config: ModelConfig, account: Account, joint: str = "") -> str:
    """`README.md` of the model of a run, or of one that stands for all its fits: `joint` says how that came about."""
    front = {"library_name": "mammozoo", "pipeline_tag": "image-classification", "tags": list(_TAGS)}
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{_body(config, account, joint)}"


def terms_in(card: str) -> str:
    """What a card says of its licence: the section that `publish_card` writes, or else its metadata; empty if it says none."""
    own = re.search(r"^## Licence\n+(.+)", card, re.MULTILINE)
    stated = own or re.search(r"\A---\n(?:.*\n)*?license: *(.+)", card)
    return "".join(c for c in stated[1] if c.isprintable()) if stated else ""


def licence_of(reference: str | Path, folder: Path) -> str:
    """The licence of the weights: what a zoo says of its model, or else a model's card; empty if neither says any."""
    if named_folder(reference) is None and not str(reference).startswith("hub:"):
        return listed(str(reference)).entry.license
    card = folder / "README.md"
    return terms_in(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ""


def publish_card(
    config: ModelConfig,
    account: Account | None,
    own: str,
    publication: Publication,
    elsewhere: Sequence[Elsewhere] = (),
    limits: str = "",
) -> str:
    """`README.md` of a published model, with the metadata that the Hub shows, and its scores and limits elsewhere.

    Without the `account` of a run, the text is that of the model's `own` card.
    """
    text = _body(config, account) if account else _FRONT.sub("", own, count=1).lstrip("\n")
    text = re.sub(r"^# .*$", f"# {publication.name}", text, count=1, flags=re.MULTILINE)
    reference = f"hub:{publication.repository}@COMMIT" if publication.repository else publication.name
    text = text.replace("--model THIS_FOLDER", f"--model {reference}")
    kind: list[str] = []
    added = ["## On other data", *(part for one in elsewhere for part in one.section())] if elsewhere else []
    added += ["## What it must not be used for", limits.strip()] if limits.strip() else []
    if publication.kind == "adapter":
        kind = [
            "## Adapter",
            f"The weights here are the difference to `{publication.base}`; mammozoo fetches that, checks both, and makes of them "
            "the whole model, bit by bit the one that was trained.",
        ]
    elif publication.kind == "backbone":
        text = re.sub(r"^## Use\n\n```.*?^```\n+", "", text, flags=re.DOTALL | re.MULTILINE)
        kind = [
            "## Backbone",
            "The weights here are the backbone's alone, under timm's own names; the scores are those of the whole model, with the "
            "head that it was trained with.",
            f'```python\ntimm.create_model("hf-hub:{publication.repository}@COMMIT", pretrained=True)\n```',
        ]
    terms = (
        f"Weights, version {publication.version}: {publication.license}. Data `{config.training.dataset}`: "
        f"{publication.data_terms.rstrip('.')}. Research only."
    )
    return (
        "\n\n".join([_front(config, account, publication), text.rstrip("\n"), *added, *kind, "## Licence", terms])
        + "\n"
    )


def _front(config: ModelConfig, account: Account | None, publication: Publication) -> str:
    """The metadata block of a published card; its scores are those of the model alone, if they are known."""
    from huggingface_hub import EvalResult, ModelCardData

    training, own = config.training, account and account.own
    part = account.part if account and not own else "test"
    results = [
        EvalResult(
            task_type="image-classification", dataset_type=training.dataset, dataset_name=training.dataset, dataset_split=part,
            dataset_revision=training.split_sha256 or None, metric_type=_HUB_METRICS.get(name, name), metric_value=score["value"],
            metric_name=f"{printed(name)} (95 % interval {score['low']:.3f} to {score['high']:.3f}, n = {score['n']})",
            metric_args={"ci_low": score["low"], "ci_high": score["high"], "level": 0.95, "n": score["n"]},
        )
        for name, score in (own or config.scores).items()
        if "[" not in name and None not in (score["value"], score["low"], score["high"])
    ]  # fmt: skip
    backbone, license = publication.kind == "backbone", publication.license
    # The Hub's identifiers are SPDX's in small letters; it calls a compound licence or one of your own `other`.
    known = " " not in license and not license.startswith("LicenseRef")
    data = ModelCardData(
        license=license.lower() if known else "other",
        license_name=None if known else license,
        library_name="timm" if backbone else "mammozoo",
        pipeline_tag="image-feature-extraction" if backbone else "image-classification",
        tags=[*_TAGS, *(["mammozoo"] if backbone else [])],
        base_model=publication.base_repository or None,
        base_model_relation="adapter" if publication.base_repository else None,
        model_name=publication.name,
        # Scores of others are no results of this model.
        eval_results=None if backbone or (account is None and config.scores_of) else results,
    )
    return f"---\n{data.to_yaml()}\n---"


def _body(config: ModelConfig, account: Account, joint: str = "") -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"printed": printed, "interval": interval, "cell": cell}
    template = environment.from_string(Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8"))
    return template.render(config=config, training=config.training, account=account, facts=account.facts, joint=joint)
