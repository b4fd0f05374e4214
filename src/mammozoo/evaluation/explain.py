"""Heat maps of what a model looks at, by captum; how they agree with a lesion's mask, and whether they depend on the model.

grad-cam    the backbone's feature map, its channels weighted by the mean gradient of the explained logit, negative parts
            cut, bilinear to the input's size (Selvaraju et al. 2017); as coarse as the feature map
occlusion   how much the explained logit falls while a square is covered, mean over the squares that cover a pixel,
            negative parts cut (Zeiler & Fergus 2014); as coarse as the square, and needs hundreds of forward passes

Both explain a logit in float32, whatever precision the engine has: gradients in bfloat16 have too few digits for ranks.

share of heat    heat inside the mask ÷ all heat (energy-based pointing game, Wang et al. 2020, Score-CAM);
                 heat spread evenly gives the mask's share of the area
pointing game    whether the hottest point lies in the mask or close by (Zhang et al. 2018, Excitation Backprop);
                 a point drawn evenly hits with the share of the area that counts as a hit
centre           the control of that paper: lesions are in the middle of most pictures, so the centre as the hottest point

sanity           the model parameter randomisation test of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018,
                 all weights drawn anew at once: a map that stays the same explains the picture, not the model
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerAttribution, LayerGradCam, Occlusion
from PIL import Image
from scipy import ndimage, stats

from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import IncompatibleError
from mammozoo.evaluation.outcome import decide
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine, without_tf32
from mammozoo.models.ensemble import Ensemble
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model, check_probabilities, probabilities
from mammozoo.models.randomness import seeded

METHODS = ("grad-cam", "occlusion")
Heat = npt.NDArray[np.float32]

#: How far outside the mask a point still hits, as a share of the longer side: the customary 15 pixels, of the 500
#: that the pictures of PASCAL VOC have, for which it was chosen.
TOLERANCE = 15 / 500
#: A covered square is one WINDOWS-th of the side, and moves by half of its side.
WINDOWS = 7
#: Covered copies of an image in one forward pass.
_COVERED_AT_ONCE = 32
_COLORS = "inferno"  # perceptually uniform: equal steps of heat look equal
_OPACITY = 0.65
_CONTOUR = (0, 255, 255)  # cyan does not occur in the colormap


@dataclass(frozen=True)
class Localisation:
    """How a map of heat and a mask agree."""

    heat_inside: float  #: share of the heat inside the mask
    area_inside: float  #: the mask's share of the area, the value of `heat_inside` by chance
    hit: bool  #: whether the hottest point is inside the mask, or at most `TOLERANCE` of the longer side away
    hit_by_chance: float  #: share of the area in which a point hits
    hit_center: bool  #: whether the centre of the picture hits


def heat(
    model: Model,
    config: ModelConfig,
    pixels: Pixels,
    engine: Engine,
    *,
    method: str = "grad-cam",
    target: int | None = None,
) -> Heat:
    """(h, w) ≥ 0 map at the model's input size for one prepared image (h, w, 1 or 3) uint8; `method` is one of `METHODS`.

    The model is placed on the engine's device; its mode, gradients and hooks stay as they are. `target` is the number of the
    class to explain, None for the decision. The first of two classes is explained by minus the logit of the second. The map
    of an ensemble is the mean of its members', each divided by its maximum.

    Raises:
        IncompatibleError: the backbone does not give feature maps (N, C, h, w), which Grad-CAM needs.
    """
    if target is None:
        target, _ = classify(model, config, pixels, engine)
    if isinstance(model, Ensemble):  # each member explains its own logit, whose size says nothing about the others'
        each = [heat(one, config, pixels, engine, method=method, target=target) for one in model.models]
        return np.mean([one / (one.max() or 1) for one in each], axis=0)
    with _exact(model, engine), torch.enable_grad():
        x = _input(config, pixels, engine)
        score = _score(model, target)
        attribution = _grad_cam(model, score, x) if method == "grad-cam" else _occlusion(score, x)
    return attribution.detach().clamp_min(0).cpu().numpy().astype(np.float32)


def classify(model: Model, config: ModelConfig, pixels: Pixels, engine: Engine) -> tuple[int, npt.NDArray[np.float64]]:
    """(number of the class decided for, (K,) calibrated probabilities) of one prepared image, from float32 logits.

    Raises:
        FailedError: they are no probabilities.
    """
    with _exact(model, engine), torch.no_grad():
        logits = model(_input(config, pixels, engine))
    p = probabilities(logits, config.temperature).numpy()
    check_probabilities(p, config.name)
    return int(decide(p, config.cut())[0]), p[0]


def localise(heat: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> Localisation | None:
    """Scores of heat (h, w) ≥ 0 and a mask (h, w); None without heat or without a lesion."""
    values = np.asarray(heat, dtype=np.float64)
    if not mask.any() or values.sum() <= 0:
        return None
    reached = ndimage.distance_transform_edt(~mask) <= TOLERANCE * max(mask.shape)
    return Localisation(
        heat_inside=float(values[mask].sum() / values.sum()),
        area_inside=float(mask.mean()),
        hit=bool(reached[hottest(values)]),
        hit_by_chance=float(reached.mean()),
        hit_center=bool(reached[mask.shape[0] // 2, mask.shape[1] // 2]),
    )


def hottest(heat: npt.NDArray[np.floating]) -> tuple[int, int]:
    """(row, column) of the maximum; of several that share it, the one nearest to their middle.

    Occlusion gives a whole block one value, and its first pixel would always be the upper left corner.
    """
    places = np.argwhere(heat == heat.max())
    row, column = places[np.square(places - places.mean(axis=0)).sum(axis=1).argmin()]
    return int(row), int(column)


def untrained(config: ModelConfig, seed: int) -> Model:
    """The model's network as its library initialises it: every weight drawn anew by `seed`, none learnt or pretrained."""
    with seeded(seed):
        backbone = build_backbone(config.backbone)
        model, _ = build_model(backbone, config.strategy, config.head, config.classes, config.input)
    return model.eval()


