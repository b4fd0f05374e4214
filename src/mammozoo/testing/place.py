"""Where in a plugin's own code an error was raised."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

_OURS = str(Path(__file__).parents[1]) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep
_SITES = ("site-packages", "dist-packages")
#: What a plugin calls, and what is not its own though it is installed beside it.
_LIBRARIES = {
    "torch", "torchvision", "timm", "numpy", "scipy", "sklearn", "pydantic", "pydantic_core", "PIL", "cv2", "albumentations",
    "albucore", "safetensors", "pluggy", "yaml",
}  # fmt: skip


def place(error: BaseException) -> str:
    """The last line of the traceback that is the plugin's, as ` (strategy.py, line 14, in adapt)`; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _foreign(frame.filename)]
    if not frames:
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})"


def _foreign(file: str) -> bool:
    """Whether a file is ours, Python's or a library's."""
    parts = Path(file).parts
    site = next((number for number, part in enumerate(parts) if part in _SITES), None)
    if site is not None and site + 1 < len(parts):
        return parts[site + 1].removesuffix(".py") in {"mammozoo", *_LIBRARIES}
    return file.startswith(("<", _OURS, _STDLIB))
