"""How many numbers learn in a backbone under each strategy: the table of docs/peft.md.

python count.py [NETWORK …]
"""

from __future__ import annotations

import sys

from mammozoo.errors import IncompatibleError
from mammozoo.models.factory import build_backbone, build_model

NETWORKS = [
    "resnet9:width=32", "resnet18", "resnet50", "resnext50_32x4d", "mobilenetv2_100", "efficientnet_b0", "densenet121",
    "vgg16", "convnext_atto", "regnety_002", "torchvision/mobilenet_v2", "torchvision/densenet121",
]  # fmt: skip
STRATEGIES = [
    "full",
    "drs",
    "peft-ia3",
    "peft-ia3:side=input",
    "peft-lora:r=1",
    "peft-lora:r=4",
    "peft-lora:r=4,where=spatial",
]


def learning(network: str, strategy: str) -> str:
    """How many numbers learn, the head left out; a dash where the strategy refuses the network."""
    backbone = build_backbone(network)
    try:
        build_model(backbone, strategy, "gap", ("benign", "malignant"), backbone.input)
    except IncompatibleError:
        return "–"
    return f"{sum(p.numel() for p in backbone.parameters() if p.requires_grad):,}"


def main() -> None:
    """Print a line for each network."""
    print("| network |", *(f"`{strategy}` |" for strategy in STRATEGIES))
    print("|---|" + "---:|" * len(STRATEGIES))
    for network in sys.argv[1:] or NETWORKS:
        print(f"| `{network}` |", *(f"{learning(network, strategy)} |" for strategy in STRATEGIES), flush=True)


if __name__ == "__main__":
    main()
