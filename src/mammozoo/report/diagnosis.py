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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mammozoo.config.sections import Root
from mammozoo.data.decoding import decode_cached
from mammozoo.data.joined import open_dataset
from mammozoo.errors import IncompatibleError, MammozooError, UsageError
from mammozoo.models import factory
from mammozoo.models.backbone import Backbone
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import choose_engine
from mammozoo.models.randomness import seeded
from mammozoo.progress import Progress
from mammozoo.text import printable
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.starts import start_of
from mammozoo.zoo.pins import pinned
from mammozoo.zoo.registry import find_model
from mammozoo.zoo.theirs import find_weights

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito 2008


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


@dataclass(frozen=True)
class Diagnosis:
    """The blocks of a model on `images` images, and how far added tensors moved; `against` names the other model, if any."""

    name: str
    against: str | None
    images: int
    blocks: list[BlockActivity]
    shifts: list[Shift]


def diagnose(
    model: str | Path,
    dataset: str,
    root: Root | None = None,
    *,
    against: str | None = None,
    images: int = 100,
    seed: int = 0,
    batch: int = 8,
    device: str = "auto",
    progress: Progress | None = None,
) -> Diagnosis:
    """Block by block: how much of a network is active on images of a data set, what training changed, what was moved.

    `against` names another model with the same blocks; without it, the starting weights if the run leads to them.

    Raises:
        IncompatibleError: the two models have other blocks or another input.
        NotFoundError, UsageError: no such model or data set.
    """
    progress = progress or Progress()
    folder = find_model(model)
    network, config = factory.load_model(folder)
    factory.refuse_ensemble(config, "be diagnosed")
    ends = block_ends(config.backbone)
    other: Backbone | None
    if against is None:
        other = _starting_backbone(folder, config, progress)
    else:
        other_model, other_config = factory.load_model(find_model(against))
        if config.input != other_config.input or ends != block_ends(other_config.backbone):
            sides = [f"({c.backbone}, {c.input.size[0]}×{c.input.size[1]})" for c in (config, other_config)]
            raise IncompatibleError(
                f"'{model}' {sides[0]} and '{against}' {sides[1]} have other blocks or look at other inputs; a diagnosis "
                "needs the same ones."
            )
        other = other_model.backbone
    engine = choose_engine(device, "fp32")  # rounding to bfloat16 would move signs
    pixels = _draw_images(config, dataset, root, images, seed, progress)
    networks = [n.to(engine.device).eval() for n in (network.backbone, other) if n is not None]
    batches = (config.input.normalize(part.to(engine.device)) for part in torch.split(pixels, batch))
    with engine.autocast():
        blocks = activity(networks[0], ends, batches, *networks[1:])
    moved = shifts(config, network.backbone.state_dict(), ends)
    beside = against or ("its starting weights" if other is not None else None)
    return Diagnosis(Path(model).name or folder.name, beside, len(pixels), blocks, moved)


def block_ends(backbone: str) -> list[str]:
    """The names of the residual blocks' last activations, in forward order.

    `insert_before_final_activations` puts layers into these modules, so the layers that a strategy adds are inside.

    Raises:
        IncompatibleError: mammozoo does not know the residual blocks of this network.
    """
    network = factory.build_backbone(backbone)
    marks = network.insert_before_final_activations(lambda channels, height, width: nn.Identity())
    names = {module: name for name, module in network.named_modules()}
    return [names[mark].rpartition(".")[0] for mark in marks]


@torch.no_grad()
def activity(
    backbone: Backbone, ends: Sequence[str], images: Iterable[torch.Tensor], other: Backbone | None = None
) -> list[BlockActivity]:
    """A_l of every block, and with another network of the same blocks ΔA_l; both in evaluation mode, on one device.

    Args:
        ends: names of modules in both, from `block_ends`.
        images: batches (N, C, H, W), normalised.

    Raises:
        IncompatibleError: the networks have different blocks.
    """
    active, active_other, changed, elements = ([0] * len(ends) for _ in range(4))
    shapes: list[torch.Size] = []
    for batch in images:
        masks = _positive(backbone, ends, batch)
        theirs = masks if other is None else _positive(other, ends, batch)
        shapes = [mask.shape for mask in masks]
        if shapes != [mask.shape for mask in theirs]:
            raise IncompatibleError("The blocks of the two models have outputs of other sizes: nothing to compare.")
        for i, (mask, their) in enumerate(zip(masks, theirs, strict=True)):
            elements[i] += mask.numel()
            active[i] += int(mask.sum())
            active_other[i] += int(their.sum())
            changed[i] += int((mask != their).sum())
    blocks = []
    for i, end in enumerate(ends):
        _, channels, height, width = shapes[i]
        rate, rate_other, change = (count[i] / elements[i] for count in (active, active_other, changed))
        compared = (None, None) if other is None else (rate_other, change)
        blocks.append(BlockActivity(i + 1, end, channels, height, width, rate, *compared))
    return blocks


