"""Weights of others on the Hub: one file of a commit, in the layout of its library, with its hash and its licence."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from hub_server import Hub

from mammozoo.config.loading import load
from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.models.factory import build_backbone
from mammozoo.models.weights import to_bytes, write_tensors
from mammozoo.training.experiment import train
from mammozoo.training.prepare import prepare
from mammozoo.zoo.registry import find_model
from mammozoo_basics.transformers_names import fits, to_timm

from ..helpers import flip, tiny

CARD = b"---\nlicense: apache-2.0\n---\n# A model of ultrasound\n"


def weights_of(name: str) -> dict[str, torch.Tensor]:
    """Weights of one of timm's smallest networks, drawn; with its classifier."""
    torch.manual_seed(7)
    state = timm.create_model(name).state_dict()
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def as_transformers(state: dict[str, torch.Tensor], family: str = "vit.") -> dict[str, torch.Tensor]:
    """timm's weights of a vision transformer under the names that transformers 4 writes."""
    names = {
        r"^cls_token": "embeddings.cls_token", r"^pos_embed": "embeddings.position_embeddings",
        r"^patch_embed\.proj": "embeddings.patch_embeddings.projection", r"^blocks\.": "encoder.layer.",
        r"attn\.proj": "attention.output.dense", r"mlp\.fc1": "intermediate.dense", r"mlp\.fc2": "output.dense",
        r"norm1": "layernorm_before", r"norm2": "layernorm_after", r"^norm\.": "layernorm.",
    }  # fmt: skip
    found = {}
    for key, tensor in state.items():
        if key.startswith("head"):
            continue
        name = key
        for theirs, ours in names.items():
            name = re.sub(theirs, ours, name)
        if "attn.qkv" in name:
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[family + name.replace("attn.qkv", f"attention.attention.{part}")] = piece.clone()
        else:
            found[family + name] = tensor
    return found | {"classifier.weight": torch.zeros(3, 4)}


def same(backbone: Any, state: dict[str, torch.Tensor]) -> bool:
    own = {name.removeprefix("net."): tensor for name, tensor in backbone.state_dict().items()}
    return all(
        torch.equal(tensor, state[name]) for name, tensor in own.items() if not name.endswith("num_batches_tracked")
    )


def test_an_ultrasound_transformer_in_the_layout_of_transformers(hub: Hub, hub_here, tmp_path, caplog) -> None:
    state = weights_of("test_vit")
    files = {
        "model.safetensors": to_bytes(as_transformers(state)), "README.md": CARD,
        "config.json": json.dumps({"model_type": "vit"}).encode(),
    }  # fmt: skip
    commit = hub.publish("lab/sono", files)
    hub_here("alice")
    for weights in (f"hub:lab/sono@{commit}:model.safetensors", f"hub:lab/sono@{commit}"):
        prepared = prepare(tiny(backbone="test_vit", size=160, weights=weights))
        assert same(prepared.backbone, state)
        assert prepared.lineage.weights == f"model.safetensors of lab/sono@{commit}, licence apache-2.0"
        pin = next(pin for pin in prepared.recipe.pinned if pin.file == "model.safetensors")
        assert (pin.repository, pin.revision) == ("lab/sono", commit) and len(pin.sha256) == 64
    assert "Licence of its weights: apache-2.0" in caplog.text
    run = train(
        tiny(backbone="test_vit", size=160, weights=f"hub:lab/sono@{commit}:model.safetensors"), tmp_path / "run"
    )
    assert (
        f"Starting weights: model.safetensors of lab/sono@{commit}, licence apache-2.0"
        in (run.path / "README.md").read_text()
    )
    asked = len(hub.asked("model.safetensors"))
    prepare(load(str(run.path / "recipe.yaml")))
    assert len(hub.asked("model.safetensors")) == asked, "what is here is not asked for again"


