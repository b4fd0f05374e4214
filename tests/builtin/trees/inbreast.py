"""INbreast in small: 12-bit DICOM files, outlines in XML property lists, a table with semicolons."""

import plistlib
from pathlib import Path
from typing import Any

import numpy as np

from .dicom import breast, write_dicom

SHAPE = (64, 56)
_HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
_GRADES = ("1", "2", "3", "4a", "4c", "5", "6", "4b")


def inbreast(root: Path, patients: int = 48) -> Path:
    """Write two views a patient below `root`; of eight patients five are of category 4 and above, seven have a mass."""
    home = root / "INbreast Release 1.0"
    table = [_HEADER]
    for patient in range(patients):
        for view, number in (("CC", 20586900 + 2 * patient), ("ML", 20586901 + 2 * patient)):
            grade = _GRADES[patient % len(_GRADES)]
            box = (10 + patient % 9, 20, 30, 44)
            film = breast(np.random.default_rng([patient, number]), SHAPE, 0.6 if grade > "3" else 0.2, box)
            name = f"{number}_{patient:016x}_MG_{'LR'[patient % 2]}_{view}_ANON.dcm"
            write_dicom(home / "AllDICOMs" / name, (film * 4095).astype(np.uint16), BitsStored=12)
            shown = "MLO" if view == "ML" else view
            table.append(f"removed;removed;{'LR'[patient % 2]};{shown};201001;{number};2;{grade}")
            if grade > "1":
                left, top, right, bottom = box
                corners = [(left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1)]
                write_outlines(home / "AllXML" / f"{number}.xml", [("Mass", corners), ("Calcification", [(40, 50)])])
    (home / "INbreast.csv").write_text("\n".join(table) + "\n")
    return root


def write_outlines(path: Path, regions: list[tuple[str, list[tuple[float, float]]]]) -> Path:
    """An XML property list as INbreast's: points are texts "(x, y)"."""
    found: list[dict[str, Any]] = [
        {
            "Name": name,
            "NumberOfPoints": len(points),
            "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
            "Type": 15,
        }
        for name, points in regions
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(found), "ROIs": found}]}))
    return path
