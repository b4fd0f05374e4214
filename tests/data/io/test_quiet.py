"""Reading switches warnings off while it reads, and not for good."""

import threading
import warnings

import numpy as np
from PIL import Image

from mammozoo.data.io.images import read_image


def test_threads_that_overlap_leave_the_filters_as_they_were(tmp_path, monkeypatch) -> None:
    """The first to begin ends first: each restored what it had found, so that the second restored silence."""
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "a.png")
    opened, begun, go = Image.open, [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    numbers = iter((0, 1))

    def slowly(*given, **more):
        number = next(numbers)
        begun[number].set()
        assert go[number].wait(10)
        return opened(*given, **more)

    monkeypatch.setattr(Image, "open", slowly)
    before = [*warnings.filters]
    threads = [threading.Thread(target=read_image, args=(tmp_path / "a.png",)) for _ in range(2)]
    for thread, started in zip(threads, begun, strict=True):
        thread.start()
        assert started.wait(10)
    for thread, signal in zip(threads, go, strict=True):
        signal.set()
        thread.join(10)
    assert [*warnings.filters] == before