def rank_correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float | None:
    """Spearman's correlation of two maps (h, w) over their pixels; None if one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)


def overlay(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB: the picture (H, W), (H, W, 1) or (H, W, 3), coloured by the heat.

    The heat is resized to the picture. Its maximum has the hottest colour, so colours of two pictures cannot be
    compared. Without heat the picture stays as it is.
    """
    import matplotlib

    picture = _rgb(pixels)
    height, width = picture.shape[:2]
    small = Image.fromarray(np.asarray(heat, dtype=np.float32))
    level = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)
    level = level / (float(level.max()) or 1.0)
    opacity = _OPACITY * level[..., None]
    colors = matplotlib.colormaps[_COLORS](level)[..., :3] * 255
    return np.rint((1 - opacity) * picture + opacity * colors).astype(np.uint8)


def side_by_side(
    pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.uint8]:
    """(H, 2·W + gap, 3) RGB: the picture, and beside it its overlay with the outline of the mask (H, W) in cyan."""
    picture, colored = _rgb(pixels), overlay(pixels, heat)
    if mask is not None:
        thick = max(1, round(max(mask.shape) / 256))
        colored[mask & ~ndimage.binary_erosion(mask, iterations=thick)] = _CONTOUR
    gap = np.full((len(picture), max(4, picture.shape[1] // 50), 3), 255, np.uint8)
    return np.concatenate([picture, gap, colored], axis=1)


def _grad_cam(model: Model, score: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    # Grad-CAM needs the gradient of the backbone's output, which exists only if something before it has a gradient.
    attribution = LayerGradCam(score, model.backbone).attribute(x.requires_grad_(), relu_attributions=True)
    if not isinstance(attribution, torch.Tensor) or attribution.ndim != 4:
        raise IncompatibleError(
            f"{type(model.backbone).__name__} makes no feature maps (N, C, h, w), and Grad-CAM needs them."
        )
    return LayerAttribution.interpolate(attribution, tuple(x.shape[2:]), interpolate_mode="bilinear")[0, 0]


def _occlusion(score: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    # The square has the mean grey (colour) of the image: a black one would add edges that no image has.
    _, channels, height, width = x.shape
    window = (channels, -(-height // WINDOWS), -(-width // WINDOWS))
    drop = Occlusion(score).attribute(
        x,
        sliding_window_shapes=window,
        strides=(channels, max(1, window[1] // 2), max(1, window[2] // 2)),
        baselines=x.mean((2, 3), keepdim=True).expand_as(x),
        perturbations_per_eval=_COVERED_AT_ONCE,
    )
    return drop[0].mean(0)  # the channels are covered together, so each has the same value


def _score(model: Model, target: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def score(x: torch.Tensor) -> torch.Tensor:
        logits = model(x)
        if logits.shape[1] == 1:
            return logits[:, 0] if target == 1 else -logits[:, 0]
        return logits[:, target]

    return score


def _input(config: ModelConfig, pixels: Pixels, engine: Engine) -> torch.Tensor:
    return config.input.normalize(torch.from_numpy(np.array(pixels)[None]).to(engine.device))


@contextlib.contextmanager
def _exact(model: Model, engine: Engine) -> Iterator[None]:
    """The model on its device, in evaluation mode and float32; afterwards every module has its mode again."""
    engine.place(model)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.autocast(engine.device.type, enabled=False), without_tf32():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _rgb(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey
