"""A woman's four mammograms (left and right, CC and MLO): breast, muscle, parenchyma, and a mass in one breast or none.

What the four have in common, the size of the breasts, their density and where the mass sits, comes from one generator and the
texture of each view from another. A mass has the same distance from the nipple in both views of its breast. The spectrum of
the texture falls with the third power of the frequency, as that of mammograms does (Burgess, Med. Phys. 28 (2001) 419).
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

HEIGHT, WIDTH = 256, 192  #: of a view, in pixels of 1 mm
VIEWS = ("L-CC", "L-MLO", "R-CC", "R-MLO")
#: Probability of a margin in (benign, malignant) masses; our choice. Each occurs in both, so no classifier is perfect.
MARGINS: Mapping[str, tuple[float, float]] = {
    "circumscribed": (0.8, 0.05), "indistinct": (0.15, 0.25), "spiculated": (0.05, 0.7),
}  # fmt: skip
_LETTERS = {"L": ("1000", "1000", "1000", "1000", "1111"), "R": ("1110", "1001", "1110", "1010", "1001")}
_Y, _X = (axis.astype(np.float32) for axis in np.mgrid[:HEIGHT, :WIDTH])
_FREQUENCY = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]).astype(np.float32)
_FREQUENCY[0, 0] = np.inf

Array = npt.NDArray[np.floating[Any]]


class Woman(NamedTuple):
    """What her four views share: `kind` and `margin` are of the mass in the breast `side`, empty if `kind` is `normal`."""

    kind: str
    side: str
    margin: str
    density: str  # A to D of BI-RADS
    depth: float  # of the breast from chest wall to nipple in CC, in pixels
    height: float  # half of its height
    from_nipple: float  # of the mass, as a share of the depth
    radius: float  # of the mass, in pixels


def draw_woman(kind: str, rng: np.random.Generator) -> Woman:
    """A woman with a mass of this kind (`benign`, `malignant`), or `normal`; nothing but its margin depends on the kind."""
    side, density = "LR"[int(rng.integers(2))], "ABCD"[int(rng.choice(4, p=[0.1, 0.4, 0.4, 0.1]))]
    margin = ""
    if kind != "normal":
        margin = list(MARGINS)[int(rng.choice(3, p=[both[kind == "malignant"] for both in MARGINS.values()]))]
    depth, height = rng.uniform(0.45, 0.8) * WIDTH, rng.uniform(0.28, 0.4) * HEIGHT
    return Woman(kind, side, margin, density, depth, height, rng.uniform(0.3, 0.6), rng.uniform(7, 13))


def draw_view(
    woman: Woman, view: str, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """A view as (256, 192) of 12 bits, bright tissue on black, and the mass in it, without its spicules, as booleans.

    The chest wall is on the left of a left breast and on the right of a right one.
    """
    from scipy import ndimage  # takes long, and who only names this data set need not wait for it

    oblique = view.endswith("MLO")
    row = HEIGHT * (rng.uniform(0.52, 0.6) if oblique else rng.uniform(0.47, 0.53))
    depth = woman.depth * rng.uniform(0.95, 1.05)
    up = np.where(row > _Y, 1.5 if oblique else 1.0, 1.0)  # towards the axilla
    off = (_Y - row) / (woman.height * up)
    thickness = np.clip(1 - (_X / depth) ** 2 - np.abs(off) ** 2.4, 0, 1)  # 1 at the chest wall, 0 outside
    breast, from_nipple = thickness > 0, np.hypot(_X - depth, (_Y - row) * 0.9) / depth

    share = {"A": -1.0, "B": -0.2, "C": 0.6, "D": 1.6}[woman.density]
    gland = 1 / (1 + np.exp(-(2 * _texture(rng) + share - 3 * np.abs(from_nipple - 0.45) - np.abs(off))))
    light = np.sqrt(thickness).clip(0, 0.6) / 0.6 * (0.27 + 0.33 * gland + 0.03 * _texture(rng))
    light += 0.1 * (thickness < 0.02) * breast  # skin
    mask = np.zeros_like(breast)
    if woman.kind != "normal" and view.startswith(woman.side):
        light, mask = _with_mass(light, woman, (depth * (1 - woman.from_nipple), row), rng)
    if oblique:
        edge = rng.uniform(0.25, 0.4) * WIDTH * (1 - _Y / (rng.uniform(0.5, 0.7) * HEIGHT))
        light += (0.78 + 0.05 * _texture(rng) - light) * (0.5 - 0.5 * np.tanh((_X - edge) / 3)) * breast
    light = ndimage.gaussian_filter(light + 0.02 * rng.standard_normal(light.shape, dtype=np.float32), 0.6) * breast
    left = 12  # of a lead letter beside the breast
    if view.startswith("L"):
        left = WIDTH - 24
    else:
        light, mask = light[:, ::-1].copy(), mask[:, ::-1].copy()
    for place, bits in enumerate(_LETTERS[view[0]]):
        light[8 + 3 * place : 11 + 3 * place, left : left + 12] = np.repeat([int(bit) for bit in bits], 3)
    return np.rint(4095 * np.clip(light, 0, 1)).astype(np.uint16), mask


def _texture(rng: np.random.Generator) -> Array:
    """A field of unit variance whose power falls with the third power of the frequency."""
    from scipy import fft

    field = fft.irfft2(
        fft.rfft2(rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)) / _FREQUENCY**1.5, (HEIGHT, WIDTH)
    )
    return np.asarray(field / field.std())


def _with_mass(light: Array, woman: Woman, centre: tuple[float, float], rng: np.random.Generator) -> tuple[Array, Any]:
    """The view with the mass at `centre`, some way up or down of it, and the mass as booleans."""
    x, y = _X - centre[0], _Y - centre[1] - rng.uniform(-0.3, 0.3) * woman.height
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    lobes, rough = rng.uniform(0, 2 * np.pi, 5), 0.03 if woman.margin == "circumscribed" else 0.09
    outline = woman.radius * (1 + rough * sum(np.cos(k * angle + phase) for k, phase in enumerate(lobes, 2)))
    softness = {"circumscribed": 0.7, "indistinct": 4.0, "spiculated": 2.0}[woman.margin]
    bright = 0.22 / (1 + np.exp((radius - outline) / softness))
    if woman.margin == "spiculated":
        sector = 2 * np.pi / int(rng.integers(10, 16))
        aside = ((angle + rng.uniform(0, sector)) % sector - sector / 2) * radius  # pixels off the nearest spicule
        outward = np.maximum(radius - outline, 0)
        bright += 0.18 * np.exp(-((aside / 1.2) ** 2) - outward / rng.uniform(6, 12)) * (outward > 0)
    return light + bright, radius < outline


def as_dicom(pixels: npt.NDArray[Any], patient: str, view: str = "") -> bytes:
    """A file of DICOM with these (H, W) pixels: a mammogram for presentation if it has a view, else an ultrasound image."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation as Mammography
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

    def uid(*names: str) -> str:
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(names)).int}"

    bits = 8 * pixels.itemsize if pixels.dtype == np.uint8 else 12
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = Mammography if view else UltrasoundImageStorage, uid(patient, view)
    header.StudyInstanceUID, header.SeriesInstanceUID = uid(patient), uid(patient, view, "series")
    header.PatientID, header.PatientName, header.PatientSex = patient, "", "F"
    header.Modality, header.Manufacturer = "MG" if view else "US", "mammozoo phantom"
    header.BodyPartExamined, header.BurnedInAnnotation = "BREAST", "NO"
    if view:
        side, header.ViewPosition = view.split("-")
        header.ImageLaterality, header.PresentationIntentType = side, "FOR PRESENTATION"
        header.PatientOrientation = ["A" if side == "L" else "P", "F"]
        header.ImagerPixelSpacing, header.PixelIntensityRelationshipSign = [1, 1], -1
        header.WindowCenter, header.WindowWidth = 2048, 4096
    header.Rows, header.Columns, header.SamplesPerPixel = *pixels.shape, 1
    header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8 * pixels.itemsize, bits, bits - 1
    header.PixelData = np.ascontiguousarray(pixels).tobytes()
    header["PixelData"].VR = "OB" if bits == 8 else "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()