def shifts(config: ModelConfig, state: Mapping[str, torch.Tensor], ends: Sequence[str]) -> list[Shift]:
    """How far every tensor that the strategy added has moved; `state` is that of the trained backbone. Empty if it added none."""
    fresh, added = _fresh(config, 0)
    again, _ = _fresh(config, 1)
    result = []
    for name in added:
        block = next((number for number, end in enumerate(ends, 1) if name.startswith(f"{end}.")), 0)
        moved = (state[name].detach().cpu().double() - fresh[name].double()).abs()
        known = torch.equal(fresh[name], again[name])
        mean, largest = (float(moved.mean()), float(moved.max())) if known else (None, None)
        result.append(Shift(block, name.rpartition(".")[2], moved.numel(), mean, largest))
    return result


def draw_diagnosis(
    path: Path, blocks: Sequence[BlockActivity], shifts: Sequence[Shift], names: tuple[str, str | None]
) -> Path:
    """Write the figure of all of it to `path`, in the format of its suffix (.svg, .png, .pdf)."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    moved = [shift for shift in shifts if shift.mean is not None and shift.block]
    panels = 1 + (names[1] is not None) + 2 * bool(moved)
    style: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "svg.hashsalt": "0"}
    style["text.parse_math"] = False  # a model's name may hold a dollar sign
    own, other = (name and printable(name) for name in names)
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.2 * panels, 3.2), layout="constrained")
        axes = iter(figure.subplots(1, panels, squeeze=False)[0])
        numbers = [block.number for block in blocks]
        first = next(axes)
        first.plot(numbers, [block.active for block in blocks], ".-", color=_COLORS[0], label=own)
        first.set(ylabel="activation rate A", ylim=(0, 1))
        if other is not None:
            first.plot(numbers, [block.active_other for block in blocks], ".--", color=_COLORS[1], label=other)
            first.legend(frameon=False)
            change = next(axes)
            change.plot(numbers, [block.changed for block in blocks], ".-", color=_COLORS[0])
            change.set(ylabel="activation change rate ΔA", ylim=(0, None))
        if moved:
            for title in ("mean", "largest"):
                panel = next(axes)
                for number, tensor in enumerate(dict.fromkeys(shift.tensor for shift in moved)):
                    points = [(shift.block, getattr(shift, title)) for shift in moved if shift.tensor == tensor]
                    panel.plot(*zip(*points, strict=True), ".-", color=_COLORS[number % len(_COLORS)], label=tensor)
                panel.set(ylabel=f"{title} distance from the start", ylim=(0, None))
                panel.legend(frameon=False)
        for panel in figure.axes:
            panel.set_xlabel("block")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _starting_backbone(folder: Path, config: ModelConfig, progress: Progress) -> Backbone | None:
    """The plain network with the weights that a run started from; None, with a note, if its folder does not lead to them."""
    try:
        if config.training.stages:
            raise MammozooError("it went through earlier stages")
        run = RunDirectory.open(folder)
        recipe = run.recipe.of_fit(run.facts["model"]["fold"])
        weights = start_of(recipe).weights
        with seeded(run.recipe.seed):  # as training does, so that random weights are the same
            backbone = factory.build_backbone(recipe.backbone)
        with pinned(recipe.pinned):
            factory.load_starting_weights(backbone, recipe.backbone, weights, find_weights)
    except MammozooError as error:
        progress.note(f"Without --against there are no change rates: the starting weights are not at hand ({error}).")
        return None
    backbone.input = config.input
    return backbone


def _draw_images(
    config: ModelConfig, dataset: str, root: Root | None, count: int, seed: int, progress: Progress
) -> torch.Tensor:
    """(N, h, w, 1 or 3) uint8: `count` images of the model's classes, drawn without replacement and prepared."""
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


def _positive(network: Backbone, ends: Sequence[str], batch: torch.Tensor) -> list[torch.Tensor]:
    """For each end (N, C, H, W) booleans, computed in the hook, since later layers may work in place."""
    active: dict[str, torch.Tensor] = {}

    def store(end: str, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        active[end] = output > 0

    with contextlib.ExitStack() as hooks:
        for end in ends:
            try:
                module = network.get_submodule(end)
            except AttributeError:
                raise IncompatibleError(
                    f"This model has no block '{end}'; only models with the same blocks can be compared."
                ) from None
            hooks.callback(module.register_forward_hook(partial(store, end)).remove)
        network(batch)
    return [active[end] for end in ends]


def _fresh(config: ModelConfig, seed: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The backbone's tensors as the strategy starts it, and the names of those floating ones that the plain network lacks."""
    with seeded(seed):
        backbone = factory.build_backbone(config.backbone)
        plain = {id(tensor) for tensor in backbone.state_dict(keep_vars=True).values()}
        model, _ = factory.build_model(backbone, config.strategy, config.head, config.classes, config.input)
    state = model.backbone.state_dict(keep_vars=True)
    added = [name for name, tensor in state.items() if id(tensor) not in plain and tensor.is_floating_point()]
    return {name: tensor.detach() for name, tensor in state.items()}, added
