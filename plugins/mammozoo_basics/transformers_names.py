"""Vision transformers (ViT, DeiT, BEiT) of Hugging Face's transformers, versions 4 and 5, under timm's names."""

from __future__ import annotations

import re
from collections.abc import Collection

import torch

from mammozoo.models.backbone import Backbone

Tensors = dict[str, torch.Tensor]
#: Theirs → timm's, after the family's name (`vit.`) is taken off. Queries, keys and values are joined afterwards.
_NAMES = [
    (r"embeddings\.(cls_token)", r"\1"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"(?:\.attention\.attention)?\.relative_position_bias\.(relative_position_bias_table)", r".attn.\1"),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    (r"^(?:pooler\.)?layernorm\.", "norm."),
]
_PARTS = ("query", "key", "value")
_FAMILY = re.compile(r"^(?:vit|deit|beit)\.")
_KNOWN = re.compile(r"^(?:(?:vit|deit|beit)\.)?embeddings\.patch_embeddings\.projection\.weight$")
_UNUSED = ("pooler.", "classifier.", "embeddings.mask_token", "embeddings.distillation_token")


def fits(names: Collection[str]) -> bool:
    """Whether these are the names of such a transformer."""
    return any(_KNOWN.match(name) for name in names) and any("layernorm_before" in name for name in names)


def to_timm(tensors: Tensors, backbone: Backbone) -> Tensors:
    """The tensors under timm's names; a norm behind the last block that was not trained leaves its input as it is."""
    found: Tensors = {}
    for given, tensor in tensors.items():
        name = _FAMILY.sub("", given)
        for theirs, ours in _NAMES:
            name = re.sub(theirs, ours, name)
        if not name.startswith(_UNUSED) and "relative_position_index" not in name:
            found[name] = tensor
    for query in [name for name in found if name.endswith(".attn.query.weight")]:
        stem = query.removesuffix("query.weight")
        found[f"{stem}qkv.weight"] = torch.cat([found.pop(f"{stem}{part}.weight") for part in _PARTS])
        biases = [found.pop(f"{stem}{part}.bias", None) for part in _PARTS]
        if biases[0] is not None and biases[1] is not None and biases[2] is not None:
            found[f"{stem}qkv.bias"] = torch.cat([biases[0], biases[1], biases[2]])
        elif biases[0] is not None and biases[2] is not None:  # BEiT's keys have none
            found |= {f"{stem}q_bias": biases[0], f"{stem}v_bias": biases[2]}
    width = backbone.channels
    return {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)} | found
