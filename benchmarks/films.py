"""How often the polarity of a film is told rightly, and its breast found: as it is, as its negative, in frames, in 16 bits.

    python benchmarks/films.py --dataset mini-mias --root DIR [--inverted LIST] [--every N] [--most N]

LIST names the images that are inverted, one a line as the data set names them; without it none is. Give a data set of other
pictures, such as `busi`, and none may be inverted. `--every N` frames every N-th image. An image is right if `polarity` would do
what the list says; of the negative the opposite is right. An image without ground, such as a crop, stays as it is.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.data.io.breast import look_at
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.joined import open_dataset

Pixels = npt.NDArray[np.uint8]


def framed(film: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    """In a frame of this grey level, of 2 to 9 % of each side."""
    (up, down), (left, right) = (np.rint(rng.uniform(0.02, 0.09, 2) * side).astype(int) for side in film.shape[:2])
    return np.pad(film, ((up, down), (left, right), (0, 0)), constant_values=level)


def forms(film: Pixels, rng: np.random.Generator, more: bool) -> Iterator[tuple[str, npt.NDArray[np.generic], bool]]:
    """(name, pixels, whether it is inverted if the film is not) of each form of a film."""
    yield "as it is", film, False
    yield "negative", 255 - film, True
    if more:
        yield "in a black frame", framed(film, 0, rng), False
        yield "in a white frame", framed(film, 255, rng), False
        yield "in 16 bits", film.astype(np.uint16) * 257, False


def main() -> None:
    """Print a table of forms."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--inverted", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--most", type=int)
    arguments = parser.parse_args()
    inverted = {*arguments.inverted.read_text().split("\n")} if arguments.inverted else set()
    dataset, rng, counts, wrong = (
        open_dataset(arguments.dataset, arguments.root),
        np.random.default_rng(0),
        Counter(),
        [],
    )
    for number, sample in enumerate(dataset.samples()[: arguments.most]):
        film = to_uint8(to_channels(dataset.read(sample), 1))
        for form, pixels, turned in forms(film, rng, number % arguments.every == 0):
            seen = look_at(pixels)
            right = seen.inverted == ((sample.image in inverted) != turned)
            counts[form, "images"] += 1
            counts[form, "right"] += right
            counts[form, "no ground"] += seen.breast is None
            wrong += [] if right else [f"{form}: {sample.image}"]
    print(f"{'form':20} {'images':>8} {'right':>8} {'no ground':>10}")
    for form in dict.fromkeys(form for form, _ in counts):
        print(f"{form:20} {counts[form, 'images']:8} {counts[form, 'right']:8} {counts[form, 'no ground']:10}")
    print("\n".join(wrong))


if __name__ == "__main__":
    main()
