"""The CLAIM 2024 checklist, filled as far as a run knows the answer.

Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024
Update. Radiology: Artificial Intelligence 2024;6(4):e240300. doi:10.1148/ryai.240300. Topics are in our words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["filled", "partly", "open"]
CITATION = (
    "Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 "
    "Update. Radiology: Artificial Intelligence 2024;6(4):e240300."
)
DOI = "https://doi.org/10.1148/ryai.240300"


@dataclass(frozen=True)
class Answer:
    """What the run knows of an item, and what it does not; `missing` is empty where nothing is left to say."""

    known: str
    missing: str = ""


@dataclass(frozen=True)
class Item:
    """One of the 44 items, with its answer."""

    number: int
    section: str
    topic: str
    answer: Answer | None = None

    @property
    def state(self) -> State:
        """How far it is filled."""
        if self.answer is None:
            return "open"
        return "partly" if self.answer.missing else "filled"


_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Title and abstract", ("AI method and its kind named in the title", "Structured summary")),
    ("Introduction", ("Background and the intended clinical role", "Aims, objectives, hypotheses")),
    ("Methods: study design", ("Prospective or retrospective", "Goal of the study")),
    (
        "Methods: data",
        (
            "Sources of the data",
            "Inclusion and exclusion criteria",
            "Preprocessing",
            "Choice of parts of the data",
            "De-identification",
            "Missing data",
            "Image acquisition",
        ),
    ),
    (
        "Methods: reference standard",
        (
            "How the reference standard was obtained",
            "Why this reference standard",
            "Who annotated",
            "Annotation of the test set",
            "Agreement between and within readers",
        ),
    ),
    ("Methods: data partitions", ("Assignment to partitions", "Level at which partitions are disjoint")),
    ("Methods: testing data", ("Intended sample size",)),
    ("Methods: model", ("Description of the model", "Software and versions", "Initial values of the parameters")),
    ("Methods: training", ("Training procedure", "Choice of the final model", "Ensembles")),
    (
        "Methods: evaluation",
        (
            "Metrics",
            "Uncertainty and significance",
            "Robustness and sensitivity",
            "Explanations",
            "Testing on internal data",
            "Testing on external data",
            "Trial registration",
        ),
    ),
    ("Results: data", ("Numbers included and excluded", "Demographic and clinical characteristics by partition")),
    (
        "Results: model performance",
        ("Performance with its uncertainty", "Diagnostic performance and its precision", "Analysis of failures"),
    ),
    ("Discussion", ("Limitations", "Implications for practice, intended use")),
    (
        "Other information",
        ("Protocol or further technical details", "Availability of software, model, data", "Funding and its role"),
    ),
)


def checklist(answers: Mapping[int, Answer]) -> list[Item]:
    """All 44 items in order; those without an answer are open."""
    topics = [(section, topic) for section, inside in _SECTIONS for topic in inside]
    return [Item(number, *topic, answers.get(number)) for number, topic in enumerate(topics, 1)]


def count(items: list[Item]) -> dict[State, int]:
    """How many items are in each state."""
    states = [item.state for item in items]
    return {"filled": states.count("filled"), "partly": states.count("partly"), "open": states.count("open")}
