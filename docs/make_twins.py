"""Writes `docs/twins.png`: images that the official folds of BUS-BRA (CC BY 4.0) test, beside their near-duplicates in training."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from mammozoo.data.duplicates.fingerprint import collect, fingerprint
from mammozoo.data.duplicates.matching import near_duplicates
from mammozoo.plugins import registry

PICTURE = Path(__file__).parent / "twins.png"
CASES = (("44", "65"), ("341", "356"))


def main(root: Path) -> None:
    """The first near-duplicates that the two cases of each pair share."""
    dataset = registry().get("datasets", "bus-bra")(root)
    figure = Figure(figsize=(9.2, 4.1), layout="constrained")
    for column, cases in enumerate(CASES):
        samples = [sample for sample in dataset.samples() if sample.patient in cases]
        images = [dataset.read(sample) for sample in samples]
        pairs = near_duplicates(
            collect([fingerprint(image) for image in images]), [sample.patient for sample in samples]
        )
        twins = next(pair for pair in pairs if samples[pair.i].patient != samples[pair.j].patient)
        for side, place in enumerate((twins.i, twins.j)):
            one, axes = samples[place], figure.add_subplot(1, 4, 1 + 2 * column + side)
            axes.imshow(images[place], cmap="gray", vmin=0, vmax=255)
            part = ("tested", "in training")[side]
            # Read on a phone, at a third of this.
            axes.set_title(f"{part}\npatient {one.patient}\n{one.label}", fontsize=17)
            axes.set_axis_off()
    figure.savefig(PICTURE, dpi=100, bbox_inches="tight", metadata={"Software": None})
    Image.open(PICTURE).convert("L").quantize(48).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
