"""One known picture in every kind of file that can be written here: it comes back, or the refusal says why."""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.data.io.images import UnreadableImageError, read_image, to_channels, to_uint8

from .writers import bmp, netpbm, pfm, png, product, tiff

Pixels = npt.NDArray[Any]
#: (what it is, the picture that it shows in [0, 1], its bytes, a word of the refusal or "")
Case = tuple[str, Pixels, bytes, str]
H, W = 24, 32


def _picture() -> Pixels:
    """(H, W, 3) in [0, 1], smooth, with black and white in every channel and no symmetry."""
    y, x = np.mgrid[0:H, 0:W] / (H, W)[0]
    channels = [
        np.hypot(y - a, x - b) * c + 0.2 * np.sin(5 * y * c)
        for a, b, c in ((0.3, 0.4, 1), (0.6, 0.9, -1), (0.1, 1.2, 1))
    ]
    return np.dstack([(c - c.min()) / np.ptp(c) for c in channels])


COLOUR = _picture()
GREY = COLOUR[..., 0]


def levels(picture: Pixels, most: int) -> Pixels:
    return np.rint(picture * most).astype(np.int64)


def shows(path: Path, content: bytes, picture: Pixels, name: str, refused: str) -> None:
    """Assert that a file comes back as its picture, over the whole range, or is refused for the reason that it should be."""
    path.write_bytes(content)
    if refused:
        with pytest.raises(UnreadableImageError, match=refused) as refusal:
            read_image(path)
        assert "Copy it again" not in str(refusal.value), name  # the file is whole
        return
    pixels = to_uint8(to_channels(read_image(path), 3 if picture.ndim == 3 else 1)).astype(float)
    pixels = pixels if picture.ndim == 3 else pixels[..., 0]
    assert pixels.shape == picture.shape, name
    r = np.corrcoef(pixels.ravel(), picture.ravel())[0, 1]
    assert r > 0.999, f"{name}: correlation {r:.4f}"
    ends, right = (pixels.min(), pixels.max()), (255 * picture.min(), 255 * picture.max())
    assert np.allclose(ends, right, atol=6), f"{name}: from {ends[0]:.0f} to {ends[1]:.0f}"
    assert len(np.unique(pixels)) >= 0.9 * min(len(np.unique(np.rint(255 * picture))), 250), f"{name}: lost grey levels"


