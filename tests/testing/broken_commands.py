"""Commands that break one promise each."""

import typer

from mammozoo import CommandSpec


def wards(folder: str, top: int = 3) -> None:
    """Count the images of each ward."""


def unread(folder: int | str) -> None:
    """Takes one of two types."""


def silent(top: int = 3) -> None:
    pass


group = typer.Typer(help="Wards of a hospital.")
group.command("count")(wards)

BROKEN = {"commands": [
    ("has-name-and-summary", "no.* summary|neither a summary", CommandSpec("wards", "", run=wards)),
    ("name-is-free", "a command 'train'", CommandSpec("train", "trains", run=wards)),
    ("can-be-read", "AssertionError|RuntimeError", CommandSpec("wards", "wards", run=unread)),
    ("has-help", "says nothing", CommandSpec("wards", "wards", run=silent)),
]}  # fmt: skip
SOUND = {
    "commands": [CommandSpec("wards", "images of each ward", run=wards), CommandSpec("all-wards", "wards", run=group)]
}
