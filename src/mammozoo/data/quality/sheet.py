"""`data show --html`: a fingerprint of a data set, its sizes and a contact sheet, as one page."""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from importlib.resources import files

import numpy as np
from PIL import Image

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.quality.survey import ImageFacts, survey
from mammozoo.progress import Progress

EACH = 12  #: pictures of a class on the sheet
_SIDE = 160  # longer side of a picture, in pixels
_BINS = 12  # of the histogram of sizes


def sheet(dataset: Dataset, progress: Progress) -> str:
    """One self-contained HTML page. Every image is read once; those that cannot be are counted, and named on the page."""
    import jinja2

    samples = list(dataset.samples())
    progress.start("reading images", len(samples))
    facts = survey(dataset, samples, progress.advance, masks=False)
    good = [image for image in facts if image.problem is None]
    shown = []
    for label in dataset.classes:
        of_label = [image.sample for image in good if image.sample.label == label]
        places = np.unique(np.linspace(0, len(of_label) - 1, min(EACH, len(of_label))).round().astype(int))
        shown.append((label, [(of_label[i].image, picture(dataset, of_label[i], _SIDE)) for i in places]))
    template = (files(__package__) / "sheet.html.j2").read_text("utf-8")
    return jinja2.Environment(autoescape=True).from_string(template).render(
        name=dataset.info.name, images=len(facts), damaged=[image.problem for image in facts if image.problem is not None],
        rows=_fingerprint(good), sizes=_histogram(good), shown=shown,
    )  # fmt: skip


def picture(dataset: Dataset, sample: Sample, side: int) -> str:
    """An image as a JPEG of at most `side` pixels in a `data:` address."""
    image = Image.fromarray(to_channels(to_uint8(dataset.read(sample)), 3))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _fingerprint(facts: list[ImageFacts]) -> list[tuple[str, str, int, str, str]]:
    """(class, device, images, patients, sizes from and to) of every class and device."""
    kinds: dict[tuple[str, str], list[ImageFacts]] = defaultdict(list)
    for image in facts:
        kinds[image.sample.label, str(image.sample.meta.get("device", ""))].append(image)
    rows = []
    for (label, device), members in sorted(kinds.items()):
        patients = {image.sample.patient for image in members} - {None}
        heights, widths = np.array([image.shape for image in members]).T
        sizes = f"{widths.min()} × {heights.min()} to {widths.max()} × {heights.max()}"
        rows.append((label, device or "not named", len(members), str(len(patients) or "not named"), sizes))
    return rows


def _histogram(facts: list[ImageFacts]) -> list[tuple[str, dict[str, int], float]]:
    """(pixels of the longer side, images of each class, share of the fullest bin) of every bin."""
    if not facts:
        return []
    longer = np.array([max(image.shape) for image in facts])
    edges = np.unique(np.linspace(longer.min(), longer.max() + 1, _BINS + 1).round().astype(int))
    bins = np.digitize(longer, edges) - 1
    counts = [Counter(facts[i].sample.label for i in np.flatnonzero(bins == k)) for k in range(len(edges) - 1)]
    most = max(map(Counter.total, counts))
    ends = zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), counts, strict=True)
    return [
        (f"{low}–{high}" if high > low else str(low), dict(count), count.total() / most) for low, high, count in ends
    ]
