"""JPEG streams: which kind they are, and whether they are whole; as files and inside DICOM.

Pillow drops libjpeg's warnings, and a damaged stream then becomes another picture without a word. libjpeg-turbo's own
interface (simplejpeg) reports them. Damage after which the stream is a valid one again leaves no trace that a reader could find.
"""

from __future__ import annotations

import simplejpeg

from mammozoo.data.io.limits import UnreadableImageError

START, END = b"\xff\xd8", b"\xff\xd9"
#: Starts of libjpeg's warnings that mean lost pixels; others are about odd but harmless headers.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
_READ = (0xC0, 0xC1, 0xC2)  # frame markers: baseline, extended, progressive


def check_kind(content: bytes, name: str) -> None:
    """Raise UnreadableImageError if a stream's header states a kind of JPEG that libjpeg does not read."""
    place = 2
    while place + 5 < len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = content[place + 4]
            if marker not in _READ or bits != 8:
                kind = (
                    f"a JPEG of {bits} bits"
                    if marker in _READ
                    else f"a lossless or arithmetic JPEG (SOF{marker - 0xC0})"
                )
                raise UnreadableImageError(f"{name} is {kind}, which mammozoo does not read. Save it as PNG.")
            return
        place += 1 if marker == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4])


def check_stream(content: bytes, name: str) -> None:
    """Raise UnreadableImageError if the coded pixels of a JPEG do not fill its picture, or hold more than it."""
    try:
        space = simplejpeg.decode_jpeg_header(content)[2]
        space = "CMYK" if space in ("CMYK", "YCCK") else "GRAY"
        simplejpeg.decode_jpeg(content, space, fastdct=True, fastupsample=True, min_height=1, min_width=1)
    except ValueError as error:
        if str(error).startswith(_DAMAGE) and "ICC" not in str(error):
            way = "Copy it again from its source; if it looks right in a viewer, save it there again."
            raise UnreadableImageError(f"{name} is truncated or damaged ({error}). {way}") from error
