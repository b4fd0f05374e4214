"""What a network sees in images, as numbers: the mean of its feature maps over all positions."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.config.sections import Root
from mammozoo.data.loaded import open_data
from mammozoo.data.loader import batches
from mammozoo.errors import FailedError, UsageError
from mammozoo.files import refuse_to_replace, write_bytes, write_table
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model, refuse_ensemble
from mammozoo.progress import Progress

_BATCH = 32


@dataclass(frozen=True)
class Embeddings:
    """(N, channels) float32 numbers of N images, and of each its name, class, patient (empty if unknown) and group."""

    values: npt.NDArray[np.float32]
    ids: list[str]
    labels: list[str]
    patients: list[str]
    groups: list[int]

    def write(self, out: Path) -> None:
        """An .npz with these arrays, or a CSV table."""
        facts: dict[str, list[Any]] = {
            "id": self.ids, "label": self.labels, "patient": self.patients, "group": self.groups,
        }  # fmt: skip
        if out.suffix == ".csv":
            rows = (dict(zip(facts, row, strict=True)) for row in zip(*facts.values(), strict=True))
            write_table(out, [{**row, **_columns(v)} for row, v in zip(rows, self.values, strict=True)])
            return
        content = io.BytesIO()
        arrays: Any = {f"{name}s": np.array(values) for name, values in facts.items()}
        np.savez(content, embeddings=self.values, **arrays)
        write_bytes(out, content.getvalue())


def embed(
    folder: Path, dataset: str, root: Root | None, out: Path, *, device: str = "auto", progress: Progress | None = None
) -> Embeddings:
    """The embeddings of a data set by the model in `folder`, written to `out`: .npz or .csv.

    Raises:
        UsageError: another suffix, or an ensemble, which has no one network.
        ConflictError: there is something at `out`.
        FailedError: an embedding is not finite.
    """
    if out.suffix not in (".npz", ".csv"):
        raise UsageError(f"--out is a file .npz or .csv, not '{out}'.")
    refuse_to_replace(out, None)
    model, config = load_model(folder)
    refuse_ensemble(config, "embed images")
    progress, engine = progress or Progress(), choose_engine(device, "fp32")
    engine.place(model)
    data = open_data(dataset, root, None, config.input, "group", progress)
    progress.start("embedding", len(data.samples))
    found = []
    with torch.inference_mode():
        for pixels, _, _ in batches(data.images.pixels, data.labels, np.arange(len(data.samples)), _BATCH):
            images = config.input.normalize(engine.take(pixels)).contiguous(memory_format=model.layout)
            with engine.autocast():
                found.append(model.backbone(images).float().mean((2, 3)).cpu())
            progress.advance(len(pixels))
    values = torch.cat(found).numpy()
    if not np.isfinite(values).all():
        raise FailedError(f"The model '{config.name}' gives embeddings that are not finite. Its weights are damaged.")
    samples = data.samples
    made = Embeddings(
        values, list(data.names), [s.label for s in samples], [s.patient or "" for s in samples], data.groups.tolist()
    )
    made.write(out)
    return made


def _columns(values: npt.NDArray[np.float32]) -> dict[str, str]:
    return {f"e{number}": f"{value:.6g}" for number, value in enumerate(values)}
