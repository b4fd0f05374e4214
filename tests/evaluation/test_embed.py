"""`mammozoo embed`: what the network sees of each image, beside its name, class and group."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mammozoo import api, plugins
from mammozoo.errors import ConflictError, NotFoundError, UsageError


def test_embeddings_are_the_mean_maps_of_the_named_images(tiny_run, command, tmp_path: Path) -> None:
    answer = command("embed", tiny_run.path, "phantom:n=60", "--out", "phantoms.npz").ok
    assert "60 images" in answer.out
    file = np.load(tmp_path / "phantoms.npz")
    dataset = plugins.registry().get("datasets", "phantom")(None, n=60)
    samples = {sample.id if hasattr(sample, "id") else sample.image: sample for sample in dataset.samples()}
    loaded = api.load(tiny_run.path, precision="fp32")
    prepare = loaded.config.input.preparer()
    for k in (0, 31):
        sample = samples[str(file["ids"][k])]
        pixels = torch.from_numpy(prepare(dataset.read(sample))[None])
        with torch.inference_mode():
            maps = loaded.model.backbone(loaded.config.input.normalize(pixels))
        assert np.allclose(file["embeddings"][k], maps.mean((2, 3))[0], atol=1e-4)
        assert file["labels"][k] == sample.label and file["patients"][k] == (sample.patient or "")
    made = api.embed(tiny_run.path, "phantom:n=60", out=tmp_path / "phantoms.csv")
    rows = list(csv.DictReader((tmp_path / "phantoms.csv").open()))
    assert [row["id"] for row in rows] == made.ids == file["ids"].tolist()
    assert [int(row["group"]) for row in rows] == file["groups"].tolist()
    assert np.allclose([float(rows[5][f"e{n}"]) for n in range(made.values.shape[1])], made.values[5], rtol=1e-5)
    page = (Path(__file__).parents[2] / "docs" / "embed.md").read_text()
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)  # in the folder of phantoms.npz
    assert names["places"].shape == (60, 2) and made.ids[0] not in names["like_the_first"]
    for error, change in [
        (ConflictError, {}),
        (UsageError, {"out": tmp_path / "it.pickle"}),
        (NotFoundError, {"out": tmp_path / "it.npz", "member": "fold-9"}),
        (NotFoundError, {"out": tmp_path / "it.npz", "data": "phantms"}),
    ]:
        with pytest.raises(error):
            api.embed(tiny_run.path, **{"data": "phantom:n=60", "out": tmp_path / "phantoms.npz"} | change)
    assert not (tmp_path / "it.npz").exists()
