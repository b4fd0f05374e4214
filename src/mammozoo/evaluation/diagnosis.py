"""Block by block: how much of a network is active, what training has changed, how far added parameters have moved.

After Byra, Biomedical Signal Processing and Control 69 (2021) 102828. With x_l the output of residual block l behind its last
activation, for N images of C × H × W elements each:

    A_l  = share of all N·C·H·W elements of x_l that are > 0                                          (Eq. 5)
    ΔA_l = share of them that are > 0 in one model and not in the other, on the same images           (Eq. 6, 7)

For every tensor that the strategy has added, the mean and the largest |trained − start|. A scaling layer starts as the
identity, so for it this is the distance from the identity (Fig. 7).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mammozoo.data.decoding import decode_cached
from mammozoo.data.loaded import open_dataset
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import Backbone
from mammozoo.models.config import ModelConfig
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.randomness import seeded
from mammozoo.progress import Progress


@dataclass(frozen=True)
class BlockActivity:
    """One block on some images: its place in the network, its output's shape, A_l of both models and ΔA_l (None for one model)."""

    number: int
    block: str
    channels: int
    height: int
    width: int
    active: float
    active_other: float | None
    changed: float | None


@dataclass(frozen=True)
class Shift:
    """How far one added tensor has moved from its start, None if the start is random. `block` is 0 outside all blocks."""

    block: int
    tensor: str
    numbers: int
    mean: float | None
    largest: float | None


def block_ends(backbone: str) -> list[str]:
    """The names of the residual blocks' last activations, in forward order.

    `insert_before_final_activations` puts layers into these modules, so the layers that a strategy adds are inside.

    Raises:
        IncompatibleError: mammozoo does not know the residual blocks of this network.
    """
    network = build_backbone(backbone)
    marks = network.insert_before_final_activations(lambda channels, height, width: nn.Identity())
    names = {module: name for name, module in network.named_modules()}
    return [names[mark].rpartition(".")[0] for mark in marks]


@dataclass(frozen=True)
class Diagnosis:
    """The blocks of a model on `images` images, and how far added tensors moved; `against` names the other model, if any."""

    name: str
    against: str | None
    images: int
    blocks: list[BlockActivity]
    shifts: list[Shift]


def draw_images(
    config: ModelConfig, dataset: str, root: Path | None, count: int, seed: int, progress: Progress
) -> torch.Tensor:
    """(N, h, w, 1 or 3) uint8: `count` images of the model's classes, drawn without replacement and prepared.

    Raises:
        UsageError: the data set has no image of these classes.
    """
    opened = open_dataset(dataset, root)
    wanted = {label for text in config.asked for label in text.rpartition("=")[2].split("|")}
    samples = [sample for sample in opened.samples() if sample.label in wanted]
    if not samples:
        raise UsageError(f"Data set '{dataset}' has no image of the model's classes {', '.join(config.asked)}.")
    for remark in opened.notes:
        progress.note(remark)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(samples))[:count])
    progress.start("reading images", len(drawn))
    return torch.from_numpy(decode_cached(opened, [samples[i] for i in drawn], config.input, progress.advance).pixels)


@torch.no_grad()
def activity(
    backbone: Backbone, ends: Sequence[str], images: Iterable[torch.Tensor], other: Backbone | None = None
) -> list[BlockActivity]:
    """A_l of every block, and with another network of the same blocks ΔA_l.

    Args:
        backbone, other: in evaluation mode, on one device.
        ends: names of modules in both, from `block_ends`.
        images: batches (N, C, H, W), normalised.

    Raises:
        IncompatibleError: the networks have different blocks.
    """
    networks = [backbone] if other is None else [backbone, other]
    positive = [0] * len(ends), [0] * len(ends)
    changed, elements = [0] * len(ends), [0] * len(ends)
    shapes: list[torch.Size] = []
    for batch in images:
        masks = [_positive(network, ends, batch) for network in networks]
        shapes = [mask.shape for mask in masks[0]]
        if other is not None and shapes != [mask.shape for mask in masks[1]]:
            raise IncompatibleError(
                "The blocks of the two models have outputs of other sizes; they cannot be compared."
            )
        for i, mask in enumerate(masks[0]):
            elements[i] += mask.numel()
            for count, of_network in zip(positive, masks, strict=False):
                count[i] += int(of_network[i].sum())
            if other is not None:
                changed[i] += int((mask != masks[1][i]).sum())
    return [
        BlockActivity(
            i + 1, end, shapes[i][1], shapes[i][2], shapes[i][3], positive[0][i] / elements[i],
            None if other is None else positive[1][i] / elements[i],
            None if other is None else changed[i] / elements[i],
        )
        for i, end in enumerate(ends)
    ]  # fmt: skip


def shifts(config: ModelConfig, state: Mapping[str, torch.Tensor], ends: Sequence[str]) -> list[Shift]:
    """How far every tensor that the strategy added has moved; `state` is that of the trained backbone. Empty if it added none."""
    fresh, added = _fresh(config, 0)
    again, _ = _fresh(config, 1)
    result = []
    for name in added:
        block = next((number for number, end in enumerate(ends, 1) if name.startswith(f"{end}.")), 0)
        moved = (state[name].detach().cpu().double() - fresh[name].double()).abs()
        known = torch.equal(fresh[name], again[name])
        result.append(
            Shift(
                block, name.rpartition(".")[2], moved.numel(),
                float(moved.mean()) if known else None, float(moved.max()) if known else None,
            )
        )  # fmt: skip
    return result


def _positive(network: Backbone, ends: Sequence[str], batch: torch.Tensor) -> list[torch.Tensor]:
    """For each end (N, C, H, W) booleans, computed in the hook, since later layers may work in place."""
    active: dict[str, torch.Tensor] = {}

    def store(end: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        return lambda module, inputs, output: active.__setitem__(end, output > 0)

    with contextlib.ExitStack() as hooks:
        for end in ends:
            try:
                module = network.get_submodule(end)
            except AttributeError:
                raise IncompatibleError(
                    f"This model has no block '{end}'; only models with the same blocks can be compared."
                ) from None
            hooks.callback(module.register_forward_hook(store(end)).remove)
        network(batch)
    return [active[end] for end in ends]


def _fresh(config: ModelConfig, seed: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The backbone's tensors as the strategy starts it, and the names of those floating ones that the plain network lacks."""
    with seeded(seed):
        backbone = build_backbone(config.backbone)
        plain = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
        model, _ = build_model(backbone, config.strategy, config.head, config.classes, config.input)
    state = model.backbone.state_dict(keep_vars=True)
    added = [name for name, tensor in state.items() if id(tensor) not in plain and tensor.is_floating_point()]
    return {name: tensor.detach() for name, tensor in state.items()}, added