def of_tiff() -> Iterator[Case]:
    orders, compressions = ("<", ">"), (1, 8, 32773)
    for o in product(bits=(1, 2, 4, 8, 12), photometric=(0, 1), order=orders, compression=compressions):
        numbers = levels(GREY, most := 2 ** o["bits"] - 1)
        refused = "TIFF of 1 x 12 bits" if o["bits"] == 12 and (o["order"], o["photometric"]) != ("<", 1) else ""
        stored = (most - numbers if o["photometric"] == 0 else numbers).astype(np.uint8 if o["bits"] < 9 else np.uint16)
        yield f"TIFF {o}", numbers / most, tiff(stored, **o), refused
    for o in product(photometric=(0, 1), order=orders, compression=compressions):
        for kind in ("u2", "u4", "i1", "i2", "i4", "u8", "f4", "f8", "f2", "12 in 16", "i2 above 0"):
            dtype = np.dtype({"12": "u2"}.get(kind[:2], kind[:2]))
            most = {"12 in 16": 4095, "i2 above 0": 32767, "u4": 2**32 - 1}.get(kind, 2 ** (8 * dtype.itemsize) - 1)
            least = -(most + 1) // 2 if kind in ("i1", "i2", "i4") else 0
            numbers = GREY * 3 - 1 if dtype.kind == "f" else np.minimum(np.rint(GREY * most), most * (1 - 1e-6)) + least
            if o["photometric"] == 0:
                numbers = -numbers if dtype.kind == "f" else (2 ** (8 * dtype.itemsize) - 1 + 2 * least) - numbers
                numbers = numbers - (65535 - 32767) if kind == "i2 above 0" else numbers
            unread = kind in ("u8", "f8", "f2") or (o["photometric"] == 0 and kind not in ("u2", "12 in 16", "f4"))
            unread |= (kind == "u4" and o["order"] == ">") or (
                kind in ("u2", "12 in 16") and o["order"] == ">" and o["photometric"] == 0
            )
            with np.errstate(invalid="ignore"):  # 64 bits, which are refused
                stored = numbers.astype(dtype)
            yield f"TIFF {kind} {o}", GREY, tiff(stored, **o), "TIFF of 1 x" if unread else ""
    for o in product(order=orders, compression=compressions, planar=(1, 2), extra=(None, 0, 2)):
        for dtype, most in (("u1", 255), ("u2", 65535), ("u2", 4095)):
            full = 255 if dtype == "u1" else 65535
            fourth = [] if o["extra"] is None else [np.full((H, W), full if o["extra"] else 0)]
            unread = o["planar"] == 2 and (dtype == "u2" or (o["extra"], o["compression"]) == (0, 1))
            refused = "16 bits in a form|TIFF of" if unread else ""
            yield (
                f"TIFF RGB {most} {o}",
                COLOUR,
                tiff(np.dstack([levels(COLOUR, most), *fourth]).astype(dtype), 2, **o),
                refused,
            )
    clear = np.where(np.arange(W) < W // 3, 0, 255) * np.ones((H, 1), int)
    for extra, (picture, photometric) in ((e, p) for e in (0, 1, 2) for p in ((GREY, 1), (COLOUR, 2))):
        seen = picture * (clear.reshape(H, W, *[1] * (picture.ndim - 2)) > 0)
        stored = np.dstack([levels(seen if extra == 1 else picture, 255), clear]).astype(np.uint8)
        yield (
            f"TIFF with transparency {extra}",
            picture if extra == 0 else seen,
            tiff(stored, photometric, extra=extra),
            "",
        )
    for bits, order in ((4, "<"), (8, "<"), (8, ">")):
        palette = np.random.default_rng(bits).permutation(256)[: 2**bits].repeat(3).reshape(-1, 3)
        wanted = palette[levels(GREY, 2**bits - 1)][..., 0] / 255
        yield (
            f"TIFF palette {bits}{order}",
            wanted,
            tiff(levels(GREY, 2**bits - 1).astype("u1"), 3, bits=bits, order=order, palette=palette),
            "",
        )
    for orientation in range(1, 9):
        turned = _stored_for(orientation)
        for dtype, most in (("u1", 255), ("u2", 65535)):
            yield (
                f"TIFF turned {orientation} {dtype}",
                COLOUR,
                tiff(levels(turned, most).astype(dtype), 2, orientation=orientation),
                "",
            )
            yield (
                f"TIFF grey turned {orientation} {dtype}",
                GREY,
                tiff(levels(turned[..., 0], most).astype(dtype), 0 + 1, orientation=orientation),
                "",
            )
    ycc = np.asarray(Image.fromarray(levels(COLOUR, 255).astype("u1")).convert("YCbCr"))
    yield "TIFF YCbCr", COLOUR, tiff(ycc, 6, subsampling=True), ""


def _stored_for(orientation: int) -> Pixels:
    """COLOUR as a file with this orientation holds it."""
    undo = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    pixels = COLOUR.swapaxes(0, 1) if undo > 4 else COLOUR
    return pixels[:: -1 if undo in (3, 4, 7, 8) else 1, :: -1 if undo in (2, 3, 6, 7) else 1]


def of_pillow() -> Iterator[Case]:
    """What Pillow writes: it has compressions of its own."""
    grey, colour = levels(GREY, 255).astype("u1"), levels(COLOUR, 255).astype("u1")
    pictures = {
        "L": (grey, GREY),
        "RGB": (colour, COLOUR),
        "I;16": (levels(GREY, 4095).astype("u2"), GREY),
        "F": (GREY.astype("f4"), GREY),
    }
    for mode, (pixels, picture) in pictures.items():
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            yield f"Pillow's TIFF {mode} {compression}", picture, _saved(pixels, "TIFF", compression=compression), ""
    for mode in ("P", "CMYK", "LA", "RGBA", "1"):
        wanted = (GREY > 0.5).astype(float) if mode == "1" else GREY if mode == "LA" else COLOUR
        source = Image.fromarray((255 * wanted).round().astype("u1"))
        image = source.quantize(256) if mode == "P" else source.convert(mode)
        for format in ("TIFF", "PNG", "GIF", "BMP") if mode in ("P", "1") else ("TIFF", "PNG"):
            if (mode, format) != ("CMYK", "PNG"):
                shown = np.asarray(image.convert("RGB")) / 255 if mode == "P" else wanted
                yield f"Pillow's {format} {mode}", shown, _saved(image, format), ""
    for options in product(
        subsampling=(0, 1, 2), progressive=(False, True), restart_marker_blocks=(0, 3), optimize=(False, True)
    ):
        # Of one hue, which subsampling leaves as it is.
        tinted = np.dstack([0.6 * GREY + offset for offset in (0.2, 0.1, 0.4)])
        yield f"JPEG {options}", tinted, _saved(levels(tinted, 255).astype("u1"), "JPEG", quality=97, **options), ""
        if options["subsampling"] == 0:
            yield f"JPEG grey {options}", GREY, _saved(grey, "JPEG", quality=97, **options), ""
            yield f"JPEG RGB {options}", COLOUR, _saved(colour, "JPEG", quality=97, keep_rgb=True, **options), ""
            yield (
                f"JPEG CMYK {options}",
                COLOUR,
                _saved(Image.fromarray(colour).convert("CMYK"), "JPEG", quality=97, **options),
                "",
            )
    yield (
        "MPO",
        COLOUR,
        _saved(colour, "MPO", quality=97, subsampling=0, save_all=True, append_images=[Image.new("RGB", (W, H))]),
        "",
    )
    twelve = bytearray(_saved(grey, "JPEG"))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    yield "JPEG of 12 bits", GREY, bytes(twelve), "12 bits"
    lossless = bytearray(_saved(grey, "JPEG"))
    lossless[lossless.index(b"\xff\xc0") + 1] = 0xC3
    yield "JPEG without loss", GREY, bytes(lossless), "lossless"


def _saved(pixels: Pixels | Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, format, **options)
    return buffer.getvalue()


def of_others() -> Iterator[Case]:
    for bits in (1, 2, 4, 8, 12, 16):
        numbers, most = levels(GREY, 2**bits - 1), 2**bits - 1
        yield f"PNG grey {bits}", numbers / most, png(numbers, 0, 16 if bits == 12 else bits), ""
        if bits > 4:
            deep = 16 if bits > 8 else 8
            full = np.full((H, W), 2**deep - 1)
            colour = levels(COLOUR, most)
            half = np.where(np.arange(W) < W // 2, 0, 2**deep - 1) * np.ones((H, 1), int)
            yield f"PNG RGB {bits}", COLOUR, png(colour, 2, deep), ""
            yield f"PNG RGB of equal channels {bits}", GREY, png(np.dstack([numbers] * 3), 2, deep), ""
            for name, alpha, share in (
                ("opaque", full, 1),
                ("clear", 0 * full, 1),
                ("half", half, half[..., None] > 0),
            ):
                yield f"PNG LA {bits} {name}", GREY * np.squeeze(share), png(np.dstack([numbers, alpha]), 4, deep), ""
                yield f"PNG RGBA {bits} {name}", COLOUR * share, png(np.dstack([colour, alpha]), 6, deep), ""
            lit = np.where(numbers == most, 0, numbers) / most
            yield f"PNG grey, white clear {bits}", lit, png(numbers, 0, deep, clear=most.to_bytes(2)), ""
        if bits <= 8:
            palette = np.random.default_rng(bits).permutation(256)[: 2**bits].repeat(3).reshape(-1, 3)
            wanted = palette[numbers][..., 0] / 255
            yield f"PNG palette {bits}", wanted, png(numbers, 3, bits, palette=palette), ""
            yield (
                f"PNG palette, clear {bits}",
                wanted,
                png(numbers, 3, bits, palette=palette, clear=b"\0" * 2**bits),
                "",
            )
    for most in (15, 100, 255, 1023, 4095, 65535):
        for magic in ("P2", "P5"):
            yield f"{magic} {most}", levels(GREY, most) / most, netpbm(levels(GREY, most), magic, most), ""
        for magic in ("P3", "P6"):
            yield f"{magic} {most}", levels(COLOUR, most) / most, netpbm(levels(COLOUR, most), magic, most), ""
    for magic in ("P2", "P5"):
        yield f"{magic} 12 in 16", GREY, netpbm(levels(GREY, 4095), magic, 65535), ""
    for magic in ("P3", "P6"):
        yield f"{magic} 12 in 16", COLOUR, netpbm(levels(COLOUR, 4095), magic, 65535), ""
    for magic in ("P1", "P4"):
        yield magic, (GREY > 0.5) * 1.0, netpbm(levels(GREY <= 0.5, 1), magic, 1), ""
    for order in ("<", ">"):
        yield f"PFM {order}", GREY, pfm(GREY * 7 - 2, order), ""
    for alpha in (None, 0, 255):
        yield f"BMP {alpha}", COLOUR, bmp(levels(COLOUR, 255).astype("u1"), alpha), ""


def all_come_back(path: Path, cases: Iterable[Case]) -> int:
    """Assert `shows` of all, with one list of failures; how many there are."""
    failures, count = [], 0
    for name, picture, content, refused in cases:
        count += 1
        try:
            shows(path, content, picture, name, refused)
        except (AssertionError, UnreadableImageError, pytest.fail.Exception) as error:
            failures.append(f"{name}: {error}".partition("\nassert")[0])
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
    return count


@pytest.mark.parametrize("family", [of_tiff, of_pillow, of_others])
def test_the_picture_comes_back(tmp_path, family: Callable[[], Iterator[Case]], capfd) -> None:
    assert all_come_back(tmp_path / "a", family()) >= 60
    assert capfd.readouterr() == ("", "")  # no library talks past us
