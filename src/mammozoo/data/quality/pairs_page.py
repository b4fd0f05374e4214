"""A check as one self-contained HTML page: the near-duplicate pairs side by side, contradicting labels first."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from PIL import Image

import mammozoo
from mammozoo.data.duplicates.matching import Pair
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.quality.check import Check
from mammozoo.data.quality.findings import closeness
from mammozoo.progress import Progress

_SIDE = 240  # longer side of a picture on the page, in pixels
#: Largest number of pairs of one label on the page; all contradicting pairs are on it.
MOST = 400


def render_page(check: Check, progress: Progress) -> str:
    """The page as HTML, with every picture embedded; it loads nothing from elsewhere."""
    conflicts = [pair for pair in check.pairs if check.conflicts(pair)]
    others = [pair for pair in check.pairs if not check.conflicts(pair)]
    progress.start("drawing pairs", 2 * (len(conflicts) + len(others[:MOST])))

    @cache  # one image can be in many pairs
    def picture(place: int) -> str:
        return _data_uri(check, place)

    def drawn(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
        cards = []
        for pair in pairs:
            sides = [
                {"file": check.files[place], "label": check.facts[place].sample.label, "source": picture(place)}
                for place in (pair.i, pair.j)
            ]
            how = closeness(pair.bits, pair.correlation, pair.view)
            cards.append({"how": how, "conflict": check.conflicts(pair), "sides": sides})
            progress.advance(2)
        return cards

    template = (files(__package__) / "pairs.html.j2").read_text("utf-8")
    return (
        jinja2.Environment(autoescape=True)
        .from_string(template)
        .render(
            version=mammozoo.__version__,
            dataset=check.dataset.info.name,
            images=len(check.facts),
            classes=check.classes,
            conflicts=drawn(conflicts),
            findings=[
                finding for finding in check.findings if finding.kind not in ("label-conflict", "near-duplicates")
            ],
            duplicates=drawn(others[:MOST]),
            total=len(others),
        )
    )


def _data_uri(check: Check, place: int) -> str:
    """The image as a small JPEG in a data URI."""
    image = Image.fromarray(to_channels(to_uint8(check.dataset.read(check.facts[place].sample)), 3))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
