"""Backbones of timm, torchvision and our own: maps, groups, gradients, insertion, weights."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from mammozoo import BackboneSpec, Input
from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.models.backbone import Backbone, By, output_shapes
from mammozoo.models.factory import build_backbone, build_model, default_weights, load_starting_weights
from mammozoo.models.model import has_folded_batch_norm
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins import registry
from mammozoo.training.experiment import train
from mammozoo_basics import catalogue

from ..helpers import python, tiny

CLASSES = ("benign", "malignant")
#: Backbone → blocks that take a layer at 64 × 64; None if it has no such blocks.
NETWORKS = {
    "test_resnet": 4,
    "mobilenetv2_100": 17,
    "mobilenetv3_small_100": 12,
    "efficientnet_b0": 16,
    "vgg11": 8,
    "densenet121": None,
    "torchvision/squeezenet1_1": 8,
    "torchvision/mobilenet_v2": 19,
    "resnet9:width=8": 6,
    "test_vit": 6,
    "convnext_atto": 12,
    "test_mambaout": 6,  # its maps are (N, h, w, C)
}


def build(name: str) -> Backbone:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    backbone.input = backbone.input.model_copy(update={"size": (64, 64)})
    return backbone


def nowhere(name: str) -> Path:
    raise AssertionError(f"the zoo was searched for '{name}'")


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_groups_and_gradients(name: str) -> None:
    backbone = build(name)
    own = Counter(map(id, backbone.parameters()))
    sizes: dict[By, int] = {}
    for by in ("stage", "block", "layer"):
        groups = backbone.groups(by)
        assert Counter(id(p) for group in groups for p in group.parameters) == own
        assert len({group.name for group in groups}) == len(groups)
        assert sum(group.size for group in groups) == sum(p.numel() for p in backbone.parameters())
        sizes[by] = len(groups)
    weighted = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in backbone.modules())
    assert sizes["layer"] == weighted
    assert 4 <= sizes["stage"] <= 6
    assert sizes["block"] <= sizes["layer"]

    model, _ = build_model(backbone, "full", "gap", CLASSES, backbone.input)
    images = torch.randn(2, 3, 64, 64)
    assert model.eval().backbone(images).shape[:2] == (2, backbone.channels)
    model.train()(images).square().sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert unused == []


class Mark(nn.Module):
    def __init__(self, *shape: int):
        super().__init__()
        self.shape, self.calls = shape, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert tuple(x.shape[1:]) == self.shape
        self.calls += 1
        return x


@pytest.mark.parametrize("name", NETWORKS)
def test_insert_before_final_activations(name: str) -> None:
    backbone = build(name).eval()
    images = torch.randn(1, 3, 64, 64)
    if NETWORKS[name] is None:
        with pytest.raises(IncompatibleError, match="blocks"):
            backbone.insert_before_final_activations(Mark)
        return
    with torch.no_grad():
        before, blocks = backbone(images), [group.name for group in backbone.groups("block")]
        marks = backbone.insert_before_final_activations(Mark)
        assert len(marks) == NETWORKS[name]
        assert torch.equal(backbone(images), before)
    assert [mark.calls for mark in marks] == [1] * len(marks)
    assert [group.name for group in backbone.groups("block")] == blocks, "blocks keep their names and order"
    assert [m for m in backbone.modules() if isinstance(m, Mark)] == marks, "in forward order"


@pytest.mark.parametrize("several", [False, True])
def test_a_network_without_feature_maps_is_refused(several: bool) -> None:
    class Vector(Backbone):
        channels, input = 4, Input(size=(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
            return [x, x] if several else self.dense(x.flatten(1))

    backbone = Vector()
    backbone.dense = nn.Linear(192, 4)
    with pytest.raises(IncompatibleError, match="feature maps"):
        build_model(backbone, "frozen", "gap", CLASSES, backbone.input)


def test_a_transformer_takes_images_of_another_size_and_weights_of_one() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_vit").eval()
    usual, x = backbone.input.size, torch.randn(1, 3, 96, 96)
    learnt = backbone.net.pos_embed.clone()
    backbone.input = backbone.input.model_copy(update={"size": (96, 96)})
    assert backbone(x).shape == (1, backbone.channels, 6, 6) != usual
    assert backbone.net.pos_embed.shape != learnt.shape and torch.equal(backbone.net.pos_embed[:, :1], learnt[:, :1])
    with pytest.raises(IncompatibleError, match="97×97"):
        build_model(backbone, "frozen", "gap", CLASSES, backbone.input.model_copy(update={"size": (97, 97)}))


def test_training_starts_from_a_transformer_of_another_size(tmp_path: Path) -> None:
    first = train(tiny(backbone="test_vit", strategy="full", size=64), tmp_path / "first")
    second = train(
        tiny(backbone="test_vit", strategy="frozen", size=96, weights=f"run:{first.path}"), tmp_path / "second"
    )
    assert second.facts["status"] == "done"
    again = train(
        tiny(backbone="test_vit", strategy="frozen", size=64, weights=f"run:{first.path}"), tmp_path / "again"
    )
    state = read_tensors(first.path / "model.safetensors")
    kept = read_tensors(again.path / "model.safetensors")
    assert torch.equal(kept["backbone.net.pos_embed"], state["backbone.net.pos_embed"]), "not resampled to and fro"


def test_a_size_that_a_network_cannot_take_is_refused() -> None:
    backbone = build_backbone("hiera_tiny_224")
    with pytest.raises(IncompatibleError, match="96×96"):
        build_model(backbone, "frozen", "gap", CLASSES, backbone.input.model_copy(update={"size": (96, 96)}))


#: One network of each way in which families differ: tokens, tokens of patches alone, maps that lie in another order, several
#: branches, no groups of timm's, no stages of timm's.
WAYS = [
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "swin_tiny_patch4_window7_224",
    "crossvit_tiny_240",
    "pit_xs_224",
    "mvitv2_tiny",
    "hiera_tiny_224",
]


def families() -> list[str]:
    """A small network of every family of timm."""
    words = ("test_", "atto", "femto", "pico", "nano", "xxs", "tiny", "mini", "_xs", "_s", "small", "18", "_b0", "base")
    found: dict[tuple[str, str], list[str]] = {}
    for name in timm.list_models():
        module = timm.models.model_entrypoint(name).__module__
        found.setdefault((module, re.split(r"[_0-9]", name)[0]), []).append(name)
    return [min(n, key=lambda one: next((i for i, w in enumerate(words) if w in one), 99)) for n in found.values()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", families() if os.environ.get("MAMMOZOO_NETWORKS") else WAYS)
def test_every_family_makes_maps_and_groups(name: str) -> None:
    """On torch's meta device, which knows shapes and no numbers. All 191 families take two minutes: `tox -e networks`."""
    if name.startswith("gemma4"):
        pytest.skip("reads numbers of its tensors, which the meta device does not have")
    with torch.device("meta"):
        backbone = build_backbone(name)
        ((channels, height, width),) = output_shapes(backbone, [backbone], backbone.input)
        assert channels == backbone.channels and height > 1 and width > 1
        for by in ("stage", "block"):
            groups = backbone.groups(by)
            assert len(groups) > 1 and sum(group.size for group in groups) == sum(
                p.numel() for p in backbone.parameters()
            )


