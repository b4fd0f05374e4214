"""Out-of-distribution check: features by hand, images that it warns about, images that it accepts."""

import numpy as np
import pytest

from mammozoo.data.decoding import decode
from mammozoo.data.ood import MIN_IMAGES, NAMES, Profile, features, fit_profile, ood_warnings
from mammozoo.data.preprocessing import Input
from mammozoo.plugins import registry


@pytest.fixture(scope="module")
def phantoms() -> list[np.ndarray]:
    dataset = registry().get("datasets", "phantom")(None, n=100)
    return [dataset.read(sample) for sample in dataset.samples()]


@pytest.fixture(scope="module")
def profile(phantoms: list[np.ndarray]) -> Profile:
    return fit_profile(np.stack([features(image) for image in phantoms[:60]]))


def _warnings(image: np.ndarray, profile: Profile | None) -> str:
    return "; ".join(ood_warnings(features(image), profile))


def _mammogram(seed: int, kind: type = np.uint8) -> np.ndarray:
    """A breast at one edge of a black film."""
    rng = np.random.default_rng(seed)
    y, x = np.linspace(-1, 1, 160)[:, None], np.linspace(0, 1, 128)[None]
    breast = np.clip(4 * (1 - (x / rng.uniform(0.4, 0.9)) ** 2 - (y / rng.uniform(0.6, 1)) ** 2), 0, 1)
    image = breast * np.clip(rng.normal(0.5, 0.05, breast.shape), 0, 1)
    return np.rint((image[:, ::-1] if seed % 2 else image) * np.iinfo(kind).max).astype(kind)


def test_features_by_hand_of_any_depth(phantoms: list[np.ndarray]) -> None:
    """Upper half white, lower half black, twice as high as wide, a quarter of it red."""
    image = np.zeros((256, 128, 3), np.uint8)
    image[:128] = 255
    image[:128, :64, 1:] = 0
    seen = dict(zip(NAMES, features(image), strict=True))
    assert (seen["short side"], seen["long side"], seen["width to height"], seen["bits"]) == (7, 8, -1, 8)
    assert seen["colour"] == pytest.approx(0.25)
    assert seen["mean"] == pytest.approx((0.299 + 1) / 4, abs=1e-4)
    assert seen["dark share"] ** 2 == pytest.approx(0.5)
    assert seen["bright share"] ** 2 == pytest.approx(0.25)
    assert seen["top minus bottom"] == pytest.approx((0.299 + 1) / 2, abs=1e-4)
    assert seen["left minus right"] == pytest.approx((0.299 - 1) / 2, abs=1e-4)
    assert seen["flat share"] ** 2 == pytest.approx(1 - 1 / 127 - 0.5 / 127, abs=0.01)
    image = np.clip(phantoms[0], 1, 254)
    image[0, 0], image[0, 1] = 0, 255  # so that stretching changes nothing
    shallow, deep = features(image), features(image.astype(np.uint16) * 16)
    assert (shallow[3], deep[3]) == (8, 12)
    np.testing.assert_allclose(np.delete(deep, 3), np.delete(shallow, 3), atol=0.01)
    assert np.isfinite(features(np.zeros((20, 20), np.uint16))).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_colour_of_any_depth(dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    image[0, 0], image[0, 1] = 0, 255
    deep = image.astype(dtype) * dtype(257) if dtype is np.uint16 else image.astype(dtype) / dtype(255)
    np.testing.assert_allclose(np.delete(features(deep), 3), np.delete(features(image), 3), atol=0.01)


def test_the_distance_is_mahalanobis() -> None:
    """With a known covariance and many images, against the definition."""
    rng = np.random.default_rng(0)
    mixing = 0.3 * rng.normal(size=(11, 11)) + 3 * np.eye(11)
    look = rng.normal(size=(5000, 11)) @ mixing.T
    seen = np.concatenate([np.full((5000, 5), 8.0), look], axis=1)
    profile = fit_profile(seen)
    covariance, centred = np.cov(look.T), look - look.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred))
    np.testing.assert_allclose(profile.distance(seen), expected, rtol=0.03)
    assert (profile.distance(seen) > profile.limit).mean() < 0.005


def test_the_limit_is_that_of_images_that_the_profile_has_not_seen() -> None:
    """In a small set the images that took part are always near."""
    rng = np.random.default_rng(0)
    seen = np.concatenate([np.full((40, 5), 8.0), rng.normal(size=(40, 11))], axis=1)
    profile = fit_profile(seen)
    assert profile.limit > 1.15 * profile.distance(seen).max()  # 1.1 is the margin
    new = np.concatenate([np.full((2000, 5), 8.0), rng.normal(size=(2000, 11))], axis=1)
    assert (profile.distance(new) > profile.limit).mean() < 0.1


