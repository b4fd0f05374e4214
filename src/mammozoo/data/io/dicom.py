"""DICOM files: one picture, bounded before it is unpacked, and single values of the header.

Of a file with several frames one is read, see `dicom_frames`.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mammozoo.data.io import jpeg, jpeg12
from mammozoo.data.io.dicom_display import colour_of_palette, displayed, whole_numbers
from mammozoo.data.io.dicom_frames import frame_of_header, keep_frame, split_frame
from mammozoo.data.io.limits import MAX_PIXELS, UnreadableImageError, check_bytes, check_size, unpacked_size
from mammozoo.data.io.quiet import quiet
from mammozoo.data.io.raster import decode_jpeg_frame

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

#: Storage classes (PS3.4 B.5) whose files hold no picture: directories, waveforms, presentation states, reports, plans …
_NO_PICTURE = re.compile(
    rb"1\.2\.840\.10008\.(?:1\.3\.10|5\.1\.4\."
    rb"(?:1\.1\.(?:9|11|66(?!\.4)|67|68|79|88|104|481\.[3-9])(?:\.\d+)*|34\.\d+|3[89]\.1))[\0 ]"
)
#: Largest file, and largest content of a deflated one, in bytes: a picture of 16 bits and `MAX_PIXELS`, and a header.
_MOST_BYTES = 2 * MAX_PIXELS + 2**25
_LONG = 2**22  # bytes of an element from which on it is not read with the header
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_J2K, _JP2 = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def is_dicom(path: Path, head: bytes) -> bool:
    """Whether a file is DICOM, by its first 132 bytes or its suffix (old files have no preamble)."""
    return head[128:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES


def holds_no_picture(head: bytes) -> bool:
    """Whether a DICOM file states a storage class without a picture (a report, a directory …), by its first 1024 bytes."""
    return head[128:132] == b"DICM" and _NO_PICTURE.search(head[132:] + b"\0") is not None


def frames_of(path: Path) -> tuple[int, int]:
    """(number of frames that a DICOM file states, the one that it stands for, from 1); (1, 1) for any other file."""
    try:
        return frame_of_header(read_header(path, "NumberOfFrames", "RepresentativeFrameNumber"))
    except (TypeError, ValueError):  # reading the image gives the reason
        return 1, 1


def frame_note(path: Path) -> str | None:
    """Which frame a DICOM file of several stands for, in words; None for one picture, or if the path names the frame."""
    count, chosen = frames_of(path)
    if count < 2 or split_frame(path)[1] is not None:
        return None
    rule = "the middle one" if chosen == count // 2 + 1 else "its RepresentativeFrameNumber"
    return f"frame {chosen} of {count} is taken, {rule}; {path.name}#{chosen} and the like name a frame"


def frame_remarks(paths: Iterable[Path]) -> list[str]:
    """A remark if some of these files hold several DICOM frames, of which one is taken; headers are read for it."""
    may = [path for path in dict.fromkeys(paths) if path.suffix.lower() in DICOM_SUFFIXES | {""}]
    notes = [note for path in may if (note := frame_note(path)) is not None]
    return [f"{len(notes)} files hold several frames: {notes[0]}."] if notes else []


def read_header(path: Path, *keywords: str) -> Any:
    """The `pydicom.Dataset` of a file with these elements (PS3.6 keywords) alone; None if the file is not readable DICOM."""
    path = split_frame(path)[0]
    try:
        with path.open("rb") as handle, quiet():  # pydicom warns about each value that breaks the standard
            if not _is_open(path, handle):
                return None
            header = _parse(handle, stop_before_pixels=True, specific_tags=[*keywords])
            for keyword in keywords:
                header.get(keyword)  # values are read as late as here
            return header
    except Exception:  # a damaged header has no values; `read_image` gives the reason
        return None


def header_value(path: Path, keyword: str) -> str | None:
    """One text of a DICOM header in capitals; None for other formats, damaged files, or an empty value."""
    header = read_header(path, keyword)
    return None if header is None else str(header.get(keyword) or "").strip().upper() or None


def read_modality(path: Path) -> str | None:
    """The modality that a DICOM file states ("US", "MG" …), without reading pixels; None for other formats or on failure."""
    return header_value(path, "Modality")


def is_for_processing(path: Path) -> bool:
    """Whether a DICOM file states that its pixels are raw detector values, not for viewing ("FOR PROCESSING")."""
    return header_value(path, "PresentationIntentType") == "FOR PROCESSING"


def read_dicom(name: str, handle: BinaryIO, frame: int | None = None) -> npt.NDArray[Any]:
    """(H, W) grey in `BitsStored` bits, at least 8 and at most 16, or (H, W, 3) RGB: as the file asks (PS3.3 C.7.6.3, C.11).

    An element without a value counts as absent. Messages call the file `name`. `frame` counts if the file has several.

    Raises:
        UnreadableImageError: no picture or several, a size that mammozoo does not read, or elements that contradict each other.
        Exception: nearly any, from pydicom, for a damaged file.
    """
    header = _parse(handle, stop_before_pixels=True, defer_size=_LONG)
    if header.get("Rows") and header.get("Columns"):
        check_size(name, int(header.Columns), int(header.Rows))
    count, usual_frame = frame_of_header(header)
    check_bytes(name, handle.seek(0, os.SEEK_END), _MOST_BYTES if count < 2 else 4 * _MOST_BYTES)
    handle.seek(0)
    dataset = _parse(handle)
    if not dataset.get("PixelData"):
        content = "a report, a truncated file, or something else under that name"
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            content = "its numbers are floating point, which mammozoo reads of TIFF"
        raise UnreadableImageError(f"{name} is named or marked as DICOM and holds no pixel data: {content}.")
    for tag in list(dataset.keys()):
        if tag.group == 0x0028 and dataset.get_item(tag).value in (None, b"", ""):
            del dataset[tag]
    if missing := [keyword for keyword in ("Rows", "Columns", "BitsAllocated") if not dataset.get(keyword)]:
        raise UnreadableImageError(f"{name} does not state {' and '.join(missing)} of its pixels. Export it again.")
    if int(dataset.get("BitsStored", 1)) > dataset.BitsAllocated:
        bits = f"{dataset.BitsStored} bits in {dataset.BitsAllocated}"
        raise UnreadableImageError(f"{name} states {bits}, which contradict each other. Export it again.")
    usual = {
        "SamplesPerPixel": 1,
        "PixelRepresentation": 0,
        "PlanarConfiguration": 0,
        "BitsStored": dataset.BitsAllocated,
    }
    for keyword, value in usual.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    colour, photometric = (
        dataset.SamplesPerPixel == 3,
        str(dataset.get("PhotometricInterpretation", "")).strip().upper(),
    )
    grey = photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if not (photometric in _COLOURS if colour else grey and dataset.SamplesPerPixel == 1):
        kind = f"PhotometricInterpretation '{photometric}' with {dataset.SamplesPerPixel} samples a pixel"
        raise UnreadableImageError(f"{name} states {kind}, which mammozoo does not read. Export it as PNG.")
    dataset.PhotometricInterpretation = photometric
    if count > 1:
        keep_frame(dataset, count, usual_frame if frame is None else frame, name)
    if compression := lacks_decoder(dataset):
        lack = f"is compressed ({compression}) and no decoder for that is installed"
        raise UnreadableImageError(f"{name} {lack}. Run: pip install python-gdcm")
    pixels = _decoded(dataset, name)
    if colour:
        if pixels.dtype.kind != "u":
            raise UnreadableImageError(f"{name} holds colour of {pixels.dtype} numbers, which mammozoo does not read.")
        down = max(0, int(pixels.max()).bit_length() - 16)
        return pixels if pixels.dtype.itemsize <= 2 else (pixels >> down).astype(np.uint16)
    pixels, padding = whole_numbers(pixels, dataset, name)
    return (
        colour_of_palette(pixels, dataset, name) if photometric[0] == "P" else displayed(pixels, padding, dataset, name)
    )


def _is_open(path: Path, handle: BinaryIO) -> bool:
    head = handle.read(132)
    handle.seek(0)
    return is_dicom(path, head)


def _parse(handle: BinaryIO, **options: Any) -> Any:
    """`pydicom.dcmread`, for a deflated file after its content was measured."""
    import pydicom  # here, because most users have no DICOM files

    head = handle.read(2**16)
    if _DEFLATED in head:
        # Past the length of the group that is not deflated (PS3.10 7.1).
        start = 144 if head[128:132] == b"DICM" else 12
        handle.seek(start + int.from_bytes(head[start - 4 : start], "little"))
        if unpacked_size(handle.read(), _MOST_BYTES, -zlib.MAX_WBITS) > _MOST_BYTES:
            most = f"{_MOST_BYTES // 10**6} MB, more than one picture that mammozoo reads takes"
            raise UnreadableImageError(f"'{handle.name}' unpacks to more than {most}.")
    handle.seek(0)
    return pydicom.dcmread(handle, force=True, **options)


def lacks_decoder(dataset: Any) -> str | None:
    """The name of the compression of a file whose pixels need a plug-in of pydicom that is not installed; None otherwise."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ImplicitVRLittleEndian, JPEGExtended12Bit

    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the standard's default
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
        short = syntax == JPEGExtended12Bit and dataset.BitsStored > 8 and not jpeg12.is_available()
        return None if decoder.is_available and not short else str(syntax.name)
    except NotImplementedError:
        return str(syntax.name)


