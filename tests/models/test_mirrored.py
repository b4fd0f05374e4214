"""Answers that are the mean over an image and its mirror image."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mammozoo import api
from mammozoo.errors import ConflictError
from mammozoo.models.ensemble import Ensemble
from mammozoo.models.mirrored import augmented
from mammozoo.models.model import probabilities

from ..helpers import edit_config, edit_json, network


@pytest.fixture(scope="module")
def config(tiny_run):
    return api.load(tiny_run.path).config


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("benign", "malignant", "normal")])
@pytest.mark.parametrize("several", [False, True])
def test_probabilities_are_the_mean_of_both(classes, several: bool, config) -> None:
    members = [network(classes=classes)[0].eval() for _ in range(2)]
    with torch.no_grad():
        for member, factor in zip(members, (20, -30), strict=True):
            for weight in member.head.parameters():
                weight.mul_(factor)
    temperatures = (1.7, 0.6)
    temperature = 1.0 if several else temperatures[0]
    config = config.model_copy(update={
        "calibration": config.calibration.model_copy(update={"temperature": temperature})
    })  # fmt: skip
    model = Ensemble(members, temperatures) if several else members[0]
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        found = probabilities(augmented(model, config, "flip")(images), temperature)
        turned = probabilities(augmented(model, config, "flip")(images.flip(-1)), temperature)
        pairs = list(zip(members, temperatures, strict=True))[: 2 if several else 1]
        single = [probabilities(m(x), t) for m, t in pairs for x in (images, images.flip(-1))]
    assert torch.allclose(found, torch.stack(single).mean(0), atol=1e-6)
    assert torch.allclose(found, turned, atol=1e-6) and (found - single[0]).abs().max() > 1e-4


def test_an_image_and_its_mirror_image_have_one_answer(command, tiny_run, tmp_path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)
    for name, pixels in (("one", picture), ("other", picture[:, ::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    words = ("predict", "one.png", "other.png", "--model", tiny_run.path, "--force", "--device", "cpu", "--json")
    plain, both = ([row["probabilities"]["malignant"] for row in command(*words, *tta).json["results"]]
                   for tta in ((), ("--tta", "flip")))  # fmt: skip
    assert abs(plain[0] - plain[1]) > 1e-6 and abs(both[0] - both[1]) < 1e-6
    assert both[0] == pytest.approx(np.mean(plain), abs=1e-6)


def test_scores_say_so_and_nothing_else_takes_it(command, tiny_run, tmp_path) -> None:
    words = ("evaluate", tiny_run.path, "--dataset", "phantom:n=30", "--device", "cpu")
    plain, both = (command(*words, *tta, "--json").json for tta in ((), ("--tta", "flip")))
    assert not plain["notes"] and "mirror image" in both["notes"][0]
    assert plain["scores"]["brier"]["value"] != both["scores"]["brier"]["value"]
    command("evaluate", tiny_run.path, "--tta", "flip").refused(2, "--tta", "--dataset")
    command(*words, "--tta", "crop").refused(2, "--tta", "flip")
    shutil.copytree(tiny_run.path, tmp_path / "other")
    edit_json(tmp_path / "other" / "config.json", lambda content: content["mammozoo"]["training"].pop("augment"))
    edit_config(tmp_path / "other", name="other")
    command("predict", "--example", "--model", "./other", "--tta", "flip").refused(2, "other", "mirror", "hflip")


def test_a_table_that_was_begun_without_it_is_not_gone_on_with(command, tiny_run, tmp_path, monkeypatch) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)).save(tmp_path / "one.png")
    common = ("one.png", tiny_run.path)
    api.predict(*common, journal=tmp_path / "kept", force=True, device="cpu")
    with pytest.raises(ConflictError, match="option"):
        api.predict(*common, journal=tmp_path / "kept", force=True, device="cpu", tta="flip")
