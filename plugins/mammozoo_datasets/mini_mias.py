"""mini-MIAS: 322 digitised film mammograms of 161 women, 1024 × 1024 pixels, with circles around abnormalities.

Suckling et al., The Mammographic Image Analysis Society digital mammogram database, Excerpta Medica ICS 1069 (1994) 375

A line of `Info.txt` is `mdb001 G CIRC B 535 425 197`: image, tissue, abnormality, severity, x, y, radius. Circles are in pixels
with the origin at the lower left. An image may have several lines; an abnormality without a circle has `NOTE 3` in its place, and
NORM lines end after the third word. Images 2n-1 and 2n are the right and the left breast of a woman, as its text says.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import UnreadableImageError, image_shape
from mammozoo.data.io.regions import box_of_circle
from mammozoo.data.published import files_under, find_file, find_home, left_out, nothing_found
from mammozoo.errors import UsageError

_LINE = re.compile(
    r"(?P<image>mdb(?P<number>\d{3}))\s+(?P<tissue>[FGD])\s+(?P<kind>CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)"
    r"(?:\s+(?P<severity>[BM]))?(?:\s+(?P<x>\d+)\s+(?P<y>\d+)\s+(?P<radius>\d+)|\s+\*?NOTE.*)?\s*",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"mdb\d{3}", re.IGNORECASE)
_SEVERITY = {"": "normal", "B": "benign", "M": "malignant"}
_TISSUE = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
_PUBLISHED = 322

Circle = tuple[int, int, int]


@dataclass(frozen=True)
class Finding:
    """One line of `Info.txt`; `circle` is (x, y, radius) with y from the lower edge, None if the line has none."""

    image: str
    label: str
    tissue: str
    kind: str
    circle: Circle | None

    @property
    def patient(self) -> str:
        """Two images a woman: 1 and 2, 3 and 4, …"""
        return f"mias-{(int(self.image[3:]) + 1) // 2:03d}"

    @property
    def side(self) -> str:
        """L or R: even numbers are left breasts, odd ones right."""
        return "RL"[int(self.image[3:]) % 2 == 0]


class MiniMias(Dataset):
    """mini-MIAS with its `Info.txt`, as published or with the header line of some mirrors.

    Args:
        root: the folder with the images, or one that holds it.
        unit: `image` for one sample per image, with the worst class on it; `lesion` for one per abnormality with a
            circle, with its box: images without a circle are left out, and so is the class normal.
    """

    info = DatasetInfo(
        name="mini-mias",
        title="mini-MIAS, digitised film mammograms",
        modality="mammography",
        classes=("normal", "benign", "malignant"),
        images=_PUBLISHED,
        patients=161,
        url="http://peipa.essex.ac.uk/info/mias.html",
        license="research use under the licence agreement of MIAS",
        citation="J. Suckling et al. The Mammographic Image Analysis Society digital mammogram database. "
        "Excerpta Medica International Congress Series 1069 (1994) 375-378.",
        access="Download all-mias.tar.gz from the page of the data set, after its licence agreement.",
        marks=("mdb[0-9][0-9][0-9].pgm",),
        layout="""\
    all-mias/
      Info.txt
      mdb001.pgm … mdb322.pgm""",
    )

    def __init__(self, root: Path | None = None, unit: Literal["image", "lesion"] = "image") -> None:
        super().__init__(root)
        self.root: Path = find_home(self.info, root, {"info.txt"})
        self.unit = unit

    @property
    def classes(self) -> tuple[str, ...]:
        """Normal, benign, malignant; for lesions the latter two."""
        return self.info.classes if self.unit == "image" else self.info.classes[1:]

    def samples(self) -> list[Sample]:
        """Every image, or every lesion, in the order of `Info.txt`; `notes` states what is missing or left out.

        Raises:
            NotFoundError: no `Info.txt`, or none of its images.
            UsageError: a line of an image cannot be understood.
        """
        listed = {name: findings for name, findings in self._images.items() if findings}
        self.notes = self._notes(listed)
        return [sample for name, findings in listed.items() for sample in self._samples(name, findings)]

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """Circles as a mask: of the lesion, or all circles of an image; None without a circle."""
        name, _, number = sample.image.partition("#")
        findings = self._images[name]
        if self.unit == "lesion":
            findings = [findings[int(number or 1) - 1]]
        height, width = self._shape(name)
        rows, columns = np.mgrid[:height, :width]
        circles = [circle for finding in findings if (circle := self._circle(name, finding)) is not None]
        inside = [(columns - x) ** 2 + (rows - y) ** 2 <= radius**2 for x, y, radius in circles]
        return np.logical_or.reduce(inside) if inside else None

    def _samples(self, name: str, findings: list[Finding]) -> list[Sample]:
        circles = [self._circle(name, finding) for finding in findings]
        if self.unit == "image":
            worst = max(findings, key=lambda finding: self.info.classes.index(finding.label))
            kinds = " ".join(dict.fromkeys(finding.kind for finding in findings))
            known = [box_of_circle(*circle) for circle in circles if circle is not None]
            box = known[0] if len(known) == 1 else None
            meta = {"tissue": worst.tissue, "abnormality": kinds, "side": worst.side}
            return [Sample(name, worst.label, worst.patient, box=box, meta=meta)]
        return [
            Sample(
                name if number == 1 else f"{name}#{number}",
                finding.label,
                finding.patient,
                box=box_of_circle(*circle),
                meta={"tissue": finding.tissue, "abnormality": finding.kind, "side": finding.side},
                lesion=f"{finding.image}-{number}",
            )
            for number, (finding, circle) in enumerate(zip(findings, circles, strict=True), start=1)
            if circle is not None
        ]

    def _circle(self, name: str, finding: Finding) -> Circle | None:
        """(x, y, radius) in pixels from the upper left; `Info.txt` counts y from the lower edge."""
        if finding.circle is None:
            return None
        x, y, radius = finding.circle
        return x, self._shape(name)[0] - y, radius

    def _shape(self, name: str) -> tuple[int, int]:
        try:
            return image_shape(self.path(name))
        except UnreadableImageError:  # `read` gives the reason; the published images have this size
            return 1024, 1024

    @cached_property
    def _images(self) -> dict[str, list[Finding]]:
        """The findings of each image on disk, by its path; an image that `Info.txt` does not name has none."""
        table = find_file(self.root, "info.txt")
        known: dict[str, list[Finding]] = {}
        for finding in read_info(table) if table else []:
            known.setdefault(finding.image, []).append(finding)
        found = files_under(self.root, {".pgm"})
        self._skipped = found.notes
        files = {path.stem.lower(): path for path in found if _IMAGE.fullmatch(path.stem)}
        if not known.keys() & files.keys():
            raise nothing_found(self, "Unpack the images and their Info.txt there, both from one source.")
        order = [*known, *sorted(files.keys() - known.keys())]
        self._missing = [stem for stem in order if stem not in files]
        return {files[s].relative_to(self.root).as_posix(): known.get(s, []) for s in order if s in files}

    def _notes(self, listed: dict[str, list[Finding]]) -> list[str]:
        notes = []
        if len(listed) != _PUBLISHED:
            notes.append(f"{len(listed)} images with a line in Info.txt, published are {_PUBLISHED}.")
        nameless = [name for name in self._images if name not in listed]
        notes += left_out(self._missing, "images of Info.txt are not there")
        notes += left_out(nameless, "images left out, Info.txt does not name them") + self._skipped
        if self.unit == "lesion":
            bare = Counter(f.label for findings in listed.values() for f in findings if f.circle is None)
            abnormal = bare["benign"] + bare["malignant"]
            notes.append(f"{bare['normal']} normal images and {abnormal} abnormalities without a circle are left out.")
        return notes


def read_info(path: Path) -> list[Finding]:
    """The findings in `Info.txt`, in its order; lines that do not start with an image's name are text.

    Raises:
        UsageError: a line starts with an image's name, and its rest has no known form.
    """
    findings = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        text = line.strip()
        if not re.match(r"mdb\d{3}\s", text, re.IGNORECASE):
            continue
        match = _LINE.fullmatch(text)
        severity = (match["severity"] or "").upper() if match else ""
        if match is None or (match["kind"].upper() == "NORM") != (severity == ""):
            where, form = f"'{path}', line {number}", "'mdb001 G CIRC B 535 425 197'"
            raise UsageError(f"{where}: '{text}' is not of the form {form}. Copy the file again.")
        circle = (int(match["x"]), int(match["y"]), int(match["radius"])) if match["x"] else None
        tissue, kind = _TISSUE[match["tissue"].upper()], match["kind"].upper()
        findings.append(Finding(match["image"].lower(), _SEVERITY[severity], tissue, kind, circle))
    return findings
