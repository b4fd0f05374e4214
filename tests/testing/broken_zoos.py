"""Each check of zoos, tried on one that breaks just that: copies of a zoo that was exported from ours."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mammozoo.files import sha256
from mammozoo.models.weights import read_tensors, write_tensors

Change = Callable[[Path, list[dict[str, Any]]], dict[str, Any] | None]


def place(folder: Path, model: dict[str, Any], file: str) -> Path:
    return folder / model["source"]["path"] / file


def promise(model: dict[str, Any], path: Path) -> None:
    model["files"][path.name] = {"sha256": sha256(path), "size": path.stat().st_size}


def renamed(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The first model under a name of its own, without the adapter."""
    del models[1]
    models[0]["name"] = "yours"
    return models[0]


def name_of_another(folder: Path, models: list[dict[str, Any]]) -> None:
    """The packaged zoo has the model with this card; here it is another card."""
    del models[1]
    card = place(folder, models[0], "README.md")
    card.write_text("another card")
    promise(models[0], card)


def no_card(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    del model["files"]["README.md"]
    place(folder, model, "README.md").unlink()


def other_bytes(folder: Path, models: list[dict[str, Any]]) -> None:
    card = place(folder, models[0], "README.md")
    card.write_bytes(card.read_bytes()[::-1])


def other_weights(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    weights = place(folder, model, "model.safetensors")
    tensors = read_tensors(weights)
    tensors["backbone.extra"] = torch.zeros(3)
    write_tensors(weights, tensors)
    promise(model, weights)


def unknown_network(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    config = place(folder, model, "config.json")
    config.write_text(re.sub('"backbone": "[^"]*"', '"backbone": "resnet99"', config.read_text(encoding="utf-8")))
    promise(model, config)


BROKEN = {"zoos": [
    ("zoo-loads", "models.0.licence", lambda folder, models: models[0].update(licence="apache-2.0")),
    ("names-are-unique", "Two zoos .* 'busi-resnet9'", name_of_another),
    ("names-are-unique", "'busi-resnet9' is there 2 times", lambda folder, models: models.append(copy.deepcopy(models[0]))),
    ("names-are-unique", "'nobody'", lambda folder, models: {"default": "nobody"}),
    ("licence-and-terms", "'free for all' of", lambda folder, models: models[0].update(license="free for all")),
    ("licence-and-terms", "has no data_terms", lambda folder, models: models[0].update(data_terms=" ")),
    ("cards-are-there", "'yours' .* README.md", no_card),
    ("files-are-as-promised", "not the file", other_bytes),
    ("files-are-as-promised", "'notes.txt'", lambda folder, models: place(folder, models[0], "notes.txt").touch()),
    (
        "entries-agree-with-models", "normal, malignant, benign here and benign, malignant, normal in",
        lambda folder, models: models[0]["classes"].reverse(),
    ),
    (
        "bases-are-known", "'busi-resnet9' with other weights .SHA-256 0000",
        lambda folder, models: models[1]["base"].update(sha256="0" * 64),
    ),
    ("models-are-rebuilt", "backbone.extra", other_weights),
    ("models-are-rebuilt", "resnet99", unknown_network),
]}  # fmt: skip
SOUND: dict[str, list[Change]] = {"zoos": [lambda folder, models: None]}


def made(thing: Change, request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue("changed")(thing)
    return path
