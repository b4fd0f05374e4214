"""Whether a heat map depends on what the model has learnt: it is compared with that of the same network before training.

The model parameter randomisation test of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, with all weights drawn
anew at once. A method whose map stays the same explains the picture (its edges, its middle), not the model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from mammozoo.models.config import ModelConfig
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.models.randomness import seeded

#: Networks with random weights; the images are dealt out among them, since a single network may resemble the model by luck.
RANDOMISATIONS = 5
#: Mean rank correlation from which on a method counts as insensitive. Our choice; the paper gives no number.
INSENSITIVE = 0.5


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
