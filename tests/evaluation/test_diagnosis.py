"""Activation, change and distance from the start: by hand on a network of two blocks, and on real ones that DRS has changed."""

import pytest
import torch
from torch import nn

from mammozoo import Backbone, Input
from mammozoo.errors import IncompatibleError
from mammozoo.models.config import ModelConfig, Training
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.report.diagnosis import activity, block_ends, diagnose, draw_diagnosis, shifts

SMALL = Input(size=(32, 32))


class Two(Backbone):
    """Two blocks: x + shift behind an in-place ReLU, then minus the result, with none."""

    def __init__(self, shift: float):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))
        self.first, self.second = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(-self.first(x + self.shift)).add_(9)  # in place: what was seen must not follow


def test_rates_by_hand_and_of_a_model_beside_itself() -> None:
    """Eight elements of two images: −2 −1 0 1 and 2 3 −3 −4, in two batches.

    Above 0 are three. With 1.5 added five are (−1 → 0.5 and 0 → 1.5 join 1, 2, 3), so two of eight change. What the
    second block gives is never above 0.
    """
    images = torch.tensor([[-2.0, -1, 0, 1], [2, 3, -3, -4]]).reshape(2, 1, 2, 2)
    first, second = activity(Two(0.0), ["first", "second"], images.split(1), Two(1.5))
    assert (first.active, first.active_other, first.changed) == (3 / 8, 5 / 8, 2 / 8)
    assert (second.active, second.active_other, second.changed) == (0, 0, 0)
    assert (first.number, first.block, first.channels, first.height, first.width) == (1, "first", 1, 2, 2)
    (alone, _) = activity(Two(0.0), ["first", "second"], [images])
    assert (alone.active, alone.active_other, alone.changed) == (3 / 8, None, None)
    network = build_backbone("test_resnet").eval()
    found = activity(network, block_ends("test_resnet"), [torch.randn(2, 3, 32, 32)], network)
    assert [block.changed for block in found] == [0.0] * 4
    assert all(0 < block.active < 1 for block in found)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("test_resnet", ["net.layer1.0.act2", "net.layer2.0.act2", "net.layer3.0.act3", "net.layer4.0.act2"]),
        ("resnet9:width=4", ["prep.act", "layer1.act", "res1", "layer2.act", "layer3.act", "res3"]),
        ("torchvision/squeezenet1_1", [f"features.{i}" for i in (3, 4, 6, 7, 9, 10, 11, 12)]),
    ],
)
def test_the_ends_of_blocks_stand_under_one_name_whatever_the_strategy(name: str, ends: list[str]) -> None:
    assert block_ends(name) == ends
    model, _ = build_model(build_backbone(name), "drs", "gap", ("benign", "malignant"), SMALL)
    for end in ends:
        assert any(type(module).__name__ == "DrsLayer" for module in model.backbone.get_submodule(end).children())


def _config(strategy: str) -> ModelConfig:
    return ModelConfig(
        name="x", backbone="resnet9:width=4", strategy=strategy, head="gap", classes=("a", "b"), input=SMALL,
        training=Training(dataset="phantom"),
    )  # fmt: skip


def test_distance_from_the_identity_by_hand_or_none() -> None:
    """One of the 1024 spatial weights of the first block moves by −0.5, all 4 depth biases of the last sum by 0.25."""
    config = _config("drs")
    model, _ = build_model(build_backbone(config.backbone), "drs", "gap", config.classes, config.input)
    state = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    state["prep.act.0.spatial_weight"][0, 0, 0, 0] -= 0.5
    state["res3.layer.depth_bias"] += 0.25
    state["prep.conv.weight"] += 7  # nothing that the strategy has added
    found = {(s.block, s.tensor): s for s in shifts(config, state, block_ends(config.backbone))}
    assert len(found) == 6 * 4
    first, last = found[1, "spatial_weight"], found[6, "depth_bias"]
    assert (first.numbers, first.mean, first.largest) == (1024, 0.5 / 1024, 0.5)
    assert (last.numbers, last.mean, last.largest) == (32, 0.25, 0.25)
    assert sum(s.mean > 0 for s in found.values() if s.mean is not None) == 2
    model, _ = build_model(build_backbone("resnet9:width=4"), "full", "gap", ("a", "b"), SMALL)
    assert shifts(_config("full"), model.backbone.state_dict(), block_ends("resnet9:width=4")) == []


def test_a_model_stands_under_the_name_that_was_asked_for() -> None:
    """An adapter is joined to its base in the cache, in a folder that has digests for a name."""
    found = diagnose("busi-resnet9-drs", "phantom:n=8", images=2)
    assert found.name == "busi-resnet9-drs"


def test_other_blocks_are_refused() -> None:
    images = [torch.randn(1, 3, 32, 32)]
    narrow, wide = (build_backbone(f"resnet9:width={width}").eval() for width in (2, 4))
    with pytest.raises(IncompatibleError, match="other sizes"):
        activity(narrow, block_ends("resnet9"), images, wide)
    with pytest.raises(IncompatibleError, match=r"no block 'prep\.act'"):
        activity(build_backbone("test_resnet").eval(), block_ends("resnet9"), images)
    with pytest.raises(IncompatibleError, match="no blocks"):
        block_ends("torchvision/vgg11")


def test_the_figure_has_a_panel_for_each_thing_known(tmp_path) -> None:
    config = _config("drs")
    model, _ = build_model(build_backbone(config.backbone), "drs", "gap", config.classes, config.input)
    ends = block_ends(config.backbone)
    moved = shifts(config, model.backbone.state_dict(), ends)
    images = [torch.randn(1, 3, 32, 32)]
    network = model.backbone.eval()
    both = draw_diagnosis(tmp_path / "both.svg", activity(network, ends, images, network), moved, ("one", "other"))
    alone = draw_diagnosis(tmp_path / "alone.svg", activity(network, ends, images), [], ("one", None))
    counts = [path.read_text(encoding="utf-8").count('<g id="axes_') for path in (both, alone)]
    assert counts == [4, 1]
    again = draw_diagnosis(tmp_path / "again.svg", activity(network, ends, images), [], ("one", None))
    assert again.read_bytes() == alone.read_bytes()
