"""All zoos together: the models they list, and the folder of each. Every load checks the bytes."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mammozoo.config.names import named_folder, reference_to
from mammozoo.errors import (
    ConflictError,
    IncompatibleError,
    NotFoundError,
    NotVerifiedError,
    RegistryError,
    UsageError,
    nearest,
)
from mammozoo.files import absent, given_path
from mammozoo.models.config import CONFIG
from mammozoo.plugins import GROUP, registry
from mammozoo.plugins.discovery import DISTRIBUTION, origin
from mammozoo.zoo.cache import joined_folder
from mammozoo.zoo.entry import Entry, ZooModel, read_zoo
from mammozoo.zoo.pull import check_remote, parse_reference, pull, pull_reference
from mammozoo.zoo.verify import check_tensors, check_usable, verify

log = logging.getLogger(__name__)

#: In a run: the folder of all its models as one, that of the model refitted on all images, the member that stands for the run.
ENSEMBLE, REFIT, BEST = "ensemble", "refit", "best"


def packaged_zoo() -> Path:
    """The `zoo.yaml` that comes with mammozoo: inside an installed package, at the root of a checkout."""
    installed = Path(__file__).parents[1] / "zoo.yaml"
    return installed if installed.is_file() else Path(__file__).parents[3] / "zoo.yaml"


def directory_zoos() -> list[Path]:
    """The `zoo.yaml` of each folder in `MAMMOZOO_ZOO` (several are separated as in PATH); NotFoundError if one has none."""
    folders = [given_path(part) for part in os.environ.get("MAMMOZOO_ZOO", "").split(os.pathsep) if part]
    for folder in folders:
        if not (folder / "zoo.yaml").is_file():
            raise NotFoundError(f"MAMMOZOO_ZOO names '{folder}', which has no zoo.yaml in it.")
    return [folder / "zoo.yaml" for folder in folders]


def catalogue() -> dict[str, ZooModel]:
    """Every model of the directory zoos, the packaged zoo and the plugins' zoos, by name.

    A name with the same files in two zoos is one model in two places, as after an export; it is read from the place that comes
    first. A withdrawal counts wherever it stands. Raises ConflictError for two different models of one name, RegistryError for a
    zoo that is not valid.
    """
    return _merged([*directory_zoos(), packaged_zoo(), *_zoos_of_plugins()])


def _catalogue_with(name: str) -> dict[str, ZooModel]:
    """The catalogue; if a plugin's zoo is invalid or in conflict and another zoo has `name`, without the plugins' zoos."""
    try:
        return catalogue()
    except (ConflictError, RegistryError) as error:
        others = _merged([*directory_zoos(), packaged_zoo()])
        if name not in others:
            raise
        log.warning("The zoos of plugins are left out: %s", error)
        return others


def _merged(zoos: Iterable[Path]) -> dict[str, ZooModel]:
    models: dict[str, ZooModel] = {}
    withdrawn: list[Entry] = []
    read = set[Path]()
    for path in zoos:
        if path.resolve() in read:  # a plugin's zoo may also be in MAMMOZOO_ZOO
            continue
        read.add(path.resolve())
        for entry in read_zoo(path).models:
            withdrawn += [entry] if entry.withdrawn else []
            first = models.setdefault(entry.name, ZooModel(entry, path))
            if first.entry is not entry and (first.zoo == path or first.entry.files != entry.files):
                two = f"Two zoos have a model '{entry.name}': '{first.zoo}' and '{path}', and their files differ"
                raise ConflictError(f"{two}. Rename one, or leave one zoo out.")
    return {name: ZooModel(_marked(model.entry, withdrawn), model.zoo) for name, model in models.items()}


def _marked(entry: Entry, withdrawn: Iterable[Entry]) -> Entry:
    """The entry, with the reason if the same files are withdrawn under whatever name and in whatever zoo."""
    reason = next((other.withdrawn for other in withdrawn if other.files == entry.files), "")
    return entry.model_copy(update={"withdrawn": entry.withdrawn or reason})


def _zoos_of_plugins() -> list[Path]:
    """The zoos of third-party plugins. Ours have their models in the packaged zoo, and importing them all takes seconds."""
    admitted = os.environ.get("MAMMOZOO_PLUGINS") != ""
    others = any(origin(entry)[0] != DISTRIBUTION for entry in importlib.metadata.entry_points(group=GROUP))
    if not (admitted and others) and not os.environ.get("MAMMOZOO_PLUGIN_FILES"):
        return []
    return [item.value for item in registry().items("zoos").values()]


def listed(name: str) -> ZooModel:
    """A model by its name, with or without the prefix `zoo:`; NotFoundError if no zoo has it."""
    name = name.removeprefix("zoo:")
    known = _catalogue_with(name)
    if name not in known:
        what, folder = f"Unknown model '{name}'.{nearest(name, known)}", Path(name)
        if (folder / "config.json").is_file():
            what = f"Unknown model '{name}'. The folder of that name is {reference_to(folder)}."
        elif folder.exists():
            what = f"There is no model in '{name}' (no config.json)."
        elif "/" in name:
            what += " On the Hub it would be hub:ORG/NAME@COMMIT."
        raise NotFoundError(f"{what} The zoo has: {', '.join(sorted(known)) or 'nothing yet'}.")
    return known[name]


def default_model() -> str:
    """The model that answers where none is named."""
    name = read_zoo(packaged_zoo()).default
    if name is None:
        raise NotFoundError("The packaged zoo names no default model; name one with --model.")
    return name


def find_model(reference: str | Path) -> Path:
    """The folder of a whole, checked model: `NAME` or `zoo:NAME` of a zoo, `hub:ORG/NAME@COMMIT`, or a folder.

    A folder, of a run or a model, is a `Path`, a path with a separator, or `run:FOLDER`. Only `hub:` asks a server.

    Raises:
        NotFoundError: there is no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: a file of a zoo model is not the one that its entry promises.
        IncompatibleError: it needs another mammozoo, or an adapter's base is another model than the pinned one.
        UsageError: it is another program's.
    """
    from mammozoo.models.predictor import foreign  # here: it needs torch, which the catalogue does not

    if (other := foreign(reference)) is not None:
        raise UsageError(
            f"'{reference}' is a model of another program ({other[1].name}), which can only predict on images: with `predict`, "
            "`serve`, or `evaluate` with data. This command needs a mammozoo model."
        )
    from mammozoo.zoo.adapter import is_adapter, join, parent_of, read_adapter

    if (folder := named_folder(reference)) is None:
        name = str(reference)
        if not name.startswith("hub:"):
            return whole(listed(name))
        folder = _referred(name)
    elif not (folder / "config.json").is_file():
        if str(reference).startswith("http"):
            raise NotFoundError(f"'{reference}' is an address. A model on the Hub is named hub:ORG/NAME@COMMIT.")
        hint = (
            absent(folder)
            if not folder.exists()
            else f" Name its folder, {reference_to(folder.parent)}." * folder.is_file()
        )
        raise NotFoundError(f"There is no model in '{folder}' (no config.json).{hint}")
    if not is_adapter(folder):
        return folder
    adapter = read_adapter(folder)  # one that no zoo lists
    out = joined_folder(adapter.full_sha256, folder)
    join(folder, parent_of(folder, adapter.base.name) or whole(listed(adapter.base.name)), out)
    return out


def find_answering(reference: str | Path, member: str | None = None, *, others: bool = False) -> Path:
    """The folder of the model that answers new images: of a run that trained several models all of them together.

    `member` names one of a run's: `best`, which stands for the run, or that of a fold, such as `fold-2`. With `others` it may
    also be another program's model, which may be a file.

    Raises:
        NotFoundError, NotVerifiedError, IncompatibleError: as `find_model`; or there is no such member.
    """
    from mammozoo.models.predictor import foreign

    if others and member is None and (other := foreign(reference)) is not None:
        return other[0]
    folder = find_model(reference)
    together = folder / ENSEMBLE
    if member is None:
        return together if (together / CONFIG).is_file() else folder
    chosen = folder if member == BEST and (folder / "run.json").is_file() else folder / member
    if not (chosen / CONFIG).is_file():
        there = {path.parent.relative_to(folder).as_posix() for path in folder.rglob(CONFIG)}
        known = sorted(there - {".", ENSEMBLE})
        remedy = f"It has {', '.join([BEST, *known])}." if known else "It is a single model: leave --member out."
        raise NotFoundError(f"'{reference}' has no member '{member}'.{nearest(member, known)} {remedy}")
    return chosen


def answering_weights(run: Path) -> Path:
    """The file of weights that answers for a complete run, as `find_answering` without `member`; its models are not checked."""
    together = run / ENSEMBLE / "model.safetensors"
    return together if together.is_file() else run / "model.safetensors"


def _referred(reference: str) -> Path:
    """The folder of `hub:ORG/NAME@COMMIT`, as `pull_reference` has it; NotFoundError if a zoo has withdrawn that commit."""
    if ":" in reference.removeprefix("hub:"):
        raise UsageError(f"'{reference}' is a file of weights for the start of a training (--weights), not a model.")
    source = parse_reference(reference)
    for model in catalogue().values():
        if model.from_hub == source:
            check_usable(model.entry)
    return pull_reference(reference)


def whole(model: ZooModel) -> Path:
    """The folder of a zoo's model with its `model.safetensors`: its own, or for an adapter one joined with its base."""
    from mammozoo.zoo.adapter import join, read_adapter

    chain = with_bases(model)
    folders = []
    for link in chain:
        check_usable(link.entry)
        folders.append(verify(link))
    result = folders.pop()
    for link, folder in zip(reversed(chain[:-1]), reversed(folders), strict=True):
        if read_adapter(folder).full_sha256 != link.entry.full_sha256:
            name = link.entry.name
            raise NotVerifiedError(
                f"Model '{name}': its config.json and its zoo state different SHA-256 values for the whole model."
            )
        base, result = result, joined_folder(weights_sha256(link.entry), folder)
        join(folder, base, result)
    return result


