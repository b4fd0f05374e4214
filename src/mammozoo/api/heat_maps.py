"""Where a model looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo.api.given import named_model, roots

if TYPE_CHECKING:
    from mammozoo.evaluation.explanations import ExplainResult
    from mammozoo.progress import Progress


def explain(
    model: str | Path,
    images: str | Path | Sequence[str | Path] = (),
    *,
    member: str | None = None,
    out: str | Path = "explanations",
    method: str = "grad-cam",
    class_name: str | None = None,
    mask: str | Path | None = None,
    dataset: str | None = None,
    root: str | Path | Mapping[str, str | Path] | None = None,
    part: str | None = None,
    limit: int | None = None,
    sanity: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> ExplainResult:
    """Write heat maps of files or of a data set into `out`, scored against lesion masks. Not for diagnosis.

    Args:
        model, member: as for `load`; of a run's own test images each is explained by the model that has not seen it.
        images: files, folders or patterns; or `dataset`, with `root`, `part` (`test` or `val` of the run's own) and `limit`.
        method: `grad-cam` or `occlusion`.
        class_name: the class to explain, `true` for that of the label; without it, the one decided for.
        mask: the lesion mask of a single image; `NAME_mask.png` beside an image is found by itself.
        sanity: compare with untrained networks (Adebayo et al. 2018).

    Raises:
        UsageError: unknown method or class, or arguments that do not go together.
        ConflictError: a file in `out` is there already, or is, or lies among, what is explained.
    """
    from mammozoo.data.layouts import located
    from mammozoo.evaluation import explanations
    from mammozoo.zoo.registry import find_answering, find_model

    answering = find_answering(named_model(model), member)
    name, place = (dataset, roots(root)) if dataset is None else located(str(dataset), roots(root))
    return explanations.explain(
        find_model(named_model(model)) if member is None else answering,
        answering,
        [str(path) for path in ([images] if isinstance(images, str | Path) else images)],
        Path(out),
        mask=None if mask is None else Path(mask), root=place,
        method=method, class_name=class_name, dataset=name, part=part, limit=limit, sanity=sanity, overwrite=overwrite,
        device=device, progress=progress,
    )  # fmt: skip
