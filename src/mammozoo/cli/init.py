"""`mammozoo init`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, say
from mammozoo.errors import UsageError
from mammozoo.files import absent, refuse_to_replace, write_text

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.data.quality.description import Contents

EXAMPLES = """
mammozoo init ~/clinic
mammozoo init ~/clinic/images.csv --preset quick --out quick.yaml
"""


def init(
    data: str = typer.Argument(..., help="Your folder or table of images, or the folder of a published data set."),
    preset: str = typer.Option(None, help="quick or best, as for `train`."),
    out: Path = typer.Option(Path("recipe.yaml"), help="The recipe to write."),
) -> None:
    """Look at your data and write a recipe for them, with a reason for each key. Edit the recipe and train."""
    from mammozoo.config.loading import OWN, load, own_data
    from mammozoo.data.joined import open_dataset
    from mammozoo.data.quality.description import contents
    from mammozoo.plugins import registry

    refuse_to_replace(out, None)
    if own_data(data) is None:
        raise UsageError(
            f"'{data}' is neither a folder nor a table.{absent(data)} For a recipe that there is: mammozoo show NAME"
        )
    own = f"{OWN}-{preset}" if preset else OWN
    registry().get("recipes", own)
    recipe = load(data, own=own)
    found = contents(open_dataset(recipe.dataset, recipe.root))
    write_text(out, _text(recipe, found, recipe.why))
    for text in found.notes:
        note(text)
    say(f"{out}: {_summary(found)}")
    note(
        f"Check the data: mammozoo data check {recipe.dataset} --root {recipe.root}\nThen: mammozoo train {out} --dry-run"
    )


def _summary(found: Contents) -> str:
    classes = ", ".join(f"{number} {name}" for name, number in found.classes.items())
    patients = "no patient is named" if found.patients is None else f"{found.patients} patients"
    return f"{found.images} images ({classes}), {patients}"


def _text(recipe: Recipe, found: Contents, why: Mapping[str, str]) -> str:
    """The recipe as YAML: every key that has a reason in `why`, above it, or another value than a recipe without settings."""
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    fields = {
        key: changed.get(key, value)
        for key, value in recipe.model_dump(mode="json").items()
        if key in changed or any(name.partition(".")[0] == key for name in why)
    }
    fields |= {"root": str(Path(str(recipe.root)).resolve()), "summary": f"made for {recipe.data_name}"}
    del fields["why"]
    why = {"dataset": "as which the folder or table was read", "root": "where the images lie", **why}
    fewest = min(found.classes.values())
    if recipe.split.folds > fewest > 1:
        fields["split"]["folds"] = fewest
        why["split.folds"] = f"the rarest class has {fewest} images"
    lines = [f"# {' '.join(_summary(found).split())}.", "# Every other key and its value: mammozoo show THIS_FILE", ""]
    return "\n".join([*lines, *_lines("", fields, why), ""])


def _lines(prefix: str, fields: dict[str, Any], why: Mapping[str, str]) -> Iterator[str]:
    import yaml

    for name, value in fields.items():
        key = f"{prefix}{name}"
        if key in why:
            yield f"# {why[key]}"
        if isinstance(value, dict) and any(one.startswith(f"{key}.") for one in why):  # a section with reasons inside
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(f"{key}.", value, why))
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
            yield f"{name}: {text.removesuffix('...' + chr(10)).rstrip()}"