def test_a_mammography_network_that_is_part_of_a_larger_model(hub: Hub, hub_here) -> None:
    """Three networks of timm for grey images, each behind a prefix, with heads of their own."""
    first, second = weights_of("test_efficientnet"), timm.create_model("test_efficientnet").state_dict()
    grey = {
        name: tensor.sum(1, keepdim=True) if name == "conv_stem.weight" else tensor for name, tensor in first.items()
    }
    layout = {f"net0.backbone.{name}": tensor for name, tensor in grey.items()}
    layout |= {f"net1.backbone.{name}": tensor for name, tensor in second.items() if "num_batches" not in name}
    layout |= {"net0.linear.weight": torch.zeros(5, 8), "net1.linear.weight": torch.zeros(5, 8)}
    commit = hub.publish("lab/mammo", {"model.safetensors": to_bytes(layout), "README.md": b"# none\n"})
    hub_here("alice")
    prepared = prepare(tiny(backbone="test_efficientnet", weights=f"hub:lab/mammo@{commit}:model.safetensors"))
    assert prepared.lineage.weights.endswith("licence not stated")
    image = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1)
    alone = build_backbone("test_efficientnet").eval()
    alone.load_pretrained(first | {"conv_stem.weight": grey["conv_stem.weight"].expand(-1, 3, -1, -1) / 3})
    with torch.no_grad():
        torch.testing.assert_close(prepared.backbone.eval()(image), alone(image))


def test_timm_s_own_rules_change_what_they_change(tmp_path) -> None:
    """A position embedding of another size of image is resampled by timm's rule of the family."""
    torch.manual_seed(0)
    larger = timm.create_model("test_vit", img_size=192).state_dict()
    write_tensors(tmp_path / "larger.safetensors", larger)
    prepared = prepare(tiny(backbone="test_vit", size=160, weights=f"file:{tmp_path / 'larger.safetensors'}"))
    assert prepared.backbone.net.pos_embed.shape[1] == 101 and larger["pos_embed"].shape[1] == 145
    assert torch.equal(prepared.backbone.net.blocks[0].attn.qkv.weight, larger["blocks.0.attn.qkv.weight"])


def test_what_is_refused(hub: Hub, hub_here) -> None:
    state = to_bytes(as_transformers(weights_of("test_vit")))
    commit = hub.publish("lab/sono", {"model.safetensors": state, "other.safetensors": to_bytes({"a": torch.ones(1)})})
    cache = hub_here("alice")

    def start(rest: str, backbone: str = "test_vit") -> Any:
        return prepare(tiny(backbone=backbone, size=160, weights=f"hub:lab/sono@{rest}"))

    with pytest.raises(UsageError, match="full id"):
        start("main:model.safetensors")
    for name in ("model.bin", "../model.safetensors", "/model.safetensors"):
        with pytest.raises(UsageError, match=r"not the path of a \.safetensors"):
            start(f"{commit}:{name}")
    with pytest.raises(NotFoundError, match=r"no file 'absent\.safetensors'"):
        start(f"{commit}:absent.safetensors")
    with pytest.raises(IncompatibleError, match="do not fit the network"):
        start(f"{commit}:other.safetensors")
    with pytest.raises(IncompatibleError, match="do not fit the network"):
        start(f"{commit}:model.safetensors", "test_resnet")
    with pytest.raises(UsageError, match="not a model"):
        find_model(f"hub:lab/sono@{commit}:model.safetensors")
    (path,) = cache.rglob("snapshots/*/model.safetensors")
    flip(path)
    with pytest.raises(NotVerifiedError, match="damaged since"):
        start(f"{commit}:model.safetensors")


@pytest.mark.parametrize("saved", [True, False], ids=["as saved", "as in memory"])
def test_beit_of_transformers_gives_the_same_tokens(saved: bool, tmp_path) -> None:
    """The layout of the ultrasound model that the docs name, written by transformers itself."""
    transformers = pytest.importorskip(
        "transformers", reason="needs the library transformers: pip install transformers"
    )
    config = transformers.BeitConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, image_size=32, patch_size=16,
        use_relative_position_bias=True, layer_scale_init_value=0.1, use_mean_pooling=False,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.BeitModel(config, add_pooling_layer=False).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tensors = theirs.state_dict()
    if saved:
        from mammozoo.models.weights import read_tensors

        theirs.save_pretrained(tmp_path)
        tensors = read_tensors(tmp_path / "model.safetensors")
    assert fits(tensors.keys())
    shape = {"img_size": 32, "depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 0, "global_pool": ""}
    ours = timm.create_model("beit_base_patch16_224", **shape).eval()
    ours.load_state_dict(to_timm(tensors, SimpleNamespace(channels=32)))  # type: ignore[arg-type]
    ours.norm.eps = theirs.config.layer_norm_eps
    for block in ours.blocks:
        block.norm1.eps = block.norm2.eps = theirs.config.layer_norm_eps
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_features(image), theirs(image).last_hidden_state, rtol=1e-4, atol=1e-5)
