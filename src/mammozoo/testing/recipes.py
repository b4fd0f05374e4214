"""What a recipe or paper promises: it loads, and everything that it names is known."""

from __future__ import annotations

from pathlib import Path

from mammozoo.config.names import parse
from mammozoo.config.recipe import load
from mammozoo.data.preprocessing import LESION, Input
from mammozoo.data.transforms import build
from mammozoo.errors import MammozooError
from mammozoo.models.factory import build_strategy
from mammozoo.plugins import registry
from mammozoo.reproduction.paper import load_paper
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary

RecipeSubject = Subject[Path]


@rule()
def loads(subject: RecipeSubject) -> None:
    """The file is a recipe: known keys, values of the right type.

    `mammozoo train NAME` refuses it otherwise. `mammozoo show NAME` says the same; change the key that it names.
    """
    load(str(subject.value))


@rule()
def has_summary(subject: RecipeSubject) -> None:
    """The first line is a comment that says what it does.

    `mammozoo list recipes` shows it. Begin the file with `# name: what it does`.
    """
    first = subject.value.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("#") and first.partition(": ")[2].strip(), "Its first line is not a summary."


@rule(loads)
def names_known_things(subject: RecipeSubject) -> None:
    """Data set, backbone, head, strategy, transforms and metric are known, with the options that it gives.

    A recipe that names what nobody has stops after the data are read. Install what brings it, name that package as a dependency,
    or correct the name.
    """
    whole = load(str(subject.value))
    known = registry()
    try:
        for recipe in [*map(whole.of_stage, range(len(whole.stages))), whole]:
            known.get("datasets", parse(recipe.dataset).name)
            known.get("backbones", parse(recipe.backbone).name)
            known.get("heads", parse(recipe.head).name)
            build_strategy(recipe.strategy)
            for name in (*recipe.preprocess, *recipe.augment):
                if parse(name).name != LESION:
                    build(name)
            Input(size=(8, 8), preprocess=recipe.preprocess).preparer()  # the options of `lesion`
            if recipe.monitor != "loss":
                known.get("metrics", recipe.monitor.partition("[")[0])
    except MammozooError as error:
        raise AssertionError(str(error)) from None


@rule()
def paper_loads(subject: RecipeSubject) -> None:
    """The file is a paper, and each row makes a recipe under each protocol.

    `mammozoo reproduce` refuses it otherwise. Change the key that the message names.
    """
    paper = load_paper(str(subject.value))
    for protocol in paper.protocols:
        for row in paper.rows:
            paper.recipe(protocol, row.name)


RULES: list[Rule[Path]] = [has_name_and_summary, loads, has_summary, names_known_things]
PAPER_RULES: list[Rule[Path]] = [has_name_and_summary, paper_loads]
