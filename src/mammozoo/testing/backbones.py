"""What a backbone must keep: feature maps of the promised shape, and groups that strategies can count on."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

from mammozoo.config.names import call
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import Backbone, BackboneSpec, By, load_exactly
from mammozoo.models.randomness import seeded
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary, needs_options, options_have_types
from mammozoo.testing.offline import offline

_BYS: tuple[By, ...] = ("stage", "block", "layer")

BackboneSubject = Subject[BackboneSpec]


@rule(
    "A saved model is rebuilt where there is no network.",
    "Build with random weights; ImageNet weights are loaded by `imagenet`.",
)
def builds_offline(subject: BackboneSubject) -> str | None:
    """`build` gives a Backbone and makes no connection."""
    with offline() as tried:
        backbone = built(subject)
    if tried:
        return f"`build` tried to connect to {tried[0]}."
    return (
        None if isinstance(backbone, Backbone) else f"`build` gives a {type(backbone).__name__}, no mammozoo.Backbone."
    )


@rule(
    "Images are prepared by it, and a head is sized by it.",
    "State `input` and `channels` as the network has them.",
    needs=[builds_offline],
)
def shapes_are_as_promised(subject: BackboneSubject) -> str | None:
    """Two images of `input`'s size give finite maps (2, `channels`, h, w)."""
    backbone = built(subject)
    own = backbone.input
    if not len(own.mean) == len(own.std) == own.channels:
        return f"`input` has {own.channels} channels, {len(own.mean)} means and {len(own.std)} deviations."
    with torch.no_grad():
        maps = backbone.eval()(_images(backbone))
    if maps.ndim != 4 or tuple(maps.shape[:2]) != (2, backbone.channels):
        return f"Maps are {tuple(maps.shape)}; promised are (2, {backbone.channels}, h, w)."
    return None if bool(torch.isfinite(maps).all()) else "Maps of random images are not finite."


@rule(
    "`last-blocks` and every other strategy that counts trains or forgets what is missing.",
    "Name a block and a stage for every parameter, in `named_parameters` order.",
    needs=[builds_offline],
)
def groups_cover_every_parameter(subject: BackboneSubject) -> str | None:
    """By stage, block and layer every parameter is in exactly one group."""
    backbone = built(subject)
    names = {parameter: name for name, parameter in backbone.named_parameters()}
    for by in _BYS:
        found = [parameter for group in backbone.groups(by) for parameter in group.parameters]
        twice = [parameter for parameter, times in Counter(found).items() if times > 1]
        if twice:
            return f"By {by}, '{names.get(twice[0], 'a parameter of another module')}' is in two groups."
        left_out = [name for parameter, name in names.items() if parameter not in set(found)]
        if left_out:
            return f"By {by}, '{left_out[0]}' is in no group."
        if set(found) - set(names):
            return f"By {by}, a group holds a parameter that is not the backbone's."
    return None


@rule(
    "The last group must be the one nearest to the head.",
    "Register modules in the order in which `forward` calls them.",
    needs=[shapes_are_as_promised, groups_cover_every_parameter],
)
def groups_are_in_forward_order(subject: BackboneSubject) -> str | None:
    """Stages and blocks come in the order in which a forward pass first reaches them."""
    backbone = built(subject)
    reached = _reached(backbone)
    for by in ("stage", "block"):
        before, last = "", -1
        for group in backbone.groups(by):
            place = min((reached[p] for p in group.parameters if p in reached), default=None)
            if place is None:
                continue
            if place < last:
                return f"The {by} '{group.name}' is reached before '{before}', which it follows in the list."
            before, last = group.name, place
    return None


@rule(
    "A parameter without a gradient is counted, stored, and never used.",
    "Drop layers that `forward` does not call.",
    needs=[shapes_are_as_promised],
)
def every_parameter_gets_a_gradient(subject: BackboneSubject) -> str | None:
    """After a backward pass from the maps no parameter is without a gradient."""
    backbone = built(subject).eval()  # no drop path: each weight takes part
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    maps = backbone(_images(backbone))
    (maps * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    without = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    return f"{len(without)} parameters get no gradient, '{without[0]}' the first." if without else None


@rule(
    "A model is a safetensors file and a config; nothing else travels.",
    "Keep all state in registered parameters and buffers.",
    needs=[shapes_are_as_promised],
)
def weights_reload(subject: BackboneSubject) -> str | None:
    """Its weights in one built anew give the same maps."""
    first, second = built(subject), built(subject, seed=1)
    load_exactly(second, first.state_dict())
    with torch.no_grad():
        same = torch.equal(first.eval()(_images(first)), second.eval()(_images(first)))
    return None if same else "The same weights give other maps."


RULES: list[Rule[BackboneSpec]] = [
    has_name_and_summary, options_have_types, builds_offline, shapes_are_as_promised, groups_cover_every_parameter,
    groups_are_in_forward_order, every_parameter_gets_a_gradient, weights_reload,
]  # fmt: skip


def built(subject: BackboneSubject, seed: int = 0) -> Backbone:
    """The backbone with its options and random weights; skips where it refuses them or makes no feature maps."""
    with seeded(seed):
        try:
            backbone: Backbone = call(subject.value.build, subject.spec)
        except UsageError as error:
            raise needs_options(subject, error) from error
        except IncompatibleError as error:
            raise NotChecked(f"It refuses to be a backbone: {error}") from error
    return backbone


def _images(backbone: Backbone) -> torch.Tensor:
    shape = (2, backbone.input.channels, *backbone.input.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _reached(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Each parameter's place in a forward pass: that of the first call of the module that owns it."""
    reached: dict[nn.Parameter, int] = {}
    count: Iterator[int] = iter(range(10**9))

    def note(own: list[nn.Parameter], *_: object) -> None:
        place = next(count)
        for parameter in own:
            reached.setdefault(parameter, place)

    handles = [
        module.register_forward_pre_hook(functools.partial(note, own))
        for module in backbone.modules()
        if (own := list(module.parameters(recurse=False)))
    ]
    with torch.no_grad():
        backbone.eval()(_images(backbone))
    for handle in handles:
        handle.remove()
    return reached
