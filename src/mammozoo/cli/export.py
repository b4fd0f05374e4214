"""`mammozoo export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo import api
from mammozoo.cli.options import Json, Member, ModelName
from mammozoo.cli.output import note, print_json, say

EXAMPLES = """
mammozoo export runs/first --out first.onnx
mammozoo export busi-resnet9 --format torchscript --out resnet9.pt --check ~/BUSI
"""


def export(
    model: ModelName,
    format: str = typer.Option("onnx", help="onnx (pip install onnx onnxruntime) or torchscript."),
    out: Path = typer.Option(..., help="New file."),
    member: Member = None,
    check: list[str] = typer.Option(
        None,
        metavar="IMAGES",
        help="Images, or a folder of images, for the check; by default the example image.",
    ),
    as_json: Json = False,
) -> None:
    """Write a model as one file for other programs, and check on images that it gives the same answers."""
    written = api.export(model, out, format=format, member=member, check=check or ())
    if as_json:
        print_json(dataclasses.asdict(written) | {"file": out.as_posix()})
        return
    say(out)
    say(f"{written.format}, {written.bytes / 1e6:.1f} MB, SHA-256 {written.sha256[:16]}…")
    say(
        f"largest difference of a probability on {written.images} images and their mirror images: {written.difference:.1e}"
    )
    note("Input and decision rules stand in the file's metadata, under the key mammozoo. Research only.")