def test_names_options_and_default_weights() -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'resnet101'"):
        build_backbone("resnet1O1")
    with pytest.raises(UsageError, match=r"no option 'widht'.*'width'"):
        build_backbone("resnet9:widht=8")
    assert default_weights("resnet9") == "zoo:busi-resnet9"
    assert default_weights("test_resnet") == "imagenet"


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("name", ["test_resnet", "torchvision/squeezenet1_1", "mobilenetv3_small_100"])
def test_published_weights_fit_with_their_classifier(name: str, tmp_path) -> None:
    """A file that the library saves, with its classifier: every tensor of the backbone comes from it."""
    library, _, own = name.rpartition("/")
    published = torchvision.models.get_model(own, weights=None) if library else timm.create_model(own)
    state = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in published.state_dict().items()}
    path = write_tensors(tmp_path / "weights.safetensors", state)
    backbone = build(name)
    lineage = load_starting_weights(backbone, name, f"file:{path}", nowhere)
    assert lineage.weights == "file:weights.safetensors"
    for key, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, state[key.removeprefix("net.")]), key


def test_weights_that_do_not_fit_are_refused_and_change_nothing(tmp_path) -> None:
    state = build("resnet9:width=8").state_dict()
    short = {name: tensor for name, tensor in state.items() if name != "res3.conv2.conv.weight"}
    for name, tensors, says in (
        ("resnet9:width=8", short, r"missing res3\.conv2\.conv\.weight"),
        ("resnet9:width=4", state, r"prep\.conv\.weight is \(8, 3, 3, 3\), not \(4, 3, 3, 3\)"),
        ("test_resnet", state, "missing"),
    ):
        path, backbone = write_tensors(tmp_path / "other.safetensors", tensors), build(name)
        before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
        with pytest.raises(IncompatibleError, match=says):
            load_starting_weights(backbone, name, f"file:{path}", nowhere)
        assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_pickles_are_never_opened(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(build("test_resnet").state_dict(), path)
    with pytest.raises(UsageError, match="safetensors"):
        load_starting_weights(build("test_resnet"), "test_resnet", f"file:{path}", nowhere)
    disguised = path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(NotVerifiedError, match="safetensors"):
        load_starting_weights(build("test_resnet"), "test_resnet", f"file:{disguised}", nowhere)


@pytest.mark.parametrize("text", ["", "imagnet", "file:", "random:1", "weights.safetensors"])
def test_unknown_weights(text: str) -> None:
    with pytest.raises(UsageError, match="file:PATH"):
        load_starting_weights(build("test_resnet"), "test_resnet", text, nowhere)
    with pytest.raises(NotFoundError, match=r"file:PATH.*random"):  # a network without weights of that name
        load_starting_weights(build("resnet9:width=8"), "resnet9:width=8", "imagenet", nowhere)


@pytest.mark.parametrize(
    ("name", "file", "folded"),
    [
        ("mobilenetv2_100", "mobilenetv2_100-imagenet-features", True),
        ("torchvision/squeezenet1_1", "squeezenet1_1-imagenet", False),
    ],
)
def test_local_weights(local_data, name: str, file: str, folded: bool) -> None:
    path = local_data / "weights" / f"{file}.safetensors"
    backbone, state = build(name), read_tensors(path)
    assert not has_folded_batch_norm(backbone)
    load_starting_weights(backbone, name, f"file:{path}", nowhere)
    own = {key.removeprefix("net."): tensor for key, tensor in backbone.state_dict().items()}
    loaded = own.keys() & state.keys()
    assert len(loaded) > 40 and all(torch.equal(own[key], state[key]) for key in loaded)
    assert has_folded_batch_norm(backbone) is folded
    with pytest.raises(IncompatibleError):
        load_starting_weights(build("efficientnet_b0"), "efficientnet_b0", f"file:{path}", nowhere)


# ---------------------------------------------------------------- the names of networks, read from source


def test_the_names_of_both_libraries() -> None:
    assert catalogue.timm_names() == sorted(timm.list_models())
    with_features = ("alexnet", "densenet", "efficientnet", "mobilenet", "squeezenet", "vgg")
    names = torchvision.models.list_models(module=torchvision.models)
    assert catalogue.torchvision_names() == sorted(name for name in names if name.startswith(with_features))


@pytest.mark.parametrize("name", ["resnet18", "torchvision/squeezenet1_1", "resnet9"])
def test_a_lookup_makes_no_other_specs(name: str, fresh, monkeypatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        catalogue, "BackboneSpec", lambda name, *rest, **more: made.append(name) or BackboneSpec(name, *rest, **more)
    )
    assert fresh().get("backbones", name).name == name
    assert made == ([name] if name != "resnet9" else [])


@pytest.mark.parametrize("name", ["resnet1000", "torchvision/resnet18", "torchvision/", "hub/resnet18"])
def test_a_name_that_no_library_has(name: str) -> None:
    with pytest.raises(NotFoundError):
        registry().get("backbones", name)


def test_a_library_without_readable_source_is_asked(monkeypatch) -> None:
    assert catalogue.registered_names("a_package_that_nobody_has") == []
    assert catalogue.registered_names("json") == []  # it has no models
    monkeypatch.setattr(catalogue, "registered_names", lambda package: [])
    assert catalogue.timm_names() == sorted(timm.list_models())
    assert "squeezenet1_1" in catalogue.torchvision_names()


@pytest.mark.parametrize(
    ("asked", "absent"),
    [
        ("len(r().items('backbones')) > 1000", ("timm", "torchvision")),
        ("'byra-busi' in {*r().items('recipes'), *r().items('papers')}", ("torch", "numpy", "scipy", "PIL")),
    ],
)  # fmt: skip
def test_a_listing_imports_only_what_its_kind_needs(asked: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; from mammozoo.plugins import registry as r; print({asked}, [m for m in {absent} if m in sys.modules])"
    assert python("-c", code).ok.out.split("\n")[0] == "True []"
