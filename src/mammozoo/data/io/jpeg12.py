"""JPEG of 12 bits (process 4) inside DICOM: by pylibjpeg where that is installed, else by GDCM, which pydicom does not ask."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_SCAN = b"\xff\xda"
_lock = threading.Lock()


def is_available() -> bool:
    """Whether one of the two is installed."""
    from pydicom.pixels.decoders.base import JPEGExtended12BitDecoder

    return {"gdcm", "pylibjpeg"} & {*JPEGExtended12BitDecoder.available_plugins} != set()


def decode(stream: bytes, dataset: Any) -> npt.NDArray[Any]:
    """The stored numbers (H, W) of a data set whose picture is this stream.

    Raises:
        Exception: any, for a damaged stream.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import JPEGExtended12BitDecoder

    stream = _with_whole_spectrum(stream)
    if "pylibjpeg" not in JPEGExtended12BitDecoder.available_plugins:
        return _by_gdcm(stream, dataset)
    dataset.PixelData = encapsulate([stream])
    pixels, _ = JPEGExtended12BitDecoder.as_array(dataset, raw=True, decoding_plugin="pylibjpeg")
    return np.asarray(pixels)


def _with_whole_spectrum(stream: bytes) -> bytes:
    """A stream whose only scan states the end of its spectrum: a sequential one has 63 there (ISO 10918-1 B.2.3), some write 0."""
    place = stream.index(_SCAN)
    end = place + 2 + int.from_bytes(stream[place + 2 : place + 4]) - 2
    return stream[:end] + b"\x3f" + stream[end + 1 :] if stream[end] == 0 else stream


def _by_gdcm(stream: bytes, dataset: Any) -> npt.NDArray[Any]:
    import gdcm

    image, form, syntax = gdcm.Image(), gdcm.PhotometricInterpretation, gdcm.TransferSyntax
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 0))
    image.SetPixelFormat(
        gdcm.PixelFormat(1, 16, dataset.BitsStored, dataset.BitsStored - 1, dataset.PixelRepresentation)
    )
    image.SetPhotometricInterpretation(form(form.GetPIType("MONOCHROME2")))
    image.SetTransferSyntax(syntax(syntax.GetTSType(str(dataset.file_meta.TransferSyntaxUID))))
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(stream)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image.SetDataElement(element)
    with _silent():
        content = image.GetBuffer()
    if content is None:
        raise ValueError("GDCM cannot decode the stream")
    pixels = np.frombuffer(content.encode("utf-8", "surrogateescape"), "<i2" if dataset.PixelRepresentation else "<u2")
    return pixels.reshape(dataset.Rows, dataset.Columns)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what GDCM's libjpeg writes to the standard error: it first tries its decoder for 8 bits."""
    with _lock, open(os.devnull, "wb") as nothing:  # noqa: PTH123 - no file
        before = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