def _decoded(dataset: Any, name: str) -> npt.NDArray[Any]:
    """The stored numbers (H, W), all bits of each, or (H, W, 3) RGB uint8 or uint16."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.processing import convert_color_space
    from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

    syntax, shape, stated = dataset.file_meta.TransferSyntaxUID, (dataset.Rows, dataset.Columns), ""
    if syntax.is_encapsulated:
        buffer = io.BytesIO(dataset.PixelData)
        parse_basic_offsets(buffer)
        fragments = list(generate_fragments(buffer))
        stream = b"".join(fragments)
        coded = jpeg.START if stream[:2] == jpeg.START else _J2K if stream[:4] == _J2K else b""
        if (frames := sum(fragment.startswith(coded) for fragment in fragments)) > 1:
            check_size(name, shape[1], shape[0], frames)
        if syntax == JPEGBaseline8Bit or (syntax == JPEGExtended12Bit and dataset.BitsStored == 8):
            jpeg.check_kind(stream, name)
            jpeg.check_stream(stream, name)
            pixels = decode_jpeg_frame(stream, dataset.PhotometricInterpretation == "RGB")
            return _checked_shape(pixels, dataset, name)
        if coded == _J2K or (stream.startswith(_JP2) and _J2K in stream):  # older programs wrote the file format JP2
            stated = _j2k(stream[stream.index(_J2K) :], shape, name)
        elif "JPEG" in syntax.name and jpeg.END not in stream[-16:]:  # some decoders fill up what is missing
            raise UnreadableImageError(
                f"{name} is truncated: its JPEG stream has no end. Copy it again from its source."
            )
        if syntax == JPEGExtended12Bit:
            return _checked_shape(jpeg12.decode(stream, dataset), dataset, name)
    photometric = dataset.PhotometricInterpretation
    if photometric in ("YBR_ICT", "YBR_RCT") and not stated:
        raise UnreadableImageError(f"{name} states colours of JPEG 2000 ({photometric}) and is not JPEG 2000.")
    options: dict[str, Any] = {} if "JPEG" in syntax.name else {"correct_unused_bits": False}
    pixels, facts = get_decoder(syntax).as_array(dataset, raw=True, **options)
    pixels = _checked_shape(pixels, dataset, name)
    if pixels.ndim == 3 and facts["photometric_interpretation"] in ("YBR_FULL", "YBR_FULL_422") and stated != "RGB":
        return convert_color_space(pixels, "YBR_FULL", "RGB")
    return pixels


def _checked_shape(pixels: npt.NDArray[Any], dataset: Any, name: str) -> npt.NDArray[Any]:
    """The pixels in this machine's byte order, if they are one picture of the header's shape."""
    shape = (dataset.Rows, dataset.Columns) + ((3,) if dataset.SamplesPerPixel == 3 else ())
    if pixels.shape[1:] == shape:
        check_size(name, shape[1], shape[0], len(pixels))
    if pixels.shape != shape:
        sizes = " and ".join(" x ".join(map(str, one)) for one in (shape, pixels.shape))
        raise UnreadableImageError(f"{name}: its header and its pixel data differ in shape ({sizes}).")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _j2k(stream: bytes, shape: tuple[int, int], name: str) -> str:
    """`RGB` if decoding a JPEG 2000 stream gives that whatever the header states, else `J2K` (ISO 15444-1 A.5.1, A.6.1)."""
    right, down, left, top = (int.from_bytes(stream[place : place + 4]) for place in (8, 12, 16, 20))
    if (down - top, right - left) != shape:
        sizes = f"{shape[1]} x {shape[0]} and {right - left} x {down - top}"
        raise UnreadableImageError(f"{name}: its header and its JPEG 2000 stream state two sizes ({sizes}).")
    place = 2
    while stream[place : place + 2] not in (b"\xff\x52", b"\xff\x90", b""):
        place += 2 + int.from_bytes(stream[place + 2 : place + 4])
    return "RGB" if stream[place : place + 2] == b"\xff\x52" and stream[place + 8] else "J2K"
