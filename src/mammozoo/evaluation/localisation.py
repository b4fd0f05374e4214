"""Whether heat lies in the lesion: share of heat inside, and the pointing game; each beside what chance would give.

share of heat    heat inside the mask ÷ all heat (energy-based pointing game, Wang et al. 2020, Score-CAM);
                 heat spread evenly gives the mask's share of the area
pointing game    whether the hottest point lies in the mask or close by (Zhang et al. 2018, Excitation Backprop);
                 a point drawn evenly hits with the share of the area that counts as a hit

Lesions are in the middle of most pictures. So the control of the paper is reported too: the centre as the hottest point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.evaluation.intervals import interval_of_sums
from mammozoo.evaluation.resampling import share
from mammozoo.evaluation.scores import Score, finite_score

#: How far outside the mask a point still hits, as a share of the longer side: the customary 15 pixels, of the 500
#: that the pictures of PASCAL VOC have, for which it was chosen.
TOLERANCE = 15 / 500


@dataclass(frozen=True)
class Localisation:
    """How a map of heat and a mask agree.

    Attributes:
        heat_inside: share of the heat inside the mask.
        area_inside: the mask's share of the area, the value of `heat_inside` by chance.
        hit: whether the hottest point is inside the mask, or at most `TOLERANCE` of the longer side away.
        hit_by_chance: share of the area in which a point hits.
        hit_center: whether the centre of the picture hits.
    """

    heat_inside: float
    area_inside: float
    hit: bool
    hit_by_chance: float
    hit_center: bool


def localise(heat: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> Localisation | None:
    """Scores of heat (h, w) ≥ 0 and a mask (h, w); None without heat or without a lesion."""
    values = np.asarray(heat, dtype=np.float64)
    if not mask.any() or values.sum() <= 0:
        return None
    reached = ndimage.distance_transform_edt(~mask) <= TOLERANCE * max(mask.shape)
    height, width = mask.shape
    return Localisation(
        heat_inside=float(values[mask].sum() / values.sum()),
        area_inside=float(mask.mean()),
        hit=bool(reached[hottest(values)]),
        hit_by_chance=float(reached.mean()),
        hit_center=bool(reached[height // 2, width // 2]),
    )


def hottest(heat: npt.NDArray[np.floating]) -> tuple[int, int]:
    """(row, column) of the maximum; of several that share it, the one nearest to their middle.

    Occlusion gives a whole block one value, and its first pixel would always be the upper left corner.
    """
    places = np.argwhere(heat == heat.max())
    row, column = places[np.square(places - places.mean(axis=0)).sum(axis=1).argmin()]
    return int(row), int(column)


def find_masks(image: Path) -> list[Path]:
    """The lesion masks beside an image, named as in BUSI: `NAME_mask.png`, `NAME_mask_1.png` …; sorted."""
    named = re.compile(re.escape(image.stem) + r"_mask(_\d+)?")
    return sorted(
        path for path in image.parent.iterdir() if named.fullmatch(path.stem) and path.suffix.lower() in IMAGE_SUFFIXES
    )


def mean(values: Sequence[float], groups: Sequence[int]) -> Score:
    """The mean with its 95 % interval over groups.

    Args:
        values: (n,) one for each sample.
        groups: (n,) group numbers; samples of one group are not independent.
    """
    if not values:
        return Score(None, None, None, 0)
    x = np.asarray(values, dtype=np.float64)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(place, x), np.bincount(place)], axis=1).astype(np.float64)
    interval = interval_of_sums(sums, lambda drawn: share(drawn[:, 0], drawn[:, 1]), len(sums))
    return finite_score(float(x.mean()), interval, len(x))
