"""Lesion boxes, the crop around them, and the step `lesion` from an image on disk to the network's pixels."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mammozoo import Sample, UsageError
from mammozoo.data.decoding import decode, decode_cached
from mammozoo.data.io.regions import (
    Region,
    box_of_circle,
    box_of_mask,
    box_of_outline,
    clip_box,
    draw_outlines,
    join_boxes,
)
from mammozoo.data.loaded import open_dataset
from mammozoo.data.preprocessing import Input, apply_steps

SHAPE = (100, 200)  # of the images below: height, width
BOX = (50, 40, 70, 50)  # 20 wide, 10 high


def test_boxes_of_masks_outlines_and_circles() -> None:
    mask = np.zeros((8, 9), np.bool_)
    assert box_of_mask(mask) is None
    mask[2, 3] = mask[5, 7] = True
    assert box_of_mask(mask) == (3, 2, 8, 6)
    assert box_of_outline([(3, 2), (7.9, 2), (5, 5.2)]) == (3, 2, 8, 6)
    assert box_of_outline([(4, 6)]) == (4, 6, 5, 7)
    assert box_of_circle(10, 20, 3) == (7, 17, 14, 24)
    assert join_boxes([(1, 5, 3, 7), (2, 2, 9, 6)]) == (1, 2, 9, 7)
    assert join_boxes([]) is None
    assert clip_box((-3, 5, 4, 300), SHAPE) == (0, 5, 4, 100)
    assert clip_box((200, 5, 210, 10), SHAPE) is None


def test_a_drawn_outline_has_the_box_of_its_points_and_its_inside() -> None:
    outline = [(3, 2), (7, 2), (7, 5), (3, 5)]
    mask = draw_outlines([outline, [(0, 0)]], (8, 9))
    assert mask[2:6, 3:8].all() and mask[0, 0]
    assert mask.sum() == 4 * 5 + 1
    assert box_of_mask(draw_outlines([outline], (8, 9))) == box_of_outline(outline)
    assert not draw_outlines([[(20, 20), (30, 20), (30, 30)]], (8, 9)).any()


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (Region(), BOX),
        (Region(margin=0.1), (48, 39, 72, 51)),  # 2 pixels of 20, 1 of 10
        (Region(pixels=10), (40, 30, 80, 60)),
        (Region(margin=0.1, pixels=3), (45, 36, 75, 54)),
        (Region(square=True), (50, 35, 70, 55)),
        (Region(pixels=10, square=True), (40, 25, 80, 65)),
        (Region(size=30), (45, 30, 75, 60)),
        (Region(size=8), (56, 41, 64, 49)),  # smaller than the lesion
    ],
)
def test_window_about_a_box_in_the_middle(region: Region, expected: Any) -> None:
    assert region.window(BOX, SHAPE) == expected


def test_at_the_border_a_margin_is_cut_off_and_a_square_moves_inwards() -> None:
    corner = (190, 0, 200, 20)
    assert Region(pixels=10).window(corner, SHAPE) == (180, 0, 200, 30)
    assert Region(square=True).window(corner, SHAPE) == (180, 0, 200, 20)
    assert Region(size=40).window(corner, SHAPE) == (160, 0, 200, 40)
    assert Region(size=40).window((0, 95, 5, 120), SHAPE) == (0, 60, 40, 100)  # a box that leaves the image


def test_an_image_smaller_than_the_square_is_padded_about_its_middle_and_a_crop_is_a_copy() -> None:
    image = np.full((*SHAPE, 3), 7, np.uint16)
    crop = Region(size=110).crop(image, BOX)
    assert crop.shape == (110, 110, 3)
    assert crop.dtype == np.uint16
    assert not crop[:5].any() and not crop[105:].any()
    assert (crop[5:105] == 7).all()
    image = np.arange(100 * 200).reshape(SHAPE)
    crop = Region().crop(image, BOX)
    np.testing.assert_array_equal(crop, image[40:50, 50:70])
    crop[:] = 0
    assert image[40:50, 50:70].all()


@pytest.mark.parametrize("box", [(50, 40, 50, 50), (200, 0, 210, 10), (-9, 3, 0, 6)])
def test_a_box_without_a_pixel_in_the_image_is_refused(box: Any) -> None:
    with pytest.raises(UsageError, match="outside the image of 200 × 100"):
        Region().window(box, SHAPE)


def test_options_that_contradict_each_other_are_refused() -> None:
    for options in ({"size": 30, "margin": 0.1}, {"size": 30, "square": True}, {"pixels": -1}):
        with pytest.raises(UsageError, match="lesion"):
            Region(**options)
    with pytest.raises(UsageError, match=r"no option 'marjin'.*margin"):
        Input(size=(8, 8), preprocess=("lesion:marjin=1",)).preparer()
    with pytest.raises(UsageError, match="twice"):
        Input(size=(8, 8), preprocess=("lesion", "clahe", "lesion:size=9")).preparer()


# ---------------------------------------------------------------- the step in an input


def picture() -> np.ndarray[Any, Any]:
    """A dark image with a bright lesion at `BOX`."""
    image = np.full(SHAPE, 40, np.uint8)
    image[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 200
    return image


def test_the_lesion_alone_comes_out_stretched_before_it_is_cut() -> None:
    prepare = Input(size=(10, 20), preprocess=("lesion",)).preparer()
    assert (prepare(picture(), BOX) == 200).all()
    np.testing.assert_array_equal(prepare(picture()), Input(size=(10, 20)).preparer()(picture()))
    assert Input(size=(10, 20)).preparer()(picture(), BOX).min() == 40  # no such step: the box is nothing to it
    deep = np.zeros(SHAPE, np.uint16)
    deep[0, 0], deep[40:50, 50:70] = 4000, 2000
    assert (Input(size=(10, 20), preprocess=("lesion",)).preparer()(deep, BOX) == 128).all()


def test_steps_run_in_their_order_before_and_after_the_lesion() -> None:
    image = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    before = Input(size=(10, 20), preprocess=("clahe", "lesion")).preparer()(image, BOX)
    after = Input(size=(10, 20), preprocess=("lesion", "clahe")).preparer()(image, BOX)
    whole = Input(size=SHAPE, preprocess=("clahe",)).preparer()(image)
    np.testing.assert_array_equal(before, whole[40:50, 50:70])
    assert not np.array_equal(before, after)


def test_a_mask_is_cut_as_its_image_is_and_passes_no_other_steps() -> None:
    mask = picture() > 100
    input = Input(size=(30, 40), preprocess=("lesion:pixels=10",), fit="stretch")
    fitted = input.fit_mask(mask, BOX)
    np.testing.assert_array_equal(fitted, input.preparer()(picture(), BOX)[..., 0] > 120)
    assert fitted.sum() == 10 * 20  # the window is 40 × 30, so nothing is scaled
    assert input.fit_mask(mask).sum() < 50  # without a box it stays whole, as the image does

    def halved(pixels: Any, rng: Any) -> Any:
        return pixels[::2, ::2]

    def inverted(pixels: Any, rng: Any) -> Any:
        return 255 - pixels

    pixels = mask.astype(np.uint8)[..., None] * 255
    _, moved = apply_steps([halved, inverted], pixels, None, pixels)
    np.testing.assert_array_equal(moved[..., 0] > 0, mask[::2, ::2])
    with pytest.raises(UsageError, match="'lesion' first"):
        apply_steps([halved, Region()], pixels, BOX)


# ---------------------------------------------------------------- the step in a data set


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """Two images with a mask each, whose lesions lie in different places; the second has a box of its own."""
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    for number in range(2):
        Image.fromarray(np.roll(picture(), 30 * number, axis=1)).save(tmp_path / f"{number}.png")
    Image.fromarray((picture() > 100).astype(np.uint8) * 255).save(tmp_path / "0_mask.png")
    write_table(tmp_path, "80,40,100,50")
    return tmp_path / "table.csv"


def write_table(folder: Path, box: str) -> None:
    text = "path,label,mask,left,top,right,bottom\n0.png,benign,0_mask.png,,,,\n" + f"1.png,malignant,,{box}\n"
    (folder / "table.csv").write_text(text)


LESIONS = Input(size=(32, 32), preprocess=("lesion",))


def test_boxes_come_from_the_sample_or_its_mask_and_lesions_of_one_file_are_samples(table: Path) -> None:
    dataset = open_dataset("csv", table)
    samples = list(dataset.samples())
    assert [dataset.box(sample) for sample in samples] == [BOX, (80, 40, 100, 50)]
    assert dataset.box(Sample("0.png", "benign")) is None
    images = decode(dataset, samples, LESIONS)
    assert (images.pixels == 200).all()
    whole = decode(dataset, samples, Input(size=(32, 32)))
    assert np.array_equal(images.fingerprints.whole, whole.fingerprints.whole)  # of the whole images
    assert not np.array_equal(images.features, whole.features)  # of the crops
    assert dataset.path("0.png#2") == dataset.path("0.png#mass-1") == table.parent / "0.png"
    assert dataset.path("ward#3/0.png") == table.parent / "ward#3/0.png"
    assert dataset.read(Sample("0.png#2", "benign")).shape == SHAPE


def test_another_box_is_another_entry_of_the_cache(table: Path) -> None:
    def opened() -> Any:
        dataset = open_dataset("csv", table)
        return decode_cached(dataset, list(dataset.samples()), LESIONS).pixels

    def entries() -> int:
        return len(list((table.parent / "cache" / "arrays").glob("*")))

    first = opened()
    assert np.array_equal(opened(), first) and entries() == 1
    write_table(table.parent, "20,40,40,50")
    moved = opened()
    assert entries() == 2
    assert (moved[0] == 200).all() and (moved[1] == 40).all()
    Image.fromarray(np.eye(100, 200, dtype=np.uint8) * 255).save(table.parent / "0_mask.png")
    assert opened()[0].min() == 40 and entries() == 3


def test_a_sample_without_a_lesion_or_with_a_box_outside_is_named(table: Path) -> None:
    dataset = open_dataset("csv", table)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(table.parent / "0_mask.png")
    with pytest.raises(UsageError, match=r"1 of 2 samples have neither.*the first is '0\.png'"):
        decode(dataset, list(dataset.samples()), LESIONS)
    Image.fromarray((picture() > 100).astype(np.uint8) * 255).save(table.parent / "0_mask.png")
    write_table(table.parent, "300,40,310,50")
    dataset = open_dataset("csv", table)
    with pytest.raises(UsageError, match=r"'1\.png': The lesion's box \(300, 40, 310, 50\)"):
        decode(dataset, list(dataset.samples()), LESIONS)


def test_predict_warns_once_that_files_count_as_cropped(tiny_run, tmp_path, caplog) -> None:
    from mammozoo.evaluation.predict import predict_images
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model

    model, config = load_model(tiny_run.path)
    for name in "ab":
        Image.fromarray(picture()).save(tmp_path / f"{name}.png")
    files, engine = sorted(tmp_path.glob("*.png")), choose_engine("cpu", "fp32")
    plain, _ = predict_images(model, config, files, engine)
    assert not caplog.records
    cutting = config.model_copy(update={"input": config.input.model_copy(update={"preprocess": ("lesion:size=50",)})})
    with caplog.at_level(logging.WARNING):
        answers, _ = predict_images(model, cutting, files, engine)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "lesion:size=50" in said and "such a crop" in said
    assert [a.probabilities for a in answers] == [a.probabilities for a in plain]


@pytest.mark.parametrize("options", [{"size": 10**6}, {"margin": 1e300}, {"margin": float("nan")}, {"pixels": 10**9}])
def test_no_option_asks_for_all_memory(options: dict[str, float]) -> None:
    """A model from elsewhere brings its crop, as it brings its size."""
    with pytest.raises(UsageError, match="above"):
        Region(**options)
    with pytest.raises(UsageError, match="limit"):
        Region(margin=1000, square=True).crop(np.zeros((64, 64), np.uint8), (0, 0, 40, 40))
