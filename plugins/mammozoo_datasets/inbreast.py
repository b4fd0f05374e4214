"""INbreast: 410 full-field digital mammograms of 115 cases, with outlines of findings; BI-RADS, no biopsy.

Moreira et al., Academic Radiology 19 (2012) 236, https://doi.org/10.1016/j.acra.2011.09.014

The name of a DICOM file states image, patient, side and view; the table's column of patients reads "removed". BI-RADS categories
in `INbreast.csv` are 1 … 6, 4a, 4b, 4c. The outlines of an image are in an XML property list named by its number.
"""

from __future__ import annotations

import plistlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from xml.parsers.expat import ExpatError

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import image_shape
from mammozoo.data.io.regions import Point, box_of_outline, draw_outlines
from mammozoo.data.published import files_under, find_file, find_home, left_out, nothing_found
from mammozoo.errors import UsageError
from mammozoo.tables import Row, read_rows

_FILE = re.compile(r"(\d+)_([0-9a-f]+)_MG_([LR])_(CC|MLO?)_ANON\.dcm", re.IGNORECASE)
_POINT = re.compile(r"\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)")
_GRADES = ("1", "2", "3", "4", "4a", "4b", "4c", "5", "6")
_PUBLISHED = 410


@dataclass(frozen=True)
class Outline:
    """One region in an XML file: its name, and its points (x, y) in pixels from the upper left."""

    name: str
    points: tuple[Point, ...]

    @property
    def is_mass(self) -> bool:
        """Whether its name is mass; other names are calcification, distortion and asymmetry."""
        return self.name.strip().lower().startswith("mass")


