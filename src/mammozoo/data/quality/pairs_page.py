"""A check as one self-contained page: the near-duplicate pairs side by side, contradicting labels first."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
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
#: Pairs of one label that are drawn; contradicting ones are always drawn, all of them.
MOST = 400


def render_page(check: Check, progress: Progress) -> str:
    """The page as HTML; every picture is inside it, and nothing is loaded from elsewhere."""
    conflicts = [pair for pair in check.pairs if check.conflicts(pair)]
    others = [pair for pair in check.pairs if not check.conflicts(pair)]
    shown = others[:MOST]
    progress.start("drawing pairs", 2 * (len(conflicts) + len(shown)))
    picture = cache(lambda place: _picture(check, place))  # one image can be in many pairs
    template = jinja2.Environment(autoescape=True).from_string(
        (files(__package__) / "pairs.html.j2").read_text("utf-8")
    )
    return template.render(
        version=mammozoo.__version__,
        dataset=check.dataset.info.name,
        images=len(check.facts),
        classes=check.classes,
        conflicts=[_pair(check, pair, picture, progress) for pair in conflicts],
        findings=[finding for finding in check.findings if finding.kind not in ("label-conflict", "near-duplicates")],
        duplicates=[_pair(check, pair, picture, progress) for pair in shown],
        total=len(others),
    )


def _pair(check: Check, pair: Pair, picture: Callable[[int], str], progress: Progress) -> dict[str, Any]:
    sides = [
        {"file": check.files[place], "label": check.facts[place].sample.label, "source": picture(place)}
        for place in (pair.i, pair.j)
    ]
    progress.advance(2)
    return {"how": closeness(pair.bits, pair.correlation, pair.view), "conflict": check.conflicts(pair), "sides": sides}


def _picture(check: Check, place: int) -> str:
    """The image as a data URI, small."""
    pixels = to_uint8(check.dataset.read(check.facts[place].sample))
    image = Image.fromarray(to_channels(pixels, 3))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
