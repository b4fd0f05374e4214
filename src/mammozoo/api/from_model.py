"""What is made from a model: one for another hospital, a file for other programs, features of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo.api.given import named_model

if TYPE_CHECKING:
    from mammozoo.evaluation.embed import Embeddings
    from mammozoo.progress import Progress
    from mammozoo.zoo.portable import Exported
    from mammozoo.zoo.recalibrate import Recalibration


def recalibrate(
    model: str | Path,
    data: str | Path,
    dataset: str | None = None,
    *,
    out: str | Path,
    threshold: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Recalibration:
    """Choose temperature and thresholds of a two-class model on local labelled images, and write it to the new folder `out`.

    Args:
        model: as for `load`.
        data: a folder or table of images; `dataset` says what lies there, without it that is found out. Or a data set that needs
            no folder.
        threshold: a rule such as `youden` or `sensitivity:0.9`; without it the model's own.

    Raises:
        NotFoundError: no such model or data.
        ConflictError: `out` is not empty.
        UsageError: more than two classes, too few images, or an unknown rule.
    """
    from mammozoo.files import given_path
    from mammozoo.zoo import recalibrate as zoo
    from mammozoo.zoo.registry import find_answering

    named = named_model(model)
    name, root = _images(data, dataset)
    return zoo.recalibrate(
        find_answering(named), named, name, root, given_path(out), rule=threshold, device=device, progress=progress
    )


def export(
    model: str | Path,
    out: str | Path,
    *,
    format: str = "onnx",
    member: str | None = None,
    check: str | Path | Sequence[str | Path] = (),
) -> Exported:
    """Write a model to the new file `out`, for programs without mammozoo; its own facts stand in the file's metadata.

    Args:
        model, member: as for `load`; of several models the file's answer is the mean of their probabilities.
        format: `onnx`, or `torchscript`.
        check: images or folders on which file and model are compared; without any the image that comes with mammozoo.

    Raises:
        NotFoundError: no such model or image.
        ConflictError: there is something at `out`.
        UsageError: an unknown format, or its libraries are not installed.
        IncompatibleError: the network cannot be written in this format.
        FailedError: a probability of the file differs from the model's by more than 1e-4; then nothing is written.
    """
    from mammozoo.evaluation.predict import find_images
    from mammozoo.files import given_path
    from mammozoo.models.factory import load_model
    from mammozoo.zoo.card import licence_of
    from mammozoo.zoo.portable import write_portable
    from mammozoo.zoo.registry import find_answering

    named = named_model(model)
    folder = find_answering(named, member)
    given = [check] if isinstance(check, str | Path) else check
    images = find_images(map(str, given or [Path(__file__).parents[1] / "example.png"]))
    network, config = load_model(folder)
    return write_portable(network, config, format, given_path(out), images, licence_of(named, folder))


def embed(
    model: str | Path,
    data: str | Path,
    dataset: str | None = None,
    *,
    out: str | Path,
    member: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Embeddings:
    """The mean of a network's feature maps on each image, written to the new file `out`, .npz or .csv.

    Args:
        model, member: as for `load`, but of a run with several models the one that stands for it.
        data: a folder or table of labelled images, of which `dataset` says what it is; or a data set that needs no folder.

    Raises:
        NotFoundError: no such model or data.
        ConflictError: there is something at `out`.
        UsageError: another suffix than .npz and .csv, or an ensemble.
    """
    from mammozoo.evaluation import embed as evaluation
    from mammozoo.files import given_path
    from mammozoo.zoo.registry import find_answering, find_model

    named = named_model(model)
    folder = find_model(named) if member is None else find_answering(named, member)
    name, root = _images(data, dataset)
    return evaluation.embed(folder, name, root, given_path(out), device=device, progress=progress)


def _images(data: str | Path, dataset: str | None) -> tuple[str, Path | None]:
    """(name, root) of a folder or table, or of a data set that is named in its place."""
    from mammozoo.data.layouts import dataset_at
    from mammozoo.files import given_path
    from mammozoo.plugins import registry

    place = given_path(data)
    if dataset is not None:
        return dataset, place
    named = not place.exists() and str(data).partition(":")[0] in registry().items("datasets")
    return (str(data), None) if named else dataset_at(place)
