"""The contract of mammozoo, with all options and on several families of networks."""

from __future__ import annotations

import pytest
from mammozoo.testing import Check, checks, parametrize_with_checks

SPECS = [
    ["peft-lora:r=2,alpha=4,where=spatial", "peft-ia3:side=input,rate=2"],
    ["peft-lora:r=1,where=pointwise", "peft-ia3"],
]
#: 3 × 3 blocks, depthwise convolutions with squeeze and excitation, dense layers behind depthwise ones.
NETWORKS = ["resnet9:width=4", "test_efficientnet", "test_convnext"]
STRUCTURE = {"adapt-is-deterministic", "every-trainable-gets-a-gradient", "weights-reload"}


@parametrize_with_checks("peft")
def test_contract(check: Check) -> None:
    """With the options that a user gets who names none."""
    check.run()


@pytest.mark.parametrize("check", [check for specs in SPECS for check in checks("peft", specs=specs)], ids=str)
def test_contract_with_options(check: Check) -> None:
    """With every option."""
    check.run()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("strategy", ["peft-lora", "peft-ia3"])
def test_contract_on_other_networks(strategy: str, network: str) -> None:
    """Those checks that look at the network itself."""
    for check in checks("peft", only=[strategy], backbone=network):
        if check.name in STRUCTURE:
            check.run()
