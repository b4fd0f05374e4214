"""Make the model that this package brings: train its recipe, copy what a model is, and list it in `zoo.yaml` with its hashes.

python make_model.py        with the package installed; the run's files are the same on one machine, not on every one
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import mammozoo
from mammozoo.files import sha256
from mammozoo.models.config import read_config
from mammozoo.zoo.entry import Entry, File, PackageSource
from mammozoo.zoo.listing import write_entry

PACKAGE = Path(__file__).parent / "src" / "mammozoo_example"
NAME = "example-shapes-net"


def main() -> None:
    """Train, copy, list."""
    place = PACKAGE / "models" / NAME
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = mammozoo.train("example", out=Path(folder) / "run")
        for name in ("README.md", "config.json", "model.safetensors"):
            shutil.copyfile(run.path / name, place / name)
    config = read_config(place)
    entry = Entry(
        name=NAME,
        version="1.0.0",
        summary="generated discs and stars; shows what a plugin's zoo looks like",
        source=PackageSource(package="mammozoo_example", path=f"models/{NAME}"),
        files={path.name: File(sha256=sha256(path), size=path.stat().st_size) for path in sorted(place.iterdir())},
        license="apache-2.0",
        data_terms="none: generated images",
        intended_use=config.intended_use,
        classes=config.classes,
        input_size=config.input.size,
        stamps=config.stamps,
    )
    write_entry(PACKAGE / "zoo.yaml", entry)


if __name__ == "__main__":
    main()