def test_an_image_just_beyond_the_limit_is_warned_of(profile) -> None:
    centre = np.concatenate([profile.low[:5], profile.mean])
    away = np.zeros(16)
    away[12] = profile.scale[7]  # more fine detail: a negative has as much
    unit = away / profile.distance(centre + away)
    for times, warned in ((0.9, False), (1.1, True)):
        text = "; ".join(profile.warnings((centre + times * profile.limit * unit).astype(np.float32)))
        assert ("unlike the training images" in text) == warned


def test_its_own_kind_passes_by_a_profile_collected_while_reading_that_survives_json(phantoms, profile) -> None:
    warned = [bool(_warnings(image, profile)) for image in phantoms[60:]]
    assert sum(warned) <= 1
    text = profile.model_dump_json()
    assert len(text) < 4000
    assert Profile.model_validate_json(text) == profile
    with pytest.raises(ValueError, match="rows of 1 to 11"):
        Profile.model_validate(profile.model_dump() | {"factor": profile.factor[:-1]})
    dataset = registry().get("datasets", "phantom")(None, n=3)
    images = decode(dataset, dataset.samples(), Input(size=(32, 32)))
    np.testing.assert_array_equal(images.features, np.stack([features(image) for image in phantoms[:3]]))
    assert decode(dataset, [], Input(size=(32, 32))).features.shape == (0, len(NAMES))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda image: np.full_like(image, 80), "constant"),
        (lambda image: image[:48, :64], "much smaller than any training image (64 x 48 pixels; training 128 to 128"),
        (lambda image: np.kron(image, np.ones((8, 8), np.uint8)), "much larger"),
        (lambda image: image[:70], "much wider"),
        (lambda image: image.astype(np.uint16) * 257, "16-bit values; the model was trained on 8-bit"),
        (lambda image: 255 - image, "looks inverted"),
        (lambda image: np.stack([image, image // 2, 255 - image], axis=2), "in colour: "),
        (lambda image: np.random.default_rng(0).integers(0, 256, image.shape, np.uint8), "distance"),
        (lambda image: (image > 100).astype(np.uint8), "constant"),
        (lambda image: image // 8, "less contrast"),
        (lambda image: _mammogram(1), "more flat areas"),
        (lambda image: _mammogram(2), "unlike the training images"),
        (lambda image: _mammogram(3, np.uint16), "16-bit"),
    ],
)  # fmt: skip
def test_other_kinds_are_told_with_the_reason(phantoms: list[np.ndarray], profile: Profile, make, word: str) -> None:
    for image in phantoms[60:65]:
        assert word in _warnings(np.ascontiguousarray(make(image)), profile)


def test_grey_for_a_model_of_colour_and_what_is_safe_without_a_profile(phantoms: list[np.ndarray]) -> None:
    stained = [np.stack([image, image // 2, image], axis=2) for image in phantoms[:40]]
    profile = fit_profile(np.stack([features(image) for image in stained]))
    assert _warnings(stained[0], profile) == ""
    assert "grey: 0% of its pixels have a hue" in _warnings(phantoms[0], profile)
    assert "constant" in _warnings(np.zeros((100, 100), np.uint8), None)
    assert _warnings(phantoms[0][:20, :40], None) == "tiny (40 x 20 pixels)"
    assert _warnings(255 - phantoms[0], None) == ""


def test_profiles_of_too_few_images_or_without_polarity(phantoms: list[np.ndarray]) -> None:
    seen = np.stack([features(image) for image in phantoms[:MIN_IMAGES]])
    assert fit_profile(seen[:-1]) is None
    assert fit_profile(seen).images == MIN_IMAGES
    rng = np.random.default_rng(3)
    noise = np.stack([features(rng.integers(0, 256, (64, 64), np.uint8)) for _ in range(60)])
    assert not fit_profile(noise).polarity


def test_real_images_of_the_other_half_pass_and_their_negatives_do_not(local_data) -> None:
    dataset = registry().get("datasets", "busi")(local_data / "data" / "busi")
    images = [dataset.read(sample) for sample in dataset.samples()[::4]]
    profile = fit_profile(np.stack([features(image) for image in images[::2]]))
    assert np.mean([bool(_warnings(image, profile)) for image in images[1::2]]) <= 0.03
    assert np.mean(["looks inverted" in _warnings(255 - image, profile) for image in images[1::2]]) >= 0.95
