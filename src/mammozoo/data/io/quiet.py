"""No warnings while files are read, in any number of threads."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

_lock = threading.Lock()
_inside = 0
_before = warnings.catch_warnings()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Warnings are ignored until the last thread has left.

    The filters are of the process: where each thread kept and restored them for itself, the last one to leave restored what
    another had set, and all warnings were off for good.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = warnings.catch_warnings()
            _before.__enter__()
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _before.__exit__(None, None, None)
