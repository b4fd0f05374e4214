"""What libtiff says while it decodes: never on stderr, and what it says of coded pixels is damage, which Pillow drops."""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
from collections.abc import Iterator
from typing import Any

from PIL import _imaging

_OF_PIXELS = re.compile(rb"Fax|LZW|PackBits|ZIP|JPEG")  # its parts that decode; others speak of odd but harmless tags
_thread = threading.local()


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _listen(part: bytes | None, form: bytes, values: int) -> None:
    if part and _OF_PIXELS.match(part):
        _thread.damage = part.decode("ascii", "replace")


with contextlib.suppress(AttributeError, OSError):  # a Pillow that shows its libtiff to nobody
    _library: Any = ctypes.CDLL(_imaging.__file__)
    for _set in (_library.TIFFSetErrorHandler, _library.TIFFSetWarningHandler):
        _set.argtypes, _set.restype = [ctypes.c_void_p], ctypes.c_void_p
        _set(ctypes.cast(_listen, ctypes.c_void_p))


@contextlib.contextmanager
def damage_told() -> Iterator[None]:
    """Raise OSError if libtiff finds the pixels damaged that this thread decodes."""
    _thread.damage = ""
    yield
    if _thread.damage:
        raise OSError(f"libtiff's {_thread.damage} finds its pixels damaged")
