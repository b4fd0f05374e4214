"""Which wheels a machine needs that has torch and no network; `gpu.sh` asks.

python benchmarks/wheels.py lacking        # where mammozoo is installed: name==version of what such a machine lacks
python benchmarks/wheels.py absent DIR     # on the machine: the wheels in DIR of what is not installed there
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

#: What a machine for deep learning brings, with all that these need.
BROUGHT = (
    "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "joblib", "matplotlib", "pillow", "opencv-python-headless",
    "huggingface-hub", "safetensors", "typer", "rich", "pyyaml", "jinja2", "packaging", "pytest", "pytest-xdist",
)  # fmt: skip
#: What comes along all the same: only the newest of the above need it.
UNSURE = ("pydantic",)


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they need, as installed here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return found


def lacking() -> Iterator[str]:
    """What mammozoo and its tests need beyond what is brought, in the versions that are installed here."""
    brought = closure(BROUGHT) - closure(UNSURE)
    for name in sorted(closure(["mammozoo", "hatchling"]) - brought - {"mammozoo"}):
        yield f"{name}=={importlib.metadata.version(name)}"


def absent(folder: Path) -> Iterator[str]:
    """The wheels of mammozoo and of what is not installed here."""
    installed = {canonicalize_name(known.name) for known in importlib.metadata.distributions()}
    for wheel in sorted(folder.glob("*.whl")):
        name = parse_wheel_filename(wheel.name)[0]
        if name == "mammozoo" or name not in installed:
            yield str(wheel)


if __name__ == "__main__":
    print("\n".join(lacking() if sys.argv[1] == "lacking" else absent(Path(sys.argv[2]))))
