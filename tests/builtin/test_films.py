"""The steps `polarity` and `breast` on drawn films, whose breast is known, and on real ones."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.data.dataset import Sample
from mammozoo.data.io.breast import look_at
from mammozoo.data.preprocessing import Input
from mammozoo.data.quality.films import film_findings
from mammozoo.data.quality.survey import ImageFacts
from mammozoo.data.transforms import build
from mammozoo.errors import UsageError

Pixels = npt.NDArray[Any]
H, W = 240, 180
Y, X = np.mgrid[:H, :W]


def film(right: bool = False, label: bool = True, seed: int = 0) -> tuple[Pixels, Pixels]:
    """(H, W) in [0, 1] on black ground, and where the breast is: half an ellipse with clouds, a label and a paddle's edge."""
    rng = np.random.default_rng(seed)
    breast = (X / 110) ** 2 + ((Y - 130) / 85) ** 2 < 1
    clouds = np.asarray(
        Image.fromarray(rng.uniform(0, 1, (9, 7)).astype(np.float32)).resize((W, H), Image.Resampling.BICUBIC)
    )
    shown = np.where(breast, 0.35 + 0.5 * clouds, 0) + np.abs(rng.normal(0, 0.008, (H, W)))
    if label:
        shown[12:34, 130:165] = np.where((X[12:34, 130:165] // 3) % 2, 1, 0.05)
        shown[:, 150:151] += 0.1
    shown = np.clip(shown, 0, 1)
    return (shown[:, ::-1], breast[:, ::-1]) if right else (shown, breast)


def as_jpeg(shown: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(shown * 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def framed(shown: Pixels, level: float, width: int) -> Pixels:
    result = np.full((H + 2 * width, W + 2 * width), float(level))
    result[width:-width, width:-width] = shown
    return result


FORMS = {
    "uint8": lambda shown: np.rint(shown * 255).astype(np.uint8),
    "12 bits in 16": lambda shown: np.rint(shown * 4095).astype(np.uint16),
    "float": lambda shown: (shown * 7 - 3).astype(np.float32),
    "JPEG": as_jpeg,
    "faint": lambda shown: np.rint(60 + 50 * shown).astype(np.uint8),
    "white frame": lambda shown: as_jpeg(framed(shown, 1, 9)),
    "black frame": lambda shown: as_jpeg(framed(shown, 0, 7)),
    "grey frame": lambda shown: as_jpeg(framed(shown, 0.5, 20)),
    "large": lambda shown: np.kron(np.rint(shown * 255).astype(np.uint8), np.ones((4, 4), np.uint8)),
    "colour": lambda shown: np.repeat(np.rint(shown * 255).astype(np.uint8)[..., None], 3, axis=2),
}


def apply(text: str, pixels: Pixels) -> Pixels:
    return build(text)(pixels if pixels.ndim == 3 else pixels[..., None], np.random.default_rng(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("label", [False, True])
def test_polarity_and_breast_in_every_form(form: str, right: bool, label: bool) -> None:
    shown, breast = film(right, label)
    for inverted in (False, True):
        pixels = FORMS[form](1 - shown if inverted else shown)
        found = look_at(pixels)
        assert found.inverted is inverted and found.on_right is right and found.breast is not None
        stretched = np.asarray(Image.fromarray(found.breast).resize(pixels.shape[1::-1]))
        edge = (stretched.shape[0] - H) // 2 if "frame" in form else 0
        inside = stretched[edge : stretched.shape[0] - edge, edge : stretched.shape[1] - edge]
        truth = np.asarray(Image.fromarray(breast).resize(inside.shape[::-1]))
        assert inside[truth].mean() > 0.98 and inside[~truth].mean() < 0.15
        same = (
            apply("polarity", pixels).astype(float)[..., 0],
            FORMS[form](shown).astype(float).reshape(*pixels.shape[:2], -1)[..., 0],
        )
        same = (same[0][edge:-edge, edge:-edge], same[1][edge:-edge, edge:-edge]) if edge else same
        assert np.corrcoef(same[0].ravel(), same[1].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("kind", ["crop", "fan", "noise", "constant"])
def test_a_picture_without_ground_stays(kind: str, negative: bool) -> None:
    shown, _ = film()
    pixels = {
        "crop": FORMS["uint8"](shown[80:180, 5:75]),
        "fan": FORMS["uint8"](0.1 + 0.5 * np.random.default_rng(3).rayleigh(0.4, (H, W)).clip(0, 1)),
        "noise": np.random.default_rng(1).integers(0, 256, (40, 50)).astype(np.uint8),
        "constant": np.full((40, 50), 77, np.uint8),
    }[kind]
    pixels = 255 - pixels if negative else pixels
    for text in ("polarity", "breast", "breast:flip=right"):
        np.testing.assert_array_equal(apply(text, pixels)[..., 0], pixels)


def test_ultrasound_is_not_inverted() -> None:
    """A bright fan with black corners, as a sector scan."""
    fan = np.hypot(Y + 20, X - 90) < 230
    fan &= np.abs(np.arctan2(X - 90, Y + 20)) < 0.5
    picture = np.where(fan, np.random.default_rng(3).rayleigh(0.25, (H, W)).clip(0, 1), 0)
    assert not look_at(FORMS["uint8"](picture)).inverted


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("inverted", [False, True])
def test_breast_crops_removes_labels_and_flips(right: bool, inverted: bool) -> None:
    shown, breast = film(right)
    pixels = FORMS["uint8"](1 - shown if inverted else shown)
    result = apply("breast:flip=left", pixels)[..., 0]
    height, width = np.ptp(np.nonzero(breast), axis=1) + 1
    assert height <= result.shape[0] < height + 22 and width <= result.shape[1] < width + 22
    assert result[:, :10].mean() > result[:, -10:].mean() + 50  # the chest wall is on the left
    whole = apply("breast:margin=1", pixels)[..., 0]
    assert whole.shape == (H, W)
    assert not whole[:40, :40].any() and not whole[:40, -40:].any()  # the label
    kept = np.abs(whole[breast].astype(int) - FORMS["uint8"](shown)[breast])
    assert np.mean(kept <= 1) > 0.99  # 8 bits keep their grey levels


def test_deep_films_lose_no_contrast_to_a_label() -> None:
    shown, breast = film()
    deep = np.rint(shown * 1000).astype(np.uint16)
    deep[15:30, 135:160] = 65535
    tissue = apply("breast:margin=1", deep)
    assert tissue.dtype == np.uint8 and np.ptp(tissue[..., 0][breast]) == 255
    prepared = Input(size=(64, 64), preprocess=("breast",)).preparer()(deep)
    assert prepared.max() > 200 and prepared.std() > 40


@pytest.mark.parametrize(
    "steps", [("breast:flip=left",), ("polarity", "breast:flip=left"), ("breast:flip=left", "clahe")]
)
def test_the_lesion_moves_along(steps: tuple[str, ...]) -> None:
    """A bright disc on a film whose breast is on the right: mask, box and `lesion` follow it through the crop and the flip."""
    shown, _ = film(right=True)
    disc = np.hypot(Y - 150, X - 120) < 9
    pixels = FORMS["12 bits in 16"](np.where(disc, 1, 0.6 * shown))
    input = Input(size=(200, 160), preprocess=steps)
    prepared = input.preparer()(pixels)[..., 0]
    mask = input.fit_mask(disc, image=pixels)
    assert 200 < mask.sum() < 1600
    assert prepared[mask].min() > np.percentile(prepared[~mask], 99) - 20
    with pytest.raises(UsageError, match="give the image"):
        input.fit_mask(disc)
    box = (111, 141, 130, 160)
    crop = Input(size=(40, 40), preprocess=(*steps, "lesion")).preparer()(pixels, box)[..., 0]
    assert crop[15:25, 15:25].min() > 240
    assert input.cropped(pixels).shape[0] / input.cropped(pixels).shape[1] == pytest.approx(175 / 116, rel=0.1)


def test_real_films(local_data) -> None:
    """Every twentieth of 802 mammograms: 9 are inverted, and the negative of each is judged the other way round."""
    paths = sorted((local_data / "data" / "mammograms_640").rglob("*.jpg"))[::20]
    if len(paths) != 41:
        pytest.skip("needs the 802 mammograms")
    found = 0
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("L"))
        film = look_at(pixels)
        found += film.inverted
        assert look_at(255 - pixels).inverted is not film.inverted and film.breast is not None
    assert found == 9


def test_data_check_finds_shortcuts_of_films() -> None:
    """Inverted films and labels that belong to a class are named with their shares; without them there is no finding."""

    def findings(inverted: bool, label: bool, surely: bool = False) -> dict[str, Any]:
        facts = []
        for number in range(16):
            malignant = number % 2 == 1
            shown, _ = film(number % 4 > 1, label and (malignant or surely), seed=number)
            seen = look_at(FORMS["uint8"](1 - shown if inverted and malignant else shown))
            facts.append(ImageFacts(Sample(f"{number}.png", "malignant" if malignant else "benign"), (), film=seen))
        return {one.kind: one for one in film_findings(facts, surely=surely)}

    assert findings(False, False) == findings(False, False, surely=True) == {}
    told = findings(True, False)["inverted-film"]
    assert told.severity == "warning" and len(told.files) == 8 and "0 of 8 benign, 8 of 8 malignant" in told.detail
    assert "instead of the tissue" in told.detail
    labelled = findings(False, True)
    assert labelled.keys() == {"corner-label"} and len(labelled["corner-label"].files) == 8
    usual = findings(False, True, surely=True)["corner-label"]  # on every film, as it should be
    assert usual.severity == "info" and len(usual.files) == 16


@pytest.mark.parametrize("small", [False, True])
def test_data_check_looks_at_images_as_films(small: bool, command, tmp_path) -> None:
    """Those of fewer than 128 pixels are none: nobody tells what they show."""
    for number in range(12):
        label = "benign" if number % 2 else "malignant"
        shown, _ = film(seed=number)
        (tmp_path / label).mkdir(exist_ok=True)
        picture = Image.fromarray(FORMS["uint8"](1 - shown if number % 2 else shown))
        picture.resize((W // 2, H // 2) if small else (W, H)).save(tmp_path / label / f"{number}.png")
    found = command("data", "check", "folder", "--root", ".", "--json").json["findings"]
    inverted = [name for one in found if one["kind"] == "inverted-film" for name in one["files"]]
    assert len(inverted) == (0 if small else 6) and all(name.startswith("benign/") for name in inverted)
