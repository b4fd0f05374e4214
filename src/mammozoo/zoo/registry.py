"""All zoos together: which models there are, and the folder of each. Every load checks the bytes."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError, NotVerifiedError, RegistryError, nearest
from mammozoo.plugins import GROUP, registry
from mammozoo.plugins.discovery import DISTRIBUTION, origin
from mammozoo.zoo.entry import Base, Entry, read_zoo
from mammozoo.zoo.places import Listed, joined_folder
from mammozoo.zoo.pull import pull, pull_reference
from mammozoo.zoo.verify import check_remote, check_tensors, check_usable, verify

log = logging.getLogger(__name__)


def packaged_zoo() -> Path:
    """The `zoo.yaml` that comes with mammozoo; a checkout's own, where it runs from one, is newer than the copy in it."""
    checkout = Path(__file__).parents[3] / "zoo.yaml"
    return checkout if checkout.is_file() else Path(__file__).parents[1] / "zoo.yaml"


def directory_zoos() -> list[Path]:
    """The `zoo.yaml` of each folder in `MAMMOZOO_ZOO` (several: separated as in PATH).

    Raises:
        NotFoundError: a folder has none.
    """
    found = [
        Path(part).expanduser() / "zoo.yaml" for part in os.environ.get("MAMMOZOO_ZOO", "").split(os.pathsep) if part
    ]
    for path in found:
        if not path.is_file():
            raise NotFoundError(f"MAMMOZOO_ZOO names '{path.parent}', and there is no zoo.yaml in it.")
    return found


def catalogue() -> dict[str, Listed]:
    """Every model of the directory zoos, the packaged zoo and the plugins' zoos, by name.

    One name in two zoos with the same files is one model at two places, as after an export; it is then read from the place
    that comes first, directories before all others.

    Raises:
        ConflictError: two zoos have different models of one name, or one zoo has a name twice.
        RegistryError: a zoo is not valid.
    """
    return _joined([*directory_zoos(), packaged_zoo(), *_zoos_of_plugins()])


def _catalogue_with(name: str) -> dict[str, Listed]:
    """The catalogue; without the plugins' zoos where one of them is at fault and `name` is a model of the others."""
    try:
        return catalogue()
    except (ConflictError, RegistryError) as error:
        others = _joined([*directory_zoos(), packaged_zoo()])
        if name not in others:
            raise
        log.warning("The zoos of plugins are left out: %s", error)
        return others


def _joined(zoos: Iterable[Path]) -> dict[str, Listed]:
    found: dict[str, Listed] = {}
    once: dict[Path, Path] = {}
    for zoo in zoos:
        once.setdefault(zoo.resolve(), zoo)  # a plugin's zoo may also be in MAMMOZOO_ZOO
    for path in once.values():
        for entry in read_zoo(path).models:
            first = found.setdefault(entry.name, Listed(entry, path))
            if first.entry is not entry and (first.zoo == path or first.entry.files != entry.files):
                raise ConflictError(
                    f"Two zoos have a model '{entry.name}': '{first.zoo}' and '{path}', and their files differ. Rename one, or "
                    "leave one zoo out."
                )
    return found


def _zoos_of_plugins() -> list[Path]:
    """Those of other people's plugins: ours have their models in the packaged zoo, and importing them all takes seconds."""
    admitted = os.environ.get("MAMMOZOO_PLUGINS")
    others = [
        entry
        for entry in importlib.metadata.entry_points(group=GROUP)
        if origin(entry)[0] != DISTRIBUTION and admitted != ""
    ]
    if not others and not os.environ.get("MAMMOZOO_PLUGIN_FILES"):
        return []
    return [item.value for item in registry().items("zoos").values()]


def entries() -> dict[str, Entry]:
    """Every model of every zoo, by name; raises as `catalogue`."""
    return {name: listed.entry for name, listed in catalogue().items()}


def listed(name: str) -> Listed:
    """A model by its name, with or without `zoo:` before it.

    Raises:
        NotFoundError: no zoo has it.
    """
    name = name.removeprefix("zoo:")
    known = _catalogue_with(name)
    if name not in known:
        looks_like_path = re.search(r"[/\\]|^\.", name) or Path(name).exists()
        what = f"There is no model in '{name}' (no config.json)" if looks_like_path else f"Unknown model '{name}'"
        raise NotFoundError(f"{what}.{nearest(name, known)} The zoo has: {', '.join(sorted(known)) or 'nothing yet'}.")
    return known[name]


def default_model() -> str:
    """The model that `mammozoo predict` uses when it is told none."""
    name = read_zoo(packaged_zoo()).default
    if name is None:
        raise NotFoundError("The packaged zoo names no default model; say which with --model.")
    return name


