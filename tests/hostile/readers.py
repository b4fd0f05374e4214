"""Each kind of file, what reads it, and how that may refuse it: what the readers of the house do with a spoilt one."""

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from PIL import Image

from mammozoo.config.loading import load
from mammozoo.data.io.dicom import is_for_processing, read_modality
from mammozoo.data.io.images import image_shape, read_image, read_mask
from mammozoo.data.io.limits import UnreadableImageError
from mammozoo.data.loaded import open_dataset
from mammozoo.data.ood import features
from mammozoo.data.preprocessing import Input
from mammozoo.data.splits.files import read_splits
from mammozoo.errors import IncompatibleError, MammozooError, NotFoundError, NotVerifiedError, RegistryError, UsageError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.models.config import read_config
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.entry import read_zoo

from .pictures import GREY, picture
from .spoil import spoilt, table, yaml_of


class Kind(NamedTuple):
    """What makes (name, content) of a hostile file, what reads it, and how that may refuse it."""

    generate: Callable[[random.Random], tuple[str, bytes]]
    read: Callable[[Path], object]
    refusals: tuple[type[MammozooError], ...]


RECIPE = {
    "name": "mine", "dataset": "phantom:n=24", "backbone": "test_resnet", "classes": ["a", "b"], "split": {"folds": 3,
    "val": 0.2},
    "stages": [{"name": "one", "epochs": 1, "optimizer": {"lr": 0.1}}], "size": [32, 32], "phases": [{"epochs": 1,
    "lr": 0.5}],
    "grid": {"optimizer.lr": [0.1, 0.2]}, "schedule": {"kind": "exponential", "factor": 0.9}, "requires": ["x>=1"],
    "repeats": 2,
}  # fmt: skip
ZOO = {
    "schema": 1, "default": "m",
    "models": [{
        "name": "m", "version": "1.0", "summary": "s", "source": {"hub": "a/b", "revision": "0" * 40},
        "files": {"model.safetensors": {"size": 1, "sha256": "0" * 64}, "config.json": {"size": 1, "sha256": "0" * 64}},
        "license": "MIT", "data_terms": "none", "intended_use": "none", "classes": ["a", "b"], "input_size": [64, 64],
    }],
}  # fmt: skip
NAMES = ["a.png", "b.png", "c.png", "d.png"]
SPLITS = {
    "schema": 1,
    "splits": [{"name": f"fold-{n}", "train": NAMES[:1], "val": NAMES[1:2], "test": NAMES[2:]} for n in range(2)],
}
IMAGES = [
    ["path", "label", "patient", "mask", "left", "top", "right", "bottom"],
    ["a.png", "x", "P1", "", 1, 2, 3, 4],
    ["b.png", "y", "P2", "c.png;d.png", "", "", "", ""],
    ["c.png", "y", "P3", "", "", "", "", ""],
]


def files(folder: Path, run: Path) -> dict[str, Kind]:
    """The kinds by name; their files are for `folder`, which gets pictures and a copy of the complete `run`."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = Path(shutil.copytree(run, folder / "run", dirs_exist_ok=True))
    for name in NAMES:
        Image.fromarray(GREY).save(folder / name)
    paper = yaml.safe_load((Path(__file__).parents[2] / "plugins/mammozoo_drs/papers/byra-2021.yaml").read_text())
    lines = (run / "predictions.csv").read_text().splitlines()
    rows = [line.split(",") for line in (*lines[:5], *lines[-4:])]
    config, facts = (json.loads((run / name).read_text()) for name in ("config.json", "run.json"))
    no_run, no_split = (IncompatibleError, NotFoundError), (UsageError, NotVerifiedError)
    nnunet = SPLITS["splits"]
    parts = [["sample", "part", "split"], *([name, "train", "one"] for name in NAMES)]

    def of(name: str, content: Any, dump: Callable[[Any], str]) -> Callable[[random.Random], tuple[str, bytes]]:
        return lambda rng: (name, spoilt(content, dump, rng))

    def image(rng: random.Random) -> tuple[str, bytes]:
        suffix, content = picture(rng)
        return f"picture{suffix}", content

    return {
        "image": Kind(image, read_picture, (UnreadableImageError,)),
        "table": Kind(of("t.csv", IMAGES, table), lambda p: open_dataset("csv", p).samples(), (UsageError, NotFoundError)),
        "recipe": Kind(of("mine.yaml", RECIPE, yaml_of), lambda p: load(str(p)), (UsageError,)),
        "splits": Kind(of("s.json", SPLITS, json.dumps), lambda p: read_splits(p, NAMES), no_split),
        "nnunet": Kind(of("n.json", nnunet, json.dumps), lambda p: read_splits(p, NAMES), no_split),
        "parts": Kind(of("s.csv", parts, table), lambda p: read_splits(p, NAMES), no_split),
        "zoo": Kind(of("zoo.yaml", ZOO, yaml_of), read_zoo, (RegistryError,)),
        "paper": Kind(of("byra-2021.yaml", paper, yaml_of), lambda p: load_paper(str(p)), (UsageError, NotFoundError)),
        "config": Kind(of("run/config.json", config, json.dumps), lambda p: read_config(copy), no_run),
        "facts": Kind(of("run/run.json", facts, json.dumps), lambda p: RunDirectory.open(copy), no_run),
        "predictions": Kind(of("run/predictions.csv", rows, table), lambda p: read_predictions(copy), no_run),
    }  # fmt: skip


def read_picture(path: Path) -> None:
    """All that any command does with an image file; a refusal of the picture is one of the mask, too."""
    for read in (image_shape, read_mask):
        with contextlib.suppress(UnreadableImageError):
            read(path)
    assert {type(read_modality(path)), type(is_for_processing(path))} <= {str, type(None), bool}
    pixels = read_image(path)
    assert pixels.ndim == 2 or pixels.shape[2:] == (3,)
    assert str(pixels.dtype) in ("uint8", "uint16", "float32")
    features(pixels)
    Input(size=(32, 32)).preparer()(pixels)
