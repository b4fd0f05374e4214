"""What of a folder is an image, a mask or neither: in the layouts that people have, and counted to the last file."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo.data.io.listing import is_system, list_images, masks_beside
from mammozoo.data.published import files_under
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.evaluation.predict import find_images
from mammozoo_datasets.folder import Folder


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 128 + b"DICM" if not path.suffix or path.suffix == ".5" else b"")
    return root


def pairs(root: Path) -> dict[str, list[str]]:
    listing = list_images(root)
    return {
        image.relative_to(root).as_posix(): [mask.relative_to(root).as_posix() for mask in listing.masks[image]]
        for image in listing.images
    }


MASKS = """1_mask.png, 1_Mask.PNG, 1-mask.png, 1 mask.png, 1.mask.png, 1_masks.png, 1_mask_1.png, 1_mask(2).png, 1_msk.png
1mask.png, mask_1.png, MASK 1.png, Mask1.tif, 1_lesion_mask.png, 1_tumor-mask.png, 1_segmentation.png, 1_seg.png, 1_gt.png
1_GroundTruth.png, 1_ground_truth.png, masks/1.png, Masks/1.png, mask/1_mask.png, lesion_masks/1.png, LesionMasks/1.png, GT/1.png
segmentations/1.jpg, annotations/1.png, ground truth/1.png"""


@pytest.mark.parametrize("mask", MASKS.replace("\n", ", ").split(", "))
def test_a_mask_in_any_spelling_belongs_to_its_image(tmp_path: Path, mask: str) -> None:
    touch(tmp_path, "benign/1.png", "benign/2.png", f"benign/{mask}")
    assert pairs(tmp_path) == {"benign/1.png": [f"benign/{mask}"], "benign/2.png": []}
    assert masks_beside(tmp_path / "benign" / "1.png") == [tmp_path / "benign" / mask]
    assert masks_beside(tmp_path / "benign" / "2.png") == []


LIKE_MASKS = "damask.png unmasked.png masked_1.png gt.png seg_1.png roi.png 1_gt.png segmented.png"


@pytest.mark.parametrize("name", LIKE_MASKS.split())
def test_a_name_that_only_looks_like_a_mask_is_an_image(tmp_path: Path, name: str) -> None:
    assert [*pairs(touch(tmp_path, f"benign/{name}"))] == [f"benign/{name}"]


def test_images_and_masks_in_folders_of_their_own(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "images/b/1.png",
        "masks/b/1.png",
        "images/b/2.png",
        "masks/b/2_mask.png",
        "masks/b/mask_2.png",
        "masks/m/1.png",
    )
    assert pairs(tmp_path) == {
        "images/b/1.png": ["masks/b/1.png"],
        "images/b/2.png": ["masks/b/2_mask.png", "masks/b/mask_2.png"],
    }
    assert list_images(tmp_path).notes == ["1 masks left out, without an image: 'masks/m/1.png'."]
    touch(tmp_path / "by case", "P1/image.png", "P1/mask.png", "P2/image_01.png", "P2/mask_01.png")
    assert pairs(tmp_path / "by case") == {"P1/image.png": ["P1/mask.png"], "P2/image_01.png": ["P2/mask_01.png"]}
    assert masks_beside(touch(tmp_path, "x/images/1.png", "x/masks/1.png") / "x/images/1.png") == [
        tmp_path / "x/masks/1.png"
    ]


SYSTEM = """._1.png\n.DS_Store\n.hidden/1.png\n__MACOSX/1.png\n@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg\nThumbs.db\ndesktop.ini
#recycle/1.png\n$RECYCLE.BIN/1.png\nSystem Volume Information/1.png\nlost+found/1.png\nDICOMDIR\n~$list.xlsx""".splitlines()