def find_model(reference: str) -> Path:
    """The folder of a whole, checked model.

    `reference` is a folder (a run, or a model's own), `NAME` or `zoo:NAME`, or `hub:ORG/NAME@COMMIT`. Only the last one asks a
    server, and only for what is not there.

    Raises:
        NotFoundError: no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: a file of a zoo model is not the one that its entry promises.
        IncompatibleError: it needs another mammozoo, or an adapter's base is another model than it was made for.
    """
    if reference.startswith("hub:"):
        return _complete(pull_reference(reference))
    if not reference.startswith("zoo:") and (Path(reference).expanduser() / "config.json").is_file():
        return _complete(Path(reference).expanduser())
    return whole(listed(reference))


def whole(model: Listed) -> Path:
    """The folder of a zoo's model with its `model.safetensors`: its own, or for an adapter one made with its base."""
    from mammozoo.zoo.adapter import join, read_adapter

    check_usable(model.entry)
    folder = verify(model)
    if model.entry.base is None:
        return folder
    if read_adapter(folder).full_sha256 != model.entry.full_sha256:
        raise NotVerifiedError(
            f"Model '{model.entry.name}': its config.json and its zoo promise different whole models."
        )
    out = joined_folder(weights_sha256(model.entry), folder)
    join(folder, whole(base_of(model)), out)
    return out


def _complete(folder: Path) -> Path:
    """The folder itself, or for an adapter that no zoo lists the one that it makes with its base from the zoos."""
    from mammozoo.zoo.adapter import is_adapter, join, read_adapter

    if not is_adapter(folder):
        return folder
    adapter = read_adapter(folder)
    out = joined_folder(adapter.full_sha256, folder)
    join(folder, whole(listed(adapter.base.name)), out)
    return out


def with_bases(model: Listed) -> list[Listed]:
    """A model and, for an adapter, what it is the difference to, and so on."""
    chain = [model]
    while chain[-1].entry.base is not None:
        chain.append(base_of(chain[-1]))
    return chain


def base_of(adapter: Listed) -> Listed:
    """The model that an adapter is the difference to.

    Raises:
        NotFoundError: no zoo has it.
        IncompatibleError: it is another model now than the one that the adapter was made for, or an adapter of itself.
    """
    base = adapter.entry.base
    assert base is not None
    known = _catalogue_with(base.name)
    if base.name not in known:
        raise NotFoundError(
            f"Model '{adapter.entry.name}' is an adapter of '{base.name}', which no zoo has. Export it too (`mammozoo zoo export "
            "--with-base`), or add its zoo."
        )
    found = known[base.name]
    if weights_sha256(found.entry) != base.sha256:
        raise IncompatibleError(
            f"Model '{adapter.entry.name}' is an adapter of '{base.name}' with other weights (SHA-256 {base.sha256[:16]}…) than "
            f"those of '{found.zoo}'. Get the adapter's newest version, or the base's older one."
        )
    _check_no_circle(adapter, known)
    return found


def _check_no_circle(adapter: Listed, known: dict[str, Listed]) -> None:
    seen = {adapter.entry.name}
    base: Base | None = adapter.entry.base
    while base is not None and base.name in known:
        if base.name in seen:
            raise RegistryError(f"Model '{adapter.entry.name}' is in the end an adapter of itself.")
        seen.add(base.name)
        base = known[base.name].entry.base


def weights_sha256(entry: Entry) -> str:
    """SHA-256 of a model's whole `model.safetensors`."""
    return entry.full_sha256 or entry.files["model.safetensors"].sha256


def pull_model(reference: str) -> Path:
    """The folder of a model after all of it, an adapter's base included, was fetched where need be; raises as `pull`."""
    from mammozoo.zoo.adapter import is_adapter, read_adapter

    if reference.startswith("hub:"):
        folder = pull_reference(reference)
        if is_adapter(folder):
            pull_model(read_adapter(folder).base.name)
        return folder
    first, *bases = with_bases(listed(reference))
    for base in reversed(bases):
        pull(base)
    return pull(first)


def check(model: Listed, *, deep: bool = False, remote: bool = False) -> list[str]:
    """Check a model against its zoo; the result names what was checked.

    Args:
        deep: also build the model and check every weight.
        remote: also ask the Hub whether it still has the same files.

    Raises:
        MammozooError: something differs; as `verify`, `check_signature`, `check_tensors` and `check_remote`.
    """
    folder = verify(model)
    done = [f"{len(model.entry.files)} files"]
    if model.entry.signer:
        from mammozoo.zoo.signing import check_signature

        check_signature(folder, model.entry.signer)
        done.append("signature")
    if deep:
        done.append(f"{check_tensors(whole(model)):,} weights")
    if remote and model.from_hub:
        check_remote(model)
        done.append("the Hub")
    return done
