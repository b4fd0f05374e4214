"""Commands and maps of weights that break one promise each."""

import typer

from mammozoo import CommandSpec, WeightMap


def wards(folder: str, top: int = 3) -> None:
    """Count the images of each ward."""


def unread(folder: int | str) -> None:
    """Takes one of two types."""


def silent(top: int = 3) -> None:
    pass


group = typer.Typer(help="Wards of a hospital.")
group.command("count")(wards)


def weights(summary: str, mark: str) -> WeightMap:
    """A map that knows files by one name in them."""
    return WeightMap("ours", summary, build=lambda tensors, backbone: tensors, fits=lambda names: mark in names)


BROKEN = {
    "commands": [
        ("has-name-and-summary", "neither a summary", CommandSpec("wards", "", run=wards)),
        ("name-is-free", "a command 'train'", CommandSpec("train", "trains", run=wards)),
        ("can-be-read", "AssertionError|RuntimeError", CommandSpec("wards", "wards", run=unread)),
        ("has-help", "says nothing", CommandSpec("wards", "wards", run=silent)),
    ],
    "weight_maps": [
        ("has-name-and-summary", "neither a summary", weights("", "trunk.weight")),
        ("leaves-others-alone", "It fits conv1.weight, ", weights("of our lab", "fc.weight")),
    ],
}
SOUND = {
    "commands": [CommandSpec("wards", "images of each ward", run=wards), CommandSpec("all-wards", "wards", run=group)],
    "weight_maps": [weights("of our lab", "trunk.weight")],
}
