"""BCDR-F03 in small: TIFF films in folders of patients and studies, a table of outlines with spaces before its cells."""

from pathlib import Path

import numpy as np
from PIL import Image

from .dicom import breast

SHAPE = (72, 56)
HEADER = (
    "patient_id, study_id, series, lesion_id, segmentation_id, image_view, image_filename, age, density, "
    "mammography_nodule, mammography_calcification, mammography_microcalcification, mammography_axillary_adenopathy, "
    "mammography_architectural_distortion, mammography_stroma_distortion, classification, lw_x_points, lw_y_points"
)


def bcdr_f03(root: Path, patients: int = 40) -> Path:
    """Write two views a patient below `root`, every other patient malignant; patient 3 has a second reader's outline."""
    home = root / "BCDR-F03_dataset" / "BCDR-F03"
    rows = [HEADER]
    for patient in range(1, patients + 1):
        for code, view in ((2, "LCC"), (4, "LO")):
            label = ("Benign", "Malign")[patient % 2]
            left, top = 8 + patient % 12, 20 + code
            name = f"patient_{patient}/study_{patient + 6}/img_{patient}_{patient + 6}_1_{view}.tif"
            film = breast(
                np.random.default_rng([patient, code]),
                SHAPE,
                0.6 if patient % 2 else 0.2,
                (left, top, left + 20, top + 24),
            )
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((film * 255).astype(np.uint8)).save(path)
            outlines = [outline_row(patient, patient, 1, code, name, label, (left, top, left + 20, top + 24))]
            if patient == 3:
                box = (left - 3, top + 2, left + 18, top + 26)
                outlines.append(outline_row(patient, patient, 2, code, name, label, box))
            rows += outlines
    (home / "bcdr_f03_outlines.csv").write_text("\n".join(rows) + "\n")
    return root


def outline_row(
    patient: int, lesion: int, segmentation: int, code: int, name: str, label: str, box: tuple[int, int, int, int]
) -> str:
    """A row whose outline is the border of `box`."""
    left, top, right, bottom = box
    across, down = [left, right - 1, right - 1, left], [top, top, bottom - 1, bottom - 1]
    cells = [patient, patient + 6, 1, lesion, segmentation, code, name, 61, "NaN", 1, 0, 0, 0, 0, 0, label]
    return ", ".join([*map(str, cells), " ".join(map(str, across)), " ".join(map(str, down))])