class InBreast(Dataset):
    """INbreast, as released or as nested by mirrors.

    Args:
        root: `INbreast Release 1.0`, or a folder that holds it.
        unit: `image` for one sample per image; `mass` for one per outlined mass, with its box and its image's class.
        suspicious_from: the lowest BI-RADS category that counts as suspicious.
    """

    info = DatasetInfo(
        name="inbreast",
        title="INbreast, full-field digital mammograms",
        modality="mammography",
        classes=("not-suspicious", "suspicious"),
        images=_PUBLISHED,
        patients=115,
        url="https://doi.org/10.1016/j.acra.2011.09.014",
        license="on request; research use",
        citation="I. C. Moreira, I. Amaral, I. Domingues, A. Cardoso, M. J. Cardoso, J. S. Cardoso. INbreast: toward a "
        "full-field digital mammographic database. Academic Radiology 19 (2012) 236-248.",
        access="On request from the authors; the page of the data set no longer answers.",
        marks=("INbreast.csv",),
        layout="""\
    INbreast Release 1.0/
      INbreast.csv
      AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm, …
      AllXML/20586908.xml, …""",
    )

    def __init__(
        self,
        root: Path | None = None,
        unit: Literal["image", "mass"] = "image",
        suspicious_from: Literal["3", "4", "4b", "4c", "5"] = "4",
    ) -> None:
        super().__init__(root)
        self.root: Path = find_home(self.info, root, {"inbreast.csv"})
        self.unit, self.suspicious_from = unit, suspicious_from

    def samples(self) -> list[Sample]:
        """Every image (or mass), sorted by the image's number; `notes` states the rule of the classes and the images left out.

        Raises:
            NotFoundError: no `INbreast.csv`, or no image with a name like INbreast's.
            UsageError: a table or an XML file that is not INbreast's.
        """
        rule = f"BI-RADS {self.suspicious_from} and above is suspicious: a reader's opinion, there is no biopsy."
        rows = self._rows
        unlisted, ungraded, samples = [], [], []
        for number, (name, match) in self._images.items():
            row = rows.get(number)
            grade = row["bi-rads"].lower().replace(" ", "") if row else ""
            if row is None:
                unlisted.append(name)
            elif grade not in _GRADES:
                ungraded.append(name)
            else:
                samples += self._samples(name, match, row, grade)
        self.notes = [
            rule,
            *left_out(unlisted, "images left out, not in INbreast.csv"),
            *left_out(ungraded, "images left out, without a BI-RADS category"),
            *self._skipped,
        ]
        if len(self._images) != _PUBLISHED:
            self.notes.append(f"{len(self._images)} images, published are {_PUBLISHED}.")
        if self.unit == "mass":
            with_mass = len({sample.image.partition("#")[0] for sample in samples})
            masses = f"{len(samples)} masses are outlined, on {with_mass} images"
            self.notes.append(f"{masses}; the other images are left out.")
        return samples

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """The outlines, filled: of the mass, or of all findings of an image; None without an outline."""
        name, _, mass = sample.image.partition("#mass-")
        outlines = self._outlines(name)
        if mass:
            outlines = [[outline for outline in outlines if outline.is_mass][int(mass) - 1]]
        if not outlines:
            return None
        return draw_outlines([outline.points for outline in outlines], image_shape(self.path(name)))

    def _samples(self, name: str, match: re.Match[str], row: Row, grade: str) -> list[Sample]:
        label = self.classes[_GRADES.index(grade) >= _GRADES.index(self.suspicious_from)]
        meta = {"birads": grade, "density": row.get("acr", ""), "side": match[3].upper(), "view": row.get("view", "")}
        meta = {key: value for key, value in meta.items() if value}
        if self.unit == "image":
            return [Sample(name, label, match[2].lower(), meta=meta)]
        masses = [outline for outline in self._outlines(name) if outline.is_mass]
        return [
            Sample(
                f"{name}#mass-{number}",
                label,
                match[2].lower(),
                box=box_of_outline(mass.points),
                meta=meta,
                lesion=f"{match[1]}-mass-{number}",
            )
            for number, mass in enumerate(masses, start=1)
        ]

    def _outlines(self, name: str) -> list[Outline]:
        """The outlines of an image; an image without an XML file has no finding."""
        match = _FILE.fullmatch(name.rpartition("/")[2])
        assert match is not None
        path = self.root / "AllXML" / f"{match[1]}.xml"
        return read_outlines(path) if path.is_file() else []

    @cached_property
    def _rows(self) -> dict[str, Row]:
        """Image number → its row."""
        table = find_file(self.root, "inbreast.csv")
        if table is None:
            raise nothing_found(self, "INbreast.csv holds the classes; a copy without it cannot be used.")
        rows: dict[str, Row] = {}
        for line, row in read_rows(table, ("file name", "bi-rads")):
            name = re.sub(r"\.(0+|dcm)$", "", row["file name"])  # 22678622.0, as pandas writes a column of numbers
            if rows.setdefault(name, row)["bi-rads"] != row["bi-rads"]:
                raise UsageError(
                    f"Table '{table}', line {line}: image {name} has another BI-RADS in a line before. Remove one."
                )
        return rows

    @cached_property
    def _images(self) -> dict[str, tuple[str, re.Match[str]]]:
        """Image number → (path, match of its name), sorted."""
        files = files_under(self.root, {".dcm"})
        self._skipped = files.notes
        images = {
            match[1]: (path.relative_to(self.root).as_posix(), match)
            for path in files
            if (match := _FILE.fullmatch(path.name)) is not None
        }
        if not images:
            raise nothing_found(self, "Keep the names of the DICOM files: the patient is in them.")
        return dict(sorted(images.items()))


def read_outlines(path: Path) -> list[Outline]:
    """The regions in one of INbreast's XML files, in its order; regions without points are left out.

    Raises:
        UsageError: it is not a property list of INbreast's form.
    """
    try:
        with path.open("rb") as handle:
            content = plistlib.load(handle)
        return [
            Outline(str(region.get("Name", "")), points)
            for image in content["Images"]
            for region in image.get("ROIs", [])
            if (points := tuple((float(x), float(y)) for x, y in _POINT.findall(" ".join(region.get("Point_px", [])))))
        ]
    except (plistlib.InvalidFileException, ExpatError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"'{path}' does not hold outlines as INbreast's XML files do ({reason}). Copy it again."
        ) from error
