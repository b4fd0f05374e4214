"""What a recipe or paper promises: it loads, and everything that it names is known."""

from __future__ import annotations

from pathlib import Path

from mammozoo.config.loading import load
from mammozoo.config.names import parse
from mammozoo.data.preprocessing import LESION, Input
from mammozoo.data.transforms import build
from mammozoo.errors import MammozooError
from mammozoo.models.factory import build_strategy
from mammozoo.plugins import registry
from mammozoo.reproduction.paper import load_paper
from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import Named


class RecipeRules(Named[Path]):
    """Tried on the file; no data are read."""

    @rule("`mammozoo train NAME` and `mammozoo show NAME` refuse it otherwise. Change the key that they name.")
    def loads(self) -> None:
        """The file is a recipe: known keys, values of the right type."""
        load(str(self.value))

    @rule("`mammozoo list recipes` shows it. Begin the file with `# name: what it does`.")
    def has_summary(self) -> None:
        """The first line is a comment that says what it does."""
        first = self.value.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("#") and first.partition(": ")[2].strip(), "Its first line is not a summary."

    @needs(loads)
    @rule("A training stops once the data are read. Correct the name, or depend on the package that brings it.")
    def names_known_things(self) -> None:
        """Data set, backbone, head, strategy, transforms and metric are known, with the options that it gives."""
        whole, known = load(str(self.value)), registry()
        try:
            for recipe in [*map(whole.of_stage, range(len(whole.stages))), whole]:
                for kind, name in (
                    ("datasets", recipe.dataset),
                    ("backbones", recipe.backbone),
                    ("heads", recipe.head),
                    ("losses", recipe.methods.loss),
                ):
                    known.get(kind, parse(name).name)
                build_strategy(recipe.strategy)
                for name in (*recipe.preprocess, *recipe.augment):
                    if parse(name).name != LESION:
                        build(name)
                Input(size=(8, 8), preprocess=recipe.preprocess).preparer()  # the options of `lesion`
                if recipe.monitor != "loss":
                    known.get("metrics", recipe.monitor.partition("[")[0])
        except MammozooError as error:
            raise AssertionError(str(error)) from None


class PaperRules(Named[Path]):
    """Tried on the file; nothing is trained."""

    @rule("`mammozoo reproduce` refuses it otherwise. Change the key that the message names.")
    def paper_loads(self) -> None:
        """The file is a paper, and each row makes a recipe under each protocol."""
        paper = load_paper(str(self.value))
        for protocol in paper.protocols:
            for row in paper.rows:
                paper.recipe(protocol, row.name)
