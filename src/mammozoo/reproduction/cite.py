"""What a paper that uses a run has to cite, as BibTeX: the tool, the method, the data, the weights."""

from __future__ import annotations

import re
from pathlib import Path

import mammozoo
from mammozoo.config.names import parse_sum
from mammozoo.config.recipe import Recipe
from mammozoo.data.joined import kinds_of
from mammozoo.evaluation.run_files import read_facts
from mammozoo.files import sha256
from mammozoo.plugins import registry
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.registry import answering_weights

_TITLE = "mammozoo: transfer learning for breast imaging with guarded splits and honest scores"


def bibtex(folder: Path) -> str:
    """The entries for a run: what its recipe names, and of its strategies the papers that their plugins bring.

    Raises:
        NotFoundError: there is no run, or a plugin that it needs is not installed.
    """
    run, facts = RunDirectory.open(folder), read_facts(folder)
    version = facts.get("versions", {}).get("mammozoo", mammozoo.__version__)
    texts = [_entry("software", "mammozoo", author="The mammozoo contributors", title=_TITLE, version=version)]
    recipes = [*(run.recipe.of_stage(number) for number in range(len(run.recipe.stages))), run.recipe]
    cited = {}
    for key in (key for recipe in recipes for key in _papers(recipe)):
        paper = load_paper(key)
        cited[paper.citation] = _entry("misc", key, title=paper.title, note=paper.citation)
    for recipe in recipes:
        for own, kind in kinds_of(recipe.dataset).items():
            if kind.info.citation:
                cited[kind.info.citation] = _entry("misc", own, note=kind.info.citation, url=kind.info.url)
    start = str(facts.get("weights", run.recipe.weights))
    if start != "random":
        texts.append(_entry("misc", "weights", title=f"Starting weights of {run.recipe.backbone}: {start}"))
    weights, together = answering_weights(folder), run.facts.get("ensemble")
    title = f"Model {run.recipe.name}{f', {together} models together' if together else ''}"
    note = f"SHA-256 {sha256(weights)}" if weights.is_file() else ""
    texts.append(_entry("misc", "model", title=title, note=note))
    return "\n".join([texts[0], *cited.values(), *texts[1:]])


def _papers(recipe: Recipe) -> list[str]:
    """The paper of the recipe, and of the plugins that bring its strategies."""
    brought = {registry().provider("strategies", spec.name).name for spec in parse_sum(recipe.strategy)}
    papers = [key for key, item in registry().items("papers").items() if item.plugin.name in brought]
    return [recipe.paper, *papers] if recipe.paper else papers


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{_field(name, text)}}}," for name, text in fields.items() if text]
    return "\n".join([f"@{kind}{{{re.sub(r'[^A-Za-z0-9.:-]', '-', key)},", *lines, "}", ""])


def _field(name: str, text: str) -> str:
    """One line, in which the signs of TeX are text; an address stays as it is, and an author is one name."""
    plain = re.sub(r"[{}\\]", "", " ".join(text.split()))
    escaped = plain if name == "url" else re.sub(r"([&%$#_])", r"\\\1", plain)
    return f"{{{escaped}}}" if name == "author" else escaped
