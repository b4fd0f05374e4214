"""What several processes do to a network, without other processes and without a card."""

import copy

import pytest
import torch
from torch import nn

from mammozoo.training import distributed
from mammozoo.training.distributed import DistContext

from ..helpers import network


@pytest.mark.parametrize("strategy", ["full", "drs+last-blocks:2"])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_synchronised_norms_compute_what_the_norms_did(name: str, strategy: str, monkeypatch) -> None:
    """Their activations too: timm's `BatchNormAct2d` has one behind it, and DRS layers lie before that."""
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda model, device_ids: model)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    plain, _ = network(name, strategy)
    model = copy.deepcopy(plain)
    parameters = dict(model.named_parameters())
    wrapped = DistContext(0, 2).wrap(model, torch.device("cuda"), sync_batch_norm=True)
    kinds = {type(module) for module in wrapped.modules()}
    assert any(issubclass(kind, nn.SyncBatchNorm) for kind in kinds) and nn.BatchNorm2d not in kinds
    assert all(parameters[name] is parameter for name, parameter in wrapped.named_parameters()), (
        "an optimizer holds them"
    )
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for mode in (False, True):
        torch.testing.assert_close(wrapped.train(mode)(images), plain.train(mode)(images))
    assert [*wrapped.state_dict()] == [*plain.state_dict()]
    for one, other in zip(wrapped.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
