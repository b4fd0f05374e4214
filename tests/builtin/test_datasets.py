"""Generated images, and what all published data sets have in common."""

import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from mammozoo.data.dataset import Sample
from mammozoo.data.io.images import read_image
from mammozoo.data.loaded import open_dataset
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.testing import checks, run
from mammozoo_datasets.phantom import FINDINGS, Phantom, draw_findings

from ..helpers import python
from .trees.bcdr import bcdr_f03
from .trees.breast import breast
from .trees.bus_bra import bus_bra
from .trees.cbis_ddsm import cbis_ddsm
from .trees.cbis_ddsm import rows as cbis_rows
from .trees.inbreast import inbreast
from .trees.mini_mias import mini_mias
from .trees.pictures import breakhis, breastmnist, busi, mendeley

# ---------------------------------------------------------------- phantom


def test_phantom_samples_and_images() -> None:
    dataset = Phantom(n=50, seed=3)
    samples = dataset.samples()
    assert Counter(sample.label for sample in samples) == {"benign": 30, "malignant": 20}
    assert len({sample.patient for sample in samples}) == 50
    assert set(samples[0].meta) == set(FINDINGS)
    assert [s.label for s in samples] != [s.label for s in Phantom(n=50, seed=4).samples()]
    assert samples[:20] == Phantom(n=20, seed=3).samples()
    for sample in samples[:20]:
        image, mask = dataset.read(sample), dataset.mask(sample)
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((128, 128), np.uint8, (128, 128), np.bool_)
        assert 400 < mask.sum() < 3000
    # The image is a copy: changing it changes nothing in the data set.
    before = dataset.read(samples[0])
    dataset.read(samples[0])[:] = 0
    np.testing.assert_array_equal(dataset.read(samples[0]), before)


def test_phantom_masses_look_like_their_findings() -> None:
    dataset = Phantom(n=200)
    ratios: dict[str, list[float]] = {"parallel": [], "not parallel": []}
    contrast: dict[str, list[float]] = {echo: [] for echo in FINDINGS["echo"]}
    below: dict[str, list[float]] = {posterior: [] for posterior in FINDINGS["posterior"]}
    for sample in dataset.samples():
        image, mask = dataset.read(sample).astype(float), dataset.mask(sample)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if sample.meta["shape"] == "oval":
            ratios[sample.meta["orientation"]].append(len(columns) / len(rows))
        contrast[sample.meta["echo"]].append(image[mask].mean() - image[rows, :][:, ~mask.any(0)].mean())
        strip = image[rows[-1] + 4 : rows[-1] + 16]
        middle = columns[len(columns) // 4 : -len(columns) // 4]
        below[sample.meta["posterior"]].append(strip[:, middle].mean() - strip[:, ~mask.any(0)].mean())
    assert np.percentile(ratios["parallel"], 5) > 1 > np.percentile(ratios["not parallel"], 95)
    assert np.mean(contrast["anechoic"]) < np.mean(contrast["hypoechoic"]) < np.mean(contrast["isoechoic"]) < 0
    assert np.mean(below["enhancement"]) > np.mean(below["none"]) + 10
    assert np.mean(below["shadowing"]) < np.mean(below["none"]) - 10


def test_phantom_is_the_same_in_any_order_and_process_and_refuses(tmp_path) -> None:
    dataset = Phantom(n=8, seed=5)
    backwards = [int(dataset.read(sample).astype(int).sum()) for sample in reversed(dataset.samples())]
    code = (
        "from mammozoo_datasets.phantom import Phantom; d = Phantom(n=8, seed=5); "
        "print([int(d.read(s).astype(int).sum()) for s in d.samples()])"
    )
    assert python("-c", code, PYTHONPATH=os.pathsep.join(sys.path)).ok.out.strip() == str(backwards[::-1])
    assert len(set(backwards)) == 8
    with pytest.raises(UsageError, match="takes no --root"):
        Phantom(tmp_path)
    for options in ("n=0", "seed=-1", "n=1000000000", f"seed={2**64}", "n=nan"):
        with pytest.raises(UsageError, match=options):
            open_dataset(f"phantom:{options}", None)
    with pytest.raises(NotFoundError, match="benign/1"):
        Phantom().read(Sample("benign/1.png", "benign"))


def test_phantom_findings_follow_their_table_and_the_classes_overlap() -> None:
    """A reader who sees every descriptor is right most of the time and not always."""
    for feature, probabilities in FINDINGS.items():
        np.testing.assert_allclose(np.sum(list(probabilities.values()), axis=0), 1, err_msg=feature)
    drawn = [draw_findings(0, index) for index in range(2000)]
    benign = Counter(findings["margin"] for label, findings in drawn if label == "benign")
    for margin, (expected, _) in FINDINGS["margin"].items():
        assert abs(benign[margin] / 1200 - expected) < 0.04
    combinations = np.array([np.prod(c, axis=0) for c in itertools.product(*(t.values() for t in FINDINGS.values()))])
    ratio = combinations[:, 1] / combinations[:, 0]
    classes = np.repeat([0, 1], len(ratio))
    assert 0.95 <= roc_auc_score(classes, np.tile(ratio, 2), sample_weight=combinations.T.ravel()) <= 0.97


@pytest.mark.parametrize("modality", ["ultrasound", "mammography"])
def test_phantom_has_no_shortcut(modality) -> None:
    """Brightness and the area of the mass do not tell the class, and no two phantoms are near-duplicates."""
    dataset = Phantom(n=200, modality=modality)
    samples = [sample for sample in dataset.samples() if sample.label != "normal"]
    drawn = [(dataset.read(sample), dataset.mask(sample).sum()) for sample in samples]
    images, area = np.array([image for image, _ in drawn], np.float32), [pixels for _, pixels in drawn]
    malignant = np.array([sample.label == "malignant" for sample in samples])
    features = np.column_stack([images.mean((1, 2)), images.std((1, 2)), area])
    features = (features - features.mean(0)) / features.std(0)
    guess = cross_val_predict(LogisticRegression(), features, malignant, method="predict_proba")[:, 1]
    assert roc_auc_score(malignant, guess) < 0.7
    if modality == "mammography":
        return  # outline and ground fill them, so hashes are alike
    hashes = np.array([imagehash.phash(Image.fromarray(image.astype(np.uint8))).hash.ravel() for image in images])
    distance = (hashes[:, None] ^ hashes[None]).sum(axis=2)
    assert distance[np.triu_indices(len(hashes), 1)].min() > 6


def test_mammogram_phantoms_are_four_views_of_a_woman_and_her_mass_is_in_both_of_a_breast() -> None:
    dataset = Phantom(n=80, seed=2, modality="mammography")
    samples = dataset.samples()
    assert (dataset.info.modality, Phantom.info.modality) == ("mammography", "ultrasound")
    assert samples[:40] == Phantom(n=40, seed=2, modality="mammography").samples()
    assert Counter(sample.label for sample in samples) == {"benign": 16, "malignant": 16, "normal": 48}
    brighter, depths = [], []
    for place in range(0, 80, 4):
        woman = samples[place : place + 4]
        assert len({sample.patient for sample in woman}) == 1
        assert [(s.meta["side"], s.meta["view"]) for s in woman] == [(a, b) for a in "LR" for b in ("CC", "MLO")]
        assert woman[0].label == woman[1].label and woman[2].label == woman[3].label
        masks = [dataset.mask(sample) for sample in woman]
        assert [mask is not None for mask in masks] == [sample.label != "normal" for sample in woman]
        for sample, mask in zip(woman, masks, strict=True):
            image = dataset.read(sample).astype(float)
            assert (image.shape, image.max() < 4096, (image == 0).mean() > 0.2) == ((256, 192), True, True)
            wall, skin = image[60:220, :3], image[60:220, -3:]
            assert (wall.mean() > skin.mean()) == (sample.meta["side"] == "L")
            if mask is not None:
                near = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=2)
                brighter.append(image[mask].mean() > image[near].mean())
                depths.append(np.flatnonzero(mask.any(axis=0)).mean())
    assert np.mean(brighter) > 0.9
    assert np.abs(np.diff(np.reshape(depths, (-1, 2)))).max() < 20  # columns, in CC and MLO
    again = Phantom(n=9, seed=2, modality="mammography")
    np.testing.assert_array_equal(again.read(samples[8]), dataset.read(samples[8]))
    with pytest.raises(NotFoundError, match="L-XX"):
        dataset.read(Sample("mammogram-2-00000-L-XX", "normal"))


