"""The CLAIM 2024 checklist (`CITATION`), filled as far as a run knows the answer; `claim.yaml` holds items and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mammozoo.evaluation.intervals import DRAWS
from mammozoo.evaluation.metric import printed
from mammozoo.evaluation.scores import bounds
from mammozoo.models.config import INTENDED_USE
from mammozoo.report.content import Content, weights_without_path
from mammozoo.report.mistakes import Gallery
from mammozoo.report.separation import Separation
from mammozoo.zoo.section import cell

State = Literal["filled", "partly", "open"]
CITATION = (
    "Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 "
    "Update. Radiology: Artificial Intelligence 2024;6(4):e240300."
)
DOI = "https://doi.org/10.1148/ryai.240300"
_DIAGNOSTIC = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class Item:
    """One of the 44 items: what the run knows of it, and what the authors have to add; both may be empty."""

    number: int
    section: str
    topic: str
    known: str
    missing: str

    @property
    def state(self) -> State:
        """How far the run fills the item."""
        if not self.known:
            return "open"
        return "partly" if self.missing else "filled"


def checklist(content: Content, separation: Separation, gallery: Gallery) -> list[Item]:
    """All 44 items in their order."""
    templates = environment(html=False)
    values = _values(content, separation) | {"gallery": gallery}
    sections = yaml.safe_load(resources.files("mammozoo.report").joinpath("claim.yaml").read_text(encoding="utf-8"))
    items: list[Item] = []
    for section in sections:
        for item in section["items"]:
            answers = [templates.from_string(item.get(part, "")).render(values) for part in ("known", "missing")]
            items.append(Item(len(items) + 1, section["section"], item["topic"], *answers))
    return items


def count(items: Sequence[Item]) -> Counter[State]:
    """How many items are in each state."""
    return Counter(item.state for item in items)


def _values(content: Content, separation: Separation) -> dict[str, Any]:
    """What the templates in `claim.yaml` may name."""
    config, recipe, info, facts, outcome = content.config, content.recipe, content.info, content.facts, content.outcome
    classes = listed(config.classes)
    modality = info.modality if info and info.modality != "any" else "breast"
    patients = content.test.patients != ""
    known_apart = content.synthetic or patients.all() or recipe.split.by == "patient"
    aucs = [content.auc(fold.name) for fold in content.folds]
    in_words = {name: f"{printed(name)} {score}" for name, score in content.scores.items()}
    diagnostic = [name for name in in_words if name.partition("[")[0] in _DIAGNOSTIC]
    of_the_run = ("config", "recipe", "info", "facts", "outcome", "folds", "models", "scores", "synthetic", "account")
    return {name: getattr(content, name) for name in of_the_run} | {
        "parameters": content.parameters,
        "input": config.input,
        "separation": separation,
        "generated": "Generated images: there are no patients, no devices and no readers." if content.synthetic else "",
        "intended_use": INTENDED_USE,
        "draws": DRAWS,
        "procedures": content.procedures(),
        "seeds": sorted({seed for _, seeds, _ in content.procedures() for seed in seeds}),
        "epochs": [len(fold.history) for fold in content.folds if fold.history],
        "task": f"classification of {modality} images into {classes}",
        "classes": classes,
        "all_classes": bool(info and info.classes) and set(config.classes) == set(info.classes if info else ()),
        "per_class": [f"{int((outcome.labels == k).sum())} {name}" for k, name in enumerate(outcome.classes)],
        "groups": len(np.unique(outcome.groups)),
        "patients": int(patients.sum()),
        "patients_apart": known_apart and not separation.leaky,
        "versions": [f"{name} {version}" for name, version in facts.get("versions", {}).items()],
        "weights": str(facts.get("weights", weights_without_path(recipe.weights))),
        "aucs": [auc for auc in aucs if auc is not None],
        "leaky_stamp": any("leak" in stamp for stamp in facts.get("stamps", [])),
        "diagnostic_scores": [in_words[name] for name in diagnostic],
        "measured": [printed(name) for name in in_words],
        "general_scores": [text for name, text in in_words.items() if name not in diagnostic],
    }


def environment(*, html: bool) -> Environment:
    """The templates in this package; with `html` every value is escaped."""
    loader = PackageLoader("mammozoo.report", "")
    templates = Environment(
        loader=loader, autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters.update({own.__name__: own for own in (listed, number, bounds, printed, cell)})
    templates.filters["general"] = lambda value: f"{value:g}"
    return templates


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def number(value: float | None) -> str:
    """Three decimals, as every score in the report has."""
    return "undefined" if value is None else f"{value:.3f}"
