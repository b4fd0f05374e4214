"""Mammograms as people have them: 16 bits, turned by EXIF, two lesions on a film, masks of another size, empty or at the border."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.data.decoding import decode
from mammozoo.data.io.images import UnreadableImageError
from mammozoo.data.joined import open_dataset
from mammozoo.data.preprocessing import Input
from mammozoo.data.quality.check import Check, check
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.files import write_table
from mammozoo.progress import Progress

LESION = Input(size=(32, 32), preprocess=("min-max", "clahe", "lesion", "min-max"))


class Films:
    """A table of eight breasts with a mass, as PNG of 16 bits with masks, to be changed by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, []
        drawn = open_dataset("phantom:n=40,modality=mammography", None)
        ill = [sample for sample in drawn.samples() if sample.label != "normal" and sample.meta["view"] == "CC"][:8]
        for number, sample in enumerate(ill):
            mask = drawn.mask(sample)
            assert mask is not None
            self.save(f"{number}_mask.png", mask)
            self.save(f"{number}.png", drawn.read(sample))
            row = {
                "path": f"{number}.png",
                "label": ("benign", "malignant")[number % 2],
                "patient": str(sample.patient),
            }
            self.rows.append(row | {"mask": f"{number}_mask.png"})

    def save(self, name: str, pixels: npt.NDArray[Any], **options: Any) -> None:
        Image.fromarray(pixels).save(self.folder / name, **options)

    def pixels(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(Image.open(self.folder / name))

    def check(self) -> Check:
        table = write_table(self.folder / "table.csv", self.rows)
        return check(open_dataset("csv:modality=mammography", table), table, Progress())

    def crops(self) -> npt.NDArray[np.uint8]:
        dataset = open_dataset("csv:modality=mammography", write_table(self.folder / "table.csv", self.rows))
        return decode(dataset, list(dataset.samples()), LESION).pixels


@pytest.fixture
def films(tmp_path: Path) -> Films:
    return Films(tmp_path)


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_two_lesions_on_one_film_are_no_copies_and_contradict_nothing(films: Films, label: str) -> None:
    films.rows.append(films.rows[0] | {"path": "0.png#2", "label": label})
    result = films.check()
    assert not result.pairs and not result.groups and not result.failed
    assert {f.kind for f in result.findings}.isdisjoint({"near-duplicates", "label-conflict"})
    assert all(len(f.files) == len({*f.files}) for f in result.findings)
    films.rows[1]["mask"], films.rows[-1]["path"] = "", "1.png#2"
    films.save("1.png", films.pixels("0.png"))  # a copy under another name is one, and so is what is on it
    result = films.check()
    assert ("0.png", "1.png") in [f.files for f in result.findings if f.kind == "near-duplicates"]


def test_a_film_in_two_official_parts_is_a_leak_though_its_lesions_are_two(films: Films) -> None:
    films.rows = [row | {"part": "train"} for row in films.rows]
    films.rows.append(films.rows[0] | {"path": "0.png#2", "patient": "", "part": "test"})
    assert "parts-share-near-duplicate" in [finding.kind for finding in films.check().findings]


@pytest.mark.parametrize("shape", [(128, 96), (192, 256), (256, 191)], ids=["half", "turned", "one pixel"])
def test_a_mask_of_another_size_is_refused_where_a_lesion_is_cropped(films: Films, shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[60:80, 60:80] = True  # in the film as well, so that the crop would be a wrong place
    films.save("3_mask.png", mask)
    with pytest.raises(
        UnreadableImageError, match=f"'3.png' has {shape[1]} × {shape[0]} pixels, and its image 192 × 256"
    ):
        films.crops()


def test_a_film_that_exif_turns_has_the_mask_of_what_is_shown(films: Films) -> None:
    before = films.crops()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    eight = (films.pixels("0.png") >> 4).astype(np.uint8)
    films.save("0.png", eight)
    upright = films.crops()
    films.save("0.png", np.ascontiguousarray(np.rot90(eight)), exif=exif)
    assert np.array_equal(films.crops(), upright) and upright.shape == before.shape


def test_lesions_at_the_border_and_of_one_pixel_are_cropped_and_empty_masks_refused(films: Films) -> None:
    mask = np.zeros((256, 192), bool)
    mask[:3, -2:] = True
    films.save("0_mask.png", mask)
    mask[:] = False
    mask[255, 0] = True
    films.save("1_mask.png", mask)
    assert films.crops().shape == (8, 32, 32, 1)
    films.save("2_mask.png", np.zeros((256, 192), bool))
    with pytest.raises(UsageError, match=r"1 of 8 samples have neither.*'2\.png'"):
        films.crops()
    empty = [finding for finding in films.check().findings if finding.kind == "empty-mask"]
    assert [(finding.severity, finding.files) for finding in empty] == [("warning", ("2_mask.png",))]


@pytest.mark.parametrize("inside", [True, False])
def test_a_table_whose_paths_start_elsewhere_says_where_they_are_right(
    films: Films, tmp_path: Path, monkeypatch, inside
) -> None:
    (tmp_path / "tables").mkdir()
    if not inside:
        films.rows = [row | {"path": row["path"].replace(".png", ".jpg"), "mask": ""} for row in films.rows]
    table = write_table(tmp_path / "tables" / "list.csv", films.rows)
    monkeypatch.chdir(os.sep)
    with pytest.raises(NotFoundError) as refused:
        open_dataset("csv", table).samples()
    assert (f"'{tmp_path}': put the table there" in str(refused.value)) is inside