def with_bases(model: ZooModel) -> list[ZooModel]:
    """A model and, for an adapter, its base, the base's base, and so on.

    Raises:
        NotFoundError: no zoo has a base.
        IncompatibleError: a base is another model than the one that the adapter was made for.
        RegistryError: a model is an adapter of itself.
    """
    chain = [model]
    while (pinned := chain[-1].entry.base) is not None:
        adapter = f"Model '{chain[-1].entry.name}' is an adapter of '{pinned.name}'"
        base = _catalogue_with(pinned.name).get(pinned.name)
        if base is None:
            remedy = "Export it too (`mammozoo zoo export --with-base`), or add its zoo."
            raise NotFoundError(f"{adapter}, which no zoo has. {remedy}")
        if weights_sha256(base.entry) != pinned.sha256:
            raise IncompatibleError(
                f"{adapter} with other weights (SHA-256 {pinned.sha256[:16]}…) than those of '{base.zoo}'. Get the adapter's "
                "newest version, or the base's older one."
            )
        if base.entry.name in [link.entry.name for link in chain]:
            raise RegistryError(f"Model '{chain[-1].entry.name}' is an adapter of itself, through its bases.")
        chain.append(base)
    return chain


def weights_sha256(entry: Entry) -> str:
    """SHA-256 of a model's whole `model.safetensors`."""
    return entry.full_sha256 or entry.files["model.safetensors"].sha256


def pull_model(reference: str) -> Path:
    """The folder of a model after it, and an adapter's base, were fetched as far as files were missing; raises as `pull`."""
    if reference.startswith("hub:"):
        from mammozoo.zoo.adapter import is_adapter, read_adapter

        folder = _referred(reference)
        if is_adapter(folder):
            pull_model(read_adapter(folder).base.name)
        return folder
    first, *bases = with_bases(listed(reference))
    for base in reversed(bases):
        pull(base)
    return pull(first)


def check(model: ZooModel, *, deep: bool = False, remote: bool = False) -> list[str]:
    """Check a model against its zoo; the result names what was checked.

    `deep` also builds the model and checks every weight; `remote` also asks the Hub whether it still has the same files. Raises
    as `verify`, `check_tensors` and `check_remote` do.
    """
    verify(model)
    done = [f"{len(model.entry.files)} files"]
    if deep:
        done.append(f"{check_tensors(whole(model)):,} weights")
    if remote and model.from_hub:
        check_remote(model)
        done.append("the Hub")
    return done
