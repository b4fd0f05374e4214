"""The kinds of new packages, and the texts of their READMEs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of thing, with the texts and commands that the templates need.

    Attributes:
        plural: as in `mammozoo list`.
        thing: the content of the module.
        summary: one line about the thing as it is written.
        tested: the subject of the tests beside the contract.
        about: how to use it, and what to change first; with `{name}`.
        tries: command lines that use it; with `{name}`, `{drawing}` (a script) and `{pictures}` (a folder).
    """

    plural: str
    thing: str
    summary: str
    tested: str
    about: str
    tries: tuple[str, ...]


KINDS = {
    "dataset": Kind(
        plural="datasets",
        thing="the data set",
        summary="Images in a folder for each class, with the patient in the name of each file",
        tested="which patients and masks are read",
        about="The first line draws images that resemble nothing, for a trial. For your own, adapt the layout and the fields\n"
        "of `info` that say `FILL IN`, then look at them with `mammozoo data check {name} --root FOLDER`.",
        tries=(
            "python {drawing} {pictures}",
            "mammozoo train --dataset {name} --root {pictures} --epochs 3 --out runs/{name}",
        ),
    ),
    "backbone": Kind(
        plural="backbones",
        thing="the network",
        summary="A small residual network for images of 64×64, trained from scratch",
        tested="its shapes and its number of parameters",
        about="`--backbone {name}:width=32` has four times the parameters. Replace the network by your own; `block_names` and\n"
        "`stage_names` say which parameters belong together, and `insert_before_final_activations` lets `drs` work with it.",
        tries=("mammozoo train --backbone {name} --strategy scratch --out runs/{name}",),
    ),
    "strategy": Kind(
        plural="strategies",
        thing="the strategy",
        summary="Bias-only fine-tuning after BitFit, a transfer strategy",
        tested="which parameters train",
        about="`--strategy {name}:rate=10` has a higher learning rate, `{name}:scales=true` trains the scales of norms too, and\n"
        "`{name}+last-blocks:1` the last block beside. `mammozoo compare` puts runs side by side.",
        tries=("mammozoo train --strategy {name} --out runs/{name}",),
    ),
    "metric": Kind(
        plural="metrics",
        thing="the score",
        summary="The geometric mean of sensitivity and specificity, a score",
        tested="scores computed by hand",
        about="Every run now has `{name}` among its scores, with a 95 % interval; `--set monitor={name}` takes the best\n"
        "epoch by it.",
        tries=("mammozoo train --out runs/{name}",),
    ),
}
