"""Freezing a study: the protocol is checked, and its digest, date and versions are written down before anything is opened.

frozen.json    SHA-256 of study.yaml, date, versions, commit, the tables that were there, the recipes, the files of models that are
               taken as they are, and the protocol itself
protocol.md    the same as a page to deposit
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

import mammozoo
from mammozoo.data.joined import open_dataset
from mammozoo.data.splits.exclusions import read_list
from mammozoo.documents import as_kind, read_json
from mammozoo.errors import ConflictError, IncompatibleError, UsageError
from mammozoo.evaluation.selective import MORE
from mammozoo.files import sha256, write_json, write_text
from mammozoo.plugins import registry
from mammozoo.study.ledger import Ledger, holding
from mammozoo.study.protocol import Protocol, answering, located, read_protocol
from mammozoo.zoo.registry import find_answering

FROZEN, PAGE = "frozen.json", "protocol.md"
#: What `frozen.json` fixes; the ledger holds its digest.
_FIXED = ("protocol", "tables", "recipes")
#: Of the files that a model is: weights, config, records.
_SUFFIXES = (".json", ".safetensors", ".yaml")
_FACTS = {"protocol_sha256": str, "date": str, "tables": dict, "protocol": dict}


def freeze(folder: Path) -> Path:
    """Check the protocol in `folder`, freeze it and return the page to deposit.

    Raises:
        UsageError, NotFoundError: the protocol names what is not there, or contradicts itself.
        ConflictError: a locked part has been opened.
    """
    with holding(folder):
        return _freeze(folder)


def _freeze(folder: Path) -> Path:
    protocol, digest = read_protocol(folder)
    check(protocol, folder)
    ledger = Ledger(folder)
    if ledger.of("opening") or ledger.of("opened") or (folder / "opened").exists():
        raise ConflictError(
            f"The study at '{folder}' has opened its locked parts: it is too late to freeze a protocol. Begin a new study, or "
            "run the changed protocol as a deviation: `mammozoo study run --deviate REASON`."
        )
    recipes = recipes_of(protocol, folder)
    facts: dict[str, Any] = {
        "schema": 1, "protocol_sha256": digest, "date": "", "mammozoo": mammozoo.__version__, "commit": "",
        "tables": {str(path): sha256(folder / path) for path in _files(protocol, folder) if (folder / path).is_file()},
        "recipes": {name: digest_of(text) for name, text in recipes.items()}, "protocol": protocol.model_dump(mode="json"),
        "models": {name: files_of(model.zoo, folder) for name, model in protocol.models.items() if model.zoo},
    }  # fmt: skip
    ledger.add("frozen", digest, tables=facts["tables"], fixed=fixed(facts))
    facts |= {"date": ledger.events[-1]["time"], "commit": ledger.events[-1]["commit"]}
    write_json(folder / FROZEN, facts)
    resolved = yaml.safe_dump(facts["protocol"], sort_keys=False, allow_unicode=True, width=110)
    commit = f" (commit {facts['commit']})" if facts["commit"] else ""
    fixing = facts["tables"] | {
        f"{model}, {name}": its for model, one in facts["models"].items() for name, its in one.items()
    }
    there = "".join(f"* {name}: SHA-256 {value}\n" for name, value in fixing.items()) or "None was there.\n"
    blocks = [
        "# Protocol",
        protocol.question,
        f"Frozen {facts['date']} by mammozoo {facts['mammozoo']}{commit}. SHA-256 of study.yaml:",
        f"    {digest}",
        "Tables, splits, weights and models at that time:",
        there.rstrip(),
        "With every default written out:",
        f"```yaml\n{resolved}```",
        *(f"The recipe of {name}:\n\n```yaml\n{text}```" for name, text in recipes.items()),
    ]
    return write_text(folder / PAGE, "\n\n".join(blocks) + "\n")


def fixed(frozen: dict[str, Any]) -> str:
    """SHA-256 of what `frozen.json` fixes."""
    models = [frozen["models"]] * ("models" in frozen)  # which older ones do not have
    return digest_of(json.dumps([*(frozen.get(key) for key in _FIXED), *models], sort_keys=True))


def recipes_of(protocol: Protocol, folder: Path) -> dict[str, str]:
    """The resolved recipe of each model that is trained."""
    return {name: resolved(protocol, name, folder) for name, model in protocol.models.items() if model.recipe}


def files_of(reference: str, folder: Path) -> dict[str, str]:
    """The weights, config and records of a model that is taken as it is → their SHA-256; raises as `find_answering`."""
    path = find_answering(answering(reference, folder), others=True)
    files = path.iterdir() if path.is_dir() else [path, *path.parent.glob(f"{glob.escape(path.name)}.*")]
    return {
        one.name: sha256(one) for one in sorted(files) if one.is_file() and (one == path or one.suffix in _SUFFIXES)
    }


def resolved(protocol: Protocol, name: str, folder: Path) -> str:
    """The recipe of a model with every default, as YAML, without where the data lie."""
    text = protocol.recipe_of(name, folder).model_copy(update={"root": None, "exclude": None}).to_yaml()
    return re.sub(r"^ *exclude: null\n", "", text, flags=re.MULTILINE)  # as in studies of before


def read_frozen(folder: Path) -> dict[str, Any]:
    """The content of `frozen.json`; UsageError if the study is not frozen, IncompatibleError if the file is damaged."""
    try:
        content = as_kind(read_json(folder / FROZEN), dict[str, Any])
        for key, kind in _FACTS.items():
            as_kind(content.get(key), kind)
        return content
    except FileNotFoundError:
        raise UsageError(
            f"The study at '{folder}' is not frozen: `mammozoo study freeze {folder}` comes first."
        ) from None
    except (OSError, ValueError) as error:
        raise IncompatibleError(
            f"'{folder / FROZEN}' cannot be read: {error}. It is damaged, or was changed."
        ) from None


def check(protocol: Protocol, folder: Path) -> None:
    """Raise NotFoundError or UsageError for a data set, recipe or score that is not there."""
    known = {*registry().items("metrics"), *(metric.name for metric in MORE)}
    for name in (protocol.choose.metric, protocol.primary.metric, *protocol.secondary):
        if name.partition("[")[0] not in known:
            registry().get("metrics", name)  # which names the nearest
    for name, model in protocol.models.items():
        if model.recipe:
            protocol.recipe_of(name, folder)
    if protocol.data and protocol.data.exclude:
        read_list(folder / protocol.data.exclude.expanduser())
    for source in (protocol.data, *protocol.locked.values()):
        if source is not None and source.dataset:
            open_dataset(source.dataset, located(source.root, folder))


def _files(protocol: Protocol, folder: Path) -> list[Path]:
    """Tables of predictions and of images, the list of excluded ones, splits, and weights: the files that the protocol names."""
    roots = [
        source.root for source in (protocol.data, *protocol.locked.values()) if source and isinstance(source.root, Path)
    ]
    recipes = [protocol.recipe_of(name, folder) for name, model in protocol.models.items() if model.recipe]
    weights = [Path(recipe.weights[5:]) for recipe in recipes if recipe.weights.startswith("file:")]
    # These are not below the study's folder.
    here = [path.expanduser().absolute() for path in (protocol.split.file, *weights) if path]
    return [
        *(path for model in protocol.models.values() for path in model.tables.values()),
        *map(Path.expanduser, roots),
        *([protocol.data.exclude.expanduser()] if protocol.data and protocol.data.exclude else []),
        *here,
    ]


def digest_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
