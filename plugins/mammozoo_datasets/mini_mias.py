"""mini-MIAS: 322 digitised film mammograms of 161 women, 1024 × 1024 pixels, with circles around abnormalities.

Suckling et al., The Mammographic Image Analysis Society digital mammogram database, Excerpta Medica ICS 1069 (1994) 375

    all-mias/
      Info.txt        mdb001 G CIRC B 535 425 197     (image, tissue, abnormality, severity, x, y, radius)
      mdb001.pgm … mdb322.pgm

Circles are in pixels with the origin at the lower left, an image may have several lines, `NOTE 3` stands where an
abnormality has no circle, and NORM lines end after the third word. Images 2n-1 and 2n are the two breasts of a woman.
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
from PIL import Image

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.regions import Box, box_of_circle
from mammozoo.errors import UsageError
from mammozoo_datasets.layout import nothing_found, some
from mammozoo_datasets.listing import files_under, home

_LINE = re.compile(
    r"(?P<image>mdb(?P<number>\d{3}))\s+(?P<tissue>[FGD])\s+(?P<kind>CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)"
    r"(?:\s+(?P<severity>[BM]))?(?:\s+(?P<x>\d+)\s+(?P<y>\d+)\s+(?P<radius>\d+)|\s+\*?NOTE.*)?\s*",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"mdb\d{3}", re.IGNORECASE)
_SEVERITY = {"": "normal", "B": "benign", "M": "malignant"}
_TISSUE = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
_PUBLISHED = 322
_LAYOUT = """\
    all-mias/
      Info.txt
      mdb001.pgm … mdb322.pgm"""


@dataclass(frozen=True)
class Finding:
    """One line of `Info.txt`; `circle` is (x, y, radius) with y from the lower edge, None where the line has none."""

    image: str
    label: str
    tissue: str
    kind: str
    circle: tuple[int, int, int] | None

    @property
    def patient(self) -> str:
        """Two images a woman: 1 and 2, 3 and 4, …"""
        return f"mias-{(int(self.image[3:]) + 1) // 2:03d}"


class MiniMias(Dataset):
    """mini-MIAS with its `Info.txt`, as published or with the header line that mirrors add.

    Args:
        root: the folder with the images, or one that holds it.
        unit: `image` for one sample an image, its class the worst on it; `lesion` for one an abnormality that has a
            circle, with its box: images without one are left out, and so is the class normal.
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
        layout=_LAYOUT,
    )

    def __init__(self, root: Path | None = None, unit: Literal["image", "lesion"] = "image") -> None:
        super().__init__(root)
        assert root is not None
        self.root: Path = home(self.info.name, root, {"info.txt"})
        self.unit = unit

    @property
    def classes(self) -> tuple[str, ...]:
        """Normal, benign, malignant; of lesions the latter two."""
        return self.info.classes if self.unit == "image" else self.info.classes[1:]

    def samples(self) -> list[Sample]:
        """Every image, or every lesion, in the order of `Info.txt`; `notes` says what is missing or left out.

        Raises:
            NotFoundError: no `Info.txt`, or none of its images.
            UsageError: a line of an image cannot be understood.
        """
        found = [(name, group) for name, group in self._images.items() if group]
        samples = [one for name, group in found for one in self._samples(name, group)]
        self.notes = self._notes(len(found))
        return samples

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """Circles as a mask: the sample's own for a lesion, all of the image's for an image; None without a circle."""
        findings = self._images[sample.image.partition("#")[0]]
        if self.unit == "lesion":
            findings = [findings[int(sample.image.partition("#")[2] or 1) - 1]]
        height, width = self._shape(sample.image)
        rows, columns = np.mgrid[:height, :width]
        inside = [
            (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
            for x, y, radius in (self._circle(sample.image, finding) or (0, 0, -1) for finding in findings)
            if radius >= 0
        ]
        return np.logical_or.reduce(inside) if inside else None

    def _samples(self, name: str, findings: list[Finding]) -> list[Sample]:
        if self.unit == "image":
            worst = max(findings, key=lambda finding: self.info.classes.index(finding.label))
            circles = [circle for finding in findings if (circle := self._circle(name, finding)) is not None]
            kinds = " ".join(dict.fromkeys(finding.kind for finding in findings))
            box: Box | None = box_of_circle(*circles[0]) if len(circles) == 1 else None
            meta = {"tissue": worst.tissue, "abnormality": kinds}
            return [Sample(name, worst.label, worst.patient, box=box, meta=meta)]
        made = []
        for number, finding in enumerate(findings, start=1):
            circle = self._circle(name, finding)
            if circle is None:
                continue
            made.append(
                Sample(
                    name if number == 1 else f"{name}#{number}",
                    finding.label,
                    finding.patient,
                    box=box_of_circle(*circle),
                    meta={"tissue": finding.tissue, "abnormality": finding.kind},
                    lesion=f"{finding.image}-{number}",
                )
            )
        return made

    def _circle(self, name: str, finding: Finding) -> tuple[int, int, int] | None:
        """(x, y, radius) in pixels from the upper left; `Info.txt` counts y from the lower edge."""
        if finding.circle is None:
            return None
        x, y, radius = finding.circle
        return x, self._shape(name)[0] - y, radius

    def _shape(self, name: str) -> tuple[int, int]:
        path = self.path(name)
        try:
            with Image.open(path) as image:
                return image.height, image.width
        except OSError:  # reading it will tell why; the published images have this size
            return 1024, 1024

    @cached_property
    def _images(self) -> dict[str, list[Finding]]:
        """The findings of each image that is there, by its path; those without a line have none."""
        tables = [path for path in self.root.iterdir() if path.name.lower() == "info.txt"] if self.root.is_dir() else []
        findings = [finding for table in tables for finding in read_info(table)]
        known: dict[str, list[Finding]] = {}
        for finding in findings:
            known.setdefault(finding.image, []).append(finding)
        files = {path.stem.lower(): path for path in files_under(self.root, {".pgm"}) if _IMAGE.fullmatch(path.stem)}
        if not known or not known.keys() & files.keys():
            raise nothing_found(
                self.info.name, self.root, _LAYOUT, "Unpack the images and their Info.txt there, both from one source."
            )
        order = [*known, *sorted(files.keys() - known.keys())]
        self._missing = [stem for stem in order if stem not in files]
        return {files[s].relative_to(self.root).as_posix(): known.get(s, []) for s in order if s in files}

    def _notes(self, images: int) -> list[str]:
        notes = []
        if images != _PUBLISHED:
            notes.append(f"{images} images with a line in Info.txt, published are {_PUBLISHED}.")
        if self._missing:
            notes.append(f"{len(self._missing)} images of Info.txt are not there: {some(self._missing)}.")
        if nameless := [name for name, group in self._images.items() if not group]:
            notes.append(f"{len(nameless)} images left out, Info.txt does not name them: {some(nameless)}.")
        every = [finding for group in self._images.values() for finding in group]
        bare = Counter(finding.label for finding in every if finding.circle is None)
        if self.unit == "lesion":
            abnormal = bare["benign"] + bare["malignant"]
            notes.append(f"{bare['normal']} normal images and {abnormal} abnormalities without a circle are left out.")
        return notes


def read_info(path: Path) -> list[Finding]:
    """The findings in `Info.txt`, in its order; lines that do not start with an image's name are text.

    Raises:
        UsageError: a line starts with an image's name and goes on in no known way.
    """
    findings = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        text = line.strip()
        if not re.match(r"mdb\d{3}\s", text, re.IGNORECASE):
            continue
        match = _LINE.fullmatch(text)
        severity = (match["severity"] or "").upper() if match else ""
        if match is None or (match["kind"].upper() == "NORM") != (severity == ""):
            raise UsageError(
                f"'{path}', line {number}: '{text}' is not of the form 'mdb001 G CIRC B 535 425 197'. Copy the file again."
            )
        circle = (int(match["x"]), int(match["y"]), int(match["radius"])) if match["x"] else None
        findings.append(
            Finding(
                match["image"].lower(),
                _SEVERITY[severity],
                _TISSUE[match["tissue"].upper()],
                match["kind"].upper(),
                circle,
            )
        )
    return findings
