"""What a recipe or paper must keep: it loads, and all that it names is there."""

from __future__ import annotations

from pathlib import Path

from mammozoo.config.names import parse
from mammozoo.config.recipe import Recipe, load
from mammozoo.data.preprocessing import LESION, Input
from mammozoo.data.transforms import build
from mammozoo.errors import MammozooError
from mammozoo.models.factory import build_strategy
from mammozoo.plugins import registry
from mammozoo.reproduction.paper import load_paper
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary

RecipeSubject = Subject[Path]


@rule(
    "`mammozoo train NAME` refuses it otherwise.", "`mammozoo show NAME` says the same; change the key that it names."
)
def loads(subject: RecipeSubject) -> str | None:
    """The file is a recipe: known keys, values of the right type."""
    load(str(subject.value))
    return None


@rule("`mammozoo list recipes` shows it.", "Begin the file with `# name: what it does`.")
def has_summary(subject: RecipeSubject) -> str | None:
    """The first line is a comment that says what it does."""
    first = subject.value.read_text(encoding="utf-8").partition("\n")[0]
    return None if first.startswith("#") and first.partition(": ")[2].strip() else "Its first line is no summary."


@rule(
    "A recipe that names what nobody has stops after the data are read.",
    "Install what brings it, name that package as a dependency, or correct the name.",
    needs=[loads],
)
def names_known_things(subject: RecipeSubject) -> str | None:
    """Data set, backbone, head, strategy, transforms and metric are known, with the options that it gives."""
    recipe = load(str(subject.value))
    try:
        known = [_known(one) for one in [recipe.of_stage(n) for n in range(len(recipe.stages))] + [recipe]]
    except MammozooError as error:
        return str(error)
    return next((problem for problem in known if problem), None)


@rule("`mammozoo reproduce` refuses it otherwise.", "Change the key that the message names.")
def paper_loads(subject: RecipeSubject) -> str | None:
    """The file is a paper, and each row makes a recipe under each protocol."""
    paper = load_paper(str(subject.value))
    for protocol in paper.protocols:
        for row in paper.rows:
            paper.recipe(protocol, row.name)
    return None


RULES: list[Rule[Path]] = [has_name_and_summary, loads, has_summary, names_known_things]
PAPER_RULES: list[Rule[Path]] = [has_name_and_summary, paper_loads]


def _known(recipe: Recipe) -> str | None:
    registry().get("datasets", parse(recipe.dataset).name)
    registry().get("backbones", parse(recipe.backbone).name)
    registry().get("heads", parse(recipe.head).name)
    build_strategy(recipe.strategy)
    for name in (*recipe.preprocess, *recipe.augment):
        if parse(name).name != LESION:
            build(name)
    assert Input(size=(8, 8), preprocess=recipe.preprocess).preparer()  # options of `lesion`
    if recipe.monitor != "loss":
        registry().get("metrics", recipe.monitor.partition("[")[0])
    return None
