"""Images for a card, tried on the processor: kept there or copied, batches are the same."""

import numpy as np
import pytest
import torch

from mammozoo.data.loader import batches
from mammozoo.data.on_card import CardImages, fits

CPU = torch.device("cpu")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("n", [0, 3, 11])
def test_batches_are_those_of_the_loader(kept: bool, n: int) -> None:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (20, 6, 5, 1), np.uint8), rng.integers(0, 3, 20).astype(np.intp)
    pixels.flags.writeable = False  # as those of the cache
    images, order, rows = CardImages(pixels, labels, CPU), rng.permutation(20)[:n], torch.rand(20, 2)
    assert images.kept is None
    if kept:
        images.kept = torch.tensor(pixels)
    found, expected = list(images.batches(order, 4, [rows])), list(batches(pixels, labels, order, 4))
    assert len(found) == len(expected) == -(-n // 4)
    for (a, b, row), (c, d, numbers) in zip(found, expected, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d) and torch.equal(row, rows[numbers])


def test_only_a_card_keeps_images(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    assert fits(250, torch.device("cuda", 0)) and not fits(251, torch.device("cuda", 0)) and not fits(1, CPU)
