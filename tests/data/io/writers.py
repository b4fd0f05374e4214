"""Image files written byte by byte: kinds that Pillow does not write."""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]


def packed(rows: Pixels, bits: int) -> bytes:
    """(H, W) numbers of 1, 2, 4 bits or 12, each row filled up to a byte."""
    single = np.unpackbits(rows.astype(">u2").view(np.uint8).reshape(len(rows), -1, 2), axis=2)[..., 16 - bits :]
    return np.packbits(single.reshape(len(rows), -1), axis=1).tobytes()


def packbits(data: bytes) -> bytes:
    """TIFF's compression of that name, by literal runs alone."""
    return b"".join(bytes([len(part) - 1]) + part for part in (data[i : i + 128] for i in range(0, len(data), 128)))


COMPRESSIONS: dict[int, Callable[[bytes], bytes]] = {1: bytes, 8: zlib.compress, 32773: packbits}


def tiff(
    pixels: Pixels, photometric: int, *, bits: int = 0, order: str = "<", compression: int = 1, planar: int = 1,
    extra: int | None = None, palette: Pixels | None = None, orientation: int = 1, subsampling: bool = False,
) -> bytes:  # fmt: skip
    """(H, W) or (H, W, C) of any number type as a TIFF of one strip a plane."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = bits or pixels.dtype.itemsize * 8
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    planes = [pixels[..., c] for c in range(channels)] if planar == 2 else [pixels]
    raw = [
        packed(p, bits) if bits not in (8, 16, 32, 64) else p.astype(p.dtype.newbyteorder(order)).tobytes()
        for p in planes
    ]
    strips = [COMPRESSIONS[compression](data) for data in raw]
    tags = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 259: ("H", [compression]),
        262: ("H", [photometric]), 273: ("I", [0] * len(strips)), 274: ("H", [orientation]), 277: ("H", [channels]),
        278: ("I", [height]), 279: ("I", [len(one) for one in strips]), 284: ("H", [planar]), 339: ("H", [form] * channels),
    }  # fmt: skip
    if extra is not None:
        tags[338] = ("H", [extra])
    if palette is not None:
        tags[320] = ("H", (palette.astype(int) * 257).T.ravel().tolist())
    if subsampling:
        tags[530] = ("H", [1, 1])
    start = 8 + 2 + 12 * len(tags) + 4
    long = sum(len(values) * struct.calcsize(kind) for kind, values in tags.values())
    tags[273] = ("I", list(itertools.accumulate([len(one) for one in strips[:-1]], initial=start + long)))
    directory, beyond = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{kind}", *values)
        place = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(f"{order}I", start + len(beyond))
        beyond += content if len(content) > 4 else b""
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return (head + directory + b"\0" * 4 + beyond).ljust(start + long, b"\0") + b"".join(strips)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: Pixels, kind: int, bits: int, *, palette: Pixels | None = None, clear: bytes = b"") -> bytes:
    """(H, W) or (H, W, C) numbers as a PNG of colour type `kind`: 0, 2, 3, 4 or 6."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    lines = [
        packed(row[None], bits) if bits < 8 else row.astype(">u2" if bits == 16 else "u1").tobytes() for row in rows
    ]
    chunks = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    chunks += _chunk(b"PLTE", palette.astype("u1").tobytes()) if palette is not None else b""
    chunks += _chunk(b"tRNS", clear) if clear else b""
    chunks += _chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


def netpbm(pixels: Pixels, magic: str, most: int) -> bytes:
    """(H, W) or (H, W, 3) numbers as P1 to P6."""
    height, width = pixels.shape[:2]
    head = f"{magic}\n# a remark\n{width} {height}\n" + ("" if magic in ("P1", "P4") else f"{most}\n")
    if magic in ("P1", "P2", "P3"):
        return (head + "\n".join(" ".join(map(str, row.ravel())) for row in pixels) + "\n").encode()
    body = packed(pixels, 1) if magic == "P4" else pixels.astype(">u2" if most > 255 else "u1").tobytes()
    return head.encode() + body


def bmp(pixels: Pixels, alpha: int | None) -> bytes:
    """(H, W, 3) RGB as a bitmap of 32 bits with masks for four channels; without `alpha` of the first kind, three and a gap."""
    height, width = pixels.shape[:2]
    fourth = np.full((height, width, 1), alpha or 0, np.uint8)
    body = np.concatenate([pixels[..., ::-1], fourth], axis=2)[::-1].tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) if alpha is not None else b""
    info = struct.pack(
        "<IiiHHIIiiII", 108 if masks else 40, width, height, 1, 32, 3 if masks else 0, len(body), 0, 0, 0, 0
    )
    info += masks.ljust(68, b"\0") if masks else b""
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def pfm(values: Pixels, order: str) -> bytes:
    """(H, W) numbers as a PFM, the last row first."""
    height, width = values.shape
    return (
        f"Pf\n{width} {height}\n{-1.0 if order == '<' else 1.0}\n".encode()
        + values[::-1].astype(f"{order}f4").tobytes()
    )


def product(**options: Any) -> Iterator[dict[str, Any]]:
    """Every choice of one value for each name."""
    for values in itertools.product(*options.values()):
        yield dict(zip(options, values, strict=True))