def test_system_files_and_others_are_counted_by_every_reader(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.png", "m/IM000001", "m/1.2.840.5", "m/note.txt", *(f"b/{name}" for name in SYSTEM))
    assert all(is_system(name.partition("/")[0]) for name in SYSTEM)
    listing = list_images(tmp_path)
    assert [path.name for path in listing.images] == ["1.png", "1.2.840.5", "IM000001"]
    counts = [note.partition(" ")[0] for note in listing.notes]
    assert counts == ["1", str(len(SYSTEM))] and "'m/note.txt'" in listing.notes[0]
    assert find_images([str(tmp_path)]) == listing.images
    dataset, found = Folder(tmp_path), files_under(tmp_path, {".png"})
    assert [sample.image for sample in dataset.samples()] == ["b/1.png", "m/1.2.840.5", "m/IM000001"]
    assert dataset.notes == listing.notes
    assert found == [tmp_path / "b/1.png"] and found.notes == listing.notes[1:]


def test_links_are_followed_once_and_bad_ones_are_named(tmp_path: Path) -> None:
    data = touch(tmp_path / "data", "b/1.png", "m/1.png")
    touch(tmp_path / "disk", "2.png", "deep/3.png")
    targets = {
        "b/more": tmp_path / "disk",
        "m/up": tmp_path,
        "m/loop": data,
        "m/again": data / "m",
        "b/gone.png": Path("no"),
    }
    for name, target in targets.items():
        (data / name).symlink_to(target)
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "disk")
    (data / "b" / "linked.png").symlink_to(tmp_path / "disk" / "2.png")
    os.mkfifo(data / "m" / "pipe.png")
    listing = list_images(data)
    assert [path.relative_to(data).as_posix() for path in listing.images] == [
        "b/1.png", "b/linked.png", "b/more/2.png", "b/more/deep/3.png", "m/1.png",
    ]  # fmt: skip
    said = " ".join(listing.notes)
    assert all(
        f"'{name}'" in said for name in ("m/up", "m/loop", "m/again", "b/more/round", "b/gone.png", "m/pipe.png")
    )
    dataset = Folder(data)
    assert len(dataset.samples()) == 5 and dataset.notes == listing.notes


@pytest.fixture
def open_folder() -> Path:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_locked_folder_is_named_and_loses_no_other(open_folder: Path) -> None:
    touch(open_folder, "b/1.png", "b/locked/2.png", "m/1.png")
    (open_folder / "b" / "locked").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may open everything
    try:
        listing = list_images(open_folder)
    finally:
        os.seteuid(os.getuid())
    (open_folder / "b" / "locked").chmod(0o755)
    assert [path.parent.name for path in listing.images] == ["b", "m"]
    assert listing.notes == ["1 folders left out, they cannot be opened: 'b/locked'."]


@pytest.mark.parametrize(
    "name", ["scan[1].png", "a#2.png", "a.png#2.png", "what?.png", "two*.png", "ä b.png", "{x}.png"]
)
def test_a_name_is_a_name_whatever_signs_are_in_it(tmp_path: Path, name: str) -> None:
    for label in ("b[1]", "m#2"):
        (tmp_path / label).mkdir()
        Image.fromarray(np.full((20, 20), 7, np.uint8)).save(tmp_path / label / name)
    assert find_images([str(tmp_path / "b[1]" / name)]) == [tmp_path / "b[1]" / name]
    assert find_images([str(tmp_path / "b[1]" / "*.png")]) == [tmp_path / "b[1]" / name]
    dataset = Folder(tmp_path)
    assert [dataset.read(sample).shape for sample in dataset.samples()] == [(20, 20), (20, 20)]


@pytest.mark.parametrize("text", ["", "~nobody-of-this-name/x", "a\0b", "x" * 300, "a**b/*.png"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises((UsageError, NotFoundError)):
        find_images([text])


PARTS = ("train val test", "Training Validation Testing", "train_set valid TEST", "fold1 fold2")
LAYOUTS = (
    "{part}/{label}/{n}.png",
    "{part}/images/{label}/{n}.png",
    "images/{part}/{label}/{n}.png",
    "{label}/{part}/{n}.png",
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parts", [text.split() for text in PARTS])
def test_parts_are_parts(tmp_path: Path, layout: str, parts: list[str]) -> None:
    names = [layout.format(part=part, label=label, n=n) for part in parts for label in ("b", "m") for n in range(2)]
    touch(tmp_path, *names, *(name.replace(".png", "_mask.png") for name in names))
    dataset = Folder(tmp_path)
    samples = dataset.samples()
    assert dataset.classes == ("b", "m")
    assert sorted(sample.image for sample in samples) == sorted(names) and all(
        len(sample.masks) == 1 for sample in samples
    )
    kinds = ["fold1", "fold2"] if parts[0] == "fold1" else ["test", "train", "val"]
    assert sorted({*(str(value) for sample in samples for value in sample.meta.values())}) == kinds
    assert any("split.official" in note for note in dataset.notes)


NO_CLASSES = (
    "train/1.png test/1.png",
    "images/1.png masks/1.png",
    "benign/1.png test/1.png",
    "train/b/1.png m/1.png",
    "b/1.png",
)


@pytest.mark.parametrize("names", NO_CLASSES)
def test_folders_that_are_no_classes_are_refused(tmp_path: Path, names: str) -> None:
    touch(tmp_path, *names.split())
    with pytest.raises(UsageError, match=r"root/<class>/<image>"):
        Folder(tmp_path)
