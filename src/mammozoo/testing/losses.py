"""What a loss promises: one number for each image, lower for a right answer than for a wrong one, with a gradient."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import Named
from mammozoo.training.loss import LossSpec


class LossRules(Named[LossSpec]):
    """Tried with its default options on logits of two and of three classes."""

    @rule("The recipe's class weights multiply each image's loss. Return (N,) numbers, no mean.")
    def one_loss_each(self) -> None:
        """It gives a finite number for each image; if it is `soft`, also of shares of the classes."""
        for outputs, classes in ((1, 2), (3, 3)):
            labels = torch.arange(6) % classes
            for targets in [labels, *([F.one_hot(labels, classes).float()] if self.value.soft else [])]:
                losses = self.value.build()(torch.linspace(-2, 2, 6 * outputs).view(6, outputs), targets)
                assert losses.shape == (6,), f"Of 6 images it gives {tuple(losses.shape)}."
                assert bool(torch.isfinite(losses).all()), f"It gives {losses.tolist()}."

    @needs(one_loss_each)
    @rule("Training goes down its gradient. Let it fall as the logit of the image's class rises.")
    def falls_towards_the_truth(self) -> None:
        """Its gradient lowers the logits of wrong classes and raises those of right ones."""
        for outputs in (1, 3):
            logits = torch.zeros(2, outputs, requires_grad=True)
            self.value.build()(logits, torch.tensor([0, 1])).sum().backward()  # type: ignore[no-untyped-call]
            found = logits.grad
            assert found is not None and found[0, 0] * (-1 if outputs > 1 else 1) > 0, "It does not fall for class 0."
            assert found[1, min(1, outputs - 1)] < 0, "It does not fall for class 1."
