"""What a run's models say of images that they were not trained on, once an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mammozoo.data.quality.label_errors import OutOfFold
from mammozoo.errors import NotFoundError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.run_files import read_facts
from mammozoo.files import absent, given_path
from mammozoo.models.config import LEAKY, read_config


def out_of_fold(run: str | Path) -> OutOfFold:
    """The mean probabilities of each test image of a complete run, over its repeats.

    Raises:
        NotFoundError: there is no complete run.
        IncompatibleError: it is damaged.
    """
    folder = given_path(run)
    if not folder.is_dir():
        raise NotFoundError(f"There is no run at '{folder}'.{absent(folder)}")
    config, rows = read_config(folder), read_predictions(folder).of("test")
    names, place = np.unique(rows.samples, return_inverse=True)
    p = np.zeros((len(names), len(rows.outcome.classes)))
    np.add.at(p, place, rows.outcome.probabilities)
    p /= np.bincount(place)[:, None]
    leaky = LEAKY in (*config.stamps, *read_facts(folder).get("stamps", ()))
    warning = "; the split of that run leaks, so its models may know wrong labels by heart" if leaky else ""
    return OutOfFold(str(run), config.asked, dict(zip(names.tolist(), p, strict=True)), warning)
