"""A folder of DICOM files as a table that names no patient: one row for each image, read by the data set `csv`.

Patient and study are pseudonyms: SHA-256 of a secret and the identifier, cut to 12 digits. Nothing else is taken from the header
but what is listed in `COLUMNS`; texts of free form are the device's alone.
"""

from __future__ import annotations

import filecmp
import hashlib
import hmac
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mammozoo.data.io.dicom import read_header
from mammozoo.data.io.dicom_frames import frame_of_header
from mammozoo.data.io.listing import list_images, notes_of
from mammozoo.errors import NotFoundError
from mammozoo.progress import Progress
from mammozoo.text import known, printable

COLUMNS = (
    "path", "label", "patient", "study", "side", "view", "modality", "device", "intent", "frames", "rows", "columns",
)  # fmt: skip
_READ = (
    "PatientID", "IssuerOfPatientID", "PatientName", "StudyInstanceUID", "SOPInstanceUID", "ImageLaterality", "Laterality",
    "ViewPosition", "ViewCodeSequence", "PatientOrientation", "Modality", "Manufacturer", "ManufacturerModelName",
    "PresentationIntentType", "NumberOfFrames", "RepresentativeFrameNumber", "Rows", "Columns",
)  # fmt: skip
#: Codes of views (PS3.16 CID 4014): SNOMED RT and CT.
_VIEWS = {
    "R-10242": "CC", "399162004": "CC", "R-10226": "MLO", "399368009": "MLO", "R-10224": "ML", "399260004": "ML",
    "R-10228": "LM", "399352003": "LM", "R-10230": "LMO", "399099002": "LMO", "R-10244": "FB", "399196006": "FB",
}  # fmt: skip
#: Defined terms of ViewPosition and views of mammograms; any other text might be a name.
_POSITIONS = {
    "CC", "MLO", "ML", "LM", "LMO", "FB", "AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "XCC", "XCCL", "XCCM", "SIO",
    "ISO", "AT", "CV", "TAN", "RM", "RI", "RS", "ID", "AX",
}  # fmt: skip
_SIDES = ("L", "R", "B")
_INTENTS = ("FOR PRESENTATION", "FOR PROCESSING")


def rows_of(
    folder: Path, beside: Path, secret: bytes | None, progress: Progress
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a folder's images in the order of their paths, which are relative to the folder `beside`; and remarks.

    Of a file with several frames the path names the one that it stands for. Without a `secret` the identifiers stay as they are.
    A file that lies there twice has one row. Patients without an identifier are told apart by study.

    Raises:
        NotFoundError: there is no folder, or no DICOM image in it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder '{folder}'.")
    listing, rows = list_images(folder), list[dict[str, Any]]()
    skipped, seen, telling = dict(listing.skipped), dict[str, list[Path]](), 0
    progress.start("reading headers", len(listing.images))
    for path in listing.images:
        progress.advance()
        header, name = read_header(path, *_READ), Path(os.path.relpath(path, beside)).as_posix()
        try:
            row, frame = (None, 1) if header is None else (_row(header, secret), frame_of_header(header)[1])
        except (TypeError, ValueError, AttributeError):
            row, frame = None, 1
        instance = str(header.get("SOPInstanceUID") or "") if row else ""
        copies = seen.setdefault(instance, []) if row else []
        if row is None or any(filecmp.cmp(path, other, shallow=False) for other in copies):
            why = "files left out, no DICOM picture" if row is None else "files left out, there twice"
            skipped.setdefault(why, []).append(path.relative_to(folder).as_posix())
            continue
        copies.append(path)
        rows.append({"path": f"{name}#{frame}" if row["frames"] > 1 else name, "label": "", **row})
        telling += any(word in name.lower() for word in _identifying(header))
    if not rows:
        raise NotFoundError(f"There is no DICOM image in the folder '{folder}'.")
    several = sum(row["frames"] > 1 for row in rows)
    notes = notes_of(skipped)
    if several:
        notes.append(
            f"{several} files hold several frames: one is taken, the representative or middle one, named FILE#frame."
        )
    if telling:
        notes.append(
            f"{telling} paths hold a patient's name or identifier. Rename these files before the table is passed on."
        )
    return rows, notes


def _row(header: Any, secret: bytes | None) -> dict[str, Any]:
    study = known(header.get("StudyInstanceUID"))
    patient = known(header.get("PatientID"))
    patient = None if patient is None or not patient.strip("0") else patient
    issuer = known(header.get("IssuerOfPatientID"))
    person = f"{issuer}/{patient}" if patient and issuer else patient
    device = " ".join(text for key in ("Manufacturer", "ManufacturerModelName") if (text := known(header.get(key))))
    return {
        "patient": _pseudonym(person or study, secret),
        "study": _pseudonym(study, secret),
        "side": next((s for key in ("ImageLaterality", "Laterality") if (s := _code(header, key)) in _SIDES), ""),
        "view": _view(header),
        "modality": modality if len(modality := _code(header, "Modality")) == 2 else "",
        "device": printable(" ".join(device.split()))[:64],
        "intent": intent if (intent := _code(header, "PresentationIntentType")) in _INTENTS else "",
        "frames": frame_of_header(header)[0],
        "rows": int(header.Rows),
        "columns": int(header.Columns),
    }


def header_facts(path: Path) -> dict[str, str]:
    """Patient, side, view and device as the header of a DICOM file says; empty for any other file."""
    try:
        header = read_header(path, *_READ)
        return {} if header is None else {key: str(value) for key, value in _row(header, None).items()}
    except (TypeError, ValueError, AttributeError):
        return {}


def _pseudonym(identifier: str | None, secret: bytes | None) -> str:
    if identifier is None or secret is None:
        return identifier or ""
    return hmac.new(secret, identifier.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[:12]


def _code(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip().upper()


def _view(header: Any) -> str:
    items = header.get("ViewCodeSequence") or []
    coded = next((view for item in items if (view := _VIEWS.get(str(item.get("CodeValue")).strip()))), "")
    # PatientOrientation on digitised films.
    stated = (_code(header, keyword) for keyword in ("ViewPosition", "PatientOrientation"))
    return coded or next((view for view in stated if view in _POSITIONS), "")


def _identifying(header: Any) -> Iterator[str]:
    """Words of the patient's name and identifier that a path might hold, in lower case."""
    for keyword, least in (("PatientName", 3), ("PatientID", 4)):
        for word in re.split(r"[\^\s=,]+", str(header.get(keyword) or "").lower()):
            if len(word) >= least and known(word):
                yield word