@pytest.mark.parametrize(("modality", "said"), [("mammography", "MG"), ("ultrasound", "US")])
def test_phantoms_as_dicom_hold_the_same_picture_and_say_what_they_are(modality, said, tmp_path) -> None:
    dataset = open_dataset(f"phantom:n=4,modality={modality},dicom=yes", None)
    sample = dataset.samples()[3]
    path = tmp_path / "view.dcm"
    path.write_bytes(dataset.dicom_bytes(sample))
    header = pydicom.dcmread(path)
    assert (header.Modality, header.PatientID) == (said, sample.patient)
    assert header.SOPInstanceUID.is_valid and header.StudyInstanceUID != header.SOPInstanceUID
    if modality == "mammography":
        assert (header.ImageLaterality, header.ViewPosition) == (sample.meta["side"], sample.meta["view"])
        assert header.PresentationIntentType == "FOR PRESENTATION"
    plain = open_dataset(f"phantom:n=4,modality={modality}", None).read(sample)
    np.testing.assert_array_equal(header.pixel_array, plain)
    np.testing.assert_array_equal(dataset.read(sample), plain)
    np.testing.assert_array_equal(read_image(path), plain)


# every published data set of mammozoo_datasets keeps the contract on a small copy, and explains a folder of something else

TREES: dict[str, Callable[[Path], Path]] = {
    "bcdr-f03": lambda root: bcdr_f03(root, patients=4),
    "breakhis": lambda root: breakhis(root, slides=2),
    "breast": lambda root: breast(root, benign=3, malignant=2, normal=1),
    "breastmnist": breastmnist,
    "bus-bra": lambda root: bus_bra(root, patients=2),
    "busi": lambda root: busi(root, each=3),
    "cbis-ddsm": lambda root: cbis_ddsm(root, lesions=cbis_rows()[:10]),
    "inbreast": lambda root: inbreast(root, patients=8),
    "mendeley": lambda root: mendeley(root, benign=3, malignant=3),
    "mini-mias": mini_mias,
}


@pytest.mark.parametrize("name", TREES)
def test_the_contract_is_kept_on_a_small_copy_and_another_root_refused(name: str, tmp_path) -> None:
    found = [run(check) for check in checks("datasets", only=[name], root=TREES[name](tmp_path / "copy"))]
    assert {result.state for result in found} == {"passed"}, found
    with pytest.raises(UsageError, match="--root"):
        open_dataset(name, None)
    with pytest.raises(NotFoundError, match="nowhere"):
        open_dataset(name, tmp_path / "nowhere")
    (tmp_path / "elsewhere" / "holiday").mkdir(parents=True)
    dataset = open_dataset(name, tmp_path / "elsewhere")
    with pytest.raises(NotFoundError) as error:
        dataset.samples()
    assert dataset.info.layout in str(error.value)
    assert "holiday/" in str(error.value)
