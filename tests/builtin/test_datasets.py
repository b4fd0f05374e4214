"""The data sets of mammozoo_datasets, on files written here and, where there is one, on a copy of BUSI."""

import itertools
import os
import re
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
from mammozoo_datasets import register_datasets
from mammozoo_datasets.busi import Busi
from mammozoo_datasets.csv_table import Csv
from mammozoo_datasets.folder import Folder
from mammozoo_datasets.phantom import FINDINGS, Phantom, draw_findings

from ..helpers import python
from .trees.bcdr import bcdr_f03
from .trees.breast import breast
from .trees.bus_bra import bus_bra
from .trees.cbis_ddsm import cbis_ddsm
from .trees.cbis_ddsm import rows as cbis_rows
from .trees.inbreast import inbreast
from .trees.mini_mias import mini_mias
from .trees.pictures import breakhis, breastmnist, mendeley
from .trees.pictures import busi as busi_tree


def write(path: Path, value: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (20, 18), value).save(path)
    return path


def test_registered() -> None:
    assert [dataset.info.name for dataset in register_datasets()] == [
        "busi", "bus-bra", "breast", "mendeley", "breastmnist", "breakhis", "cbis-ddsm", "inbreast", "mini-mias", "bcdr-f03",
        "folder", "csv", "phantom",
    ]  # fmt: skip


# ---------------------------------------------------------------- busi


@pytest.fixture
def busi(tmp_path) -> Path:
    home = tmp_path / "Dataset_BUSI_with_GT"
    for label, numbers in {"benign": (1, 2, 10), "malignant": (3,), "normal": (1,)}.items():
        for number in numbers:
            write(home / label / f"{label} ({number}).png")
            write(home / label / f"{label} ({number})_mask.png", 0)
    for name, rows in (("_mask", slice(-2, None)), ("_mask_1", slice(3))):
        mask = np.zeros((18, 20), np.uint8)
        mask[rows] = 255
        Image.fromarray(mask).save(home / "benign" / f"benign (2){name}.png")
    return tmp_path


def test_busi_order_masks_and_notes(busi: Path) -> None:
    dataset = Busi(busi)
    samples = dataset.samples()
    assert [(s.label, s.meta["number"]) for s in samples] == [
        ("benign", 1), ("benign", 2), ("benign", 10), ("malignant", 3), ("normal", 1),
    ]  # fmt: skip
    assert all(sample.patient is None for sample in samples)
    assert samples[1].masks == ("benign/benign (2)_mask.png", "benign/benign (2)_mask_1.png")
    mask = dataset.mask(samples[1])
    assert mask.sum() == 5 * 20
    assert dataset.read(samples[0]).shape == (18, 20)
    (note,) = dataset.notes
    assert "5 images" in note and "780" in note and "3 of the published 437 benign" in note


@pytest.mark.parametrize(
    ("masks", "by_class", "suffix"), [("mask", True, ""), ("masks", False, ""), ("masks", True, "_mask")]
)
def test_busi_mirrors(tmp_path, masks: str, by_class: bool, suffix: str) -> None:
    for label in ("benign", "malignant"):
        home = tmp_path / "archive" / label if by_class else tmp_path
        write(home / "images" / f"{label} (7).png")
        write(home / masks / f"{label} (7){suffix}.png", 255)
    samples = Busi(tmp_path).samples()
    assert [(s.label, len(s.masks)) for s in samples] == [("benign", 1), ("malignant", 1)]
    assert "/images/" in "/" + samples[0].image
    assert f"{masks}/" in samples[0].masks[0]


def test_busi_says_what_is_odd_and_refuses_contradictions(busi: Path) -> None:
    home = busi / "Dataset_BUSI_with_GT"
    (home / "normal" / "normal (1)_mask.png").unlink()
    write(home / "benign" / "benign (99)_mask.png")
    write(home / "doubtful" / "doubtful (1).png")
    write(home / "benign" / "._benign (1).png")
    dataset = Busi(home)
    assert len(dataset.samples()) == 5
    names = (
        "normal/normal (1).png",
        "benign/benign (99)_mask.png",
        "doubtful/doubtful (1).png",
        "benign/._benign (1).png",
    )
    assert all(note.startswith("1 ") and name in note for note, name in zip(dataset.notes[1:], names, strict=True))
    copy = write(home / "copy" / "benign (1).png")
    with pytest.raises(UsageError, match="copy/benign"):
        Busi(home).samples()
    copy.rename(home / "malignant" / "benign (77).png")
    with pytest.raises(UsageError, match=r"malignant/benign \(77\)"):
        Busi(home).samples()


def test_busi_elsewhere(tmp_path) -> None:
    for number in range(12):
        write(tmp_path / f"scan{number:02d}.png")
    with pytest.raises(NotFoundError) as missing:
        Busi(tmp_path).samples()
    said = str(missing.value)
    assert all(word in said for word in ("Dataset_BUSI_with_GT/", "scan09.png", "2 more")) and "scan10.png" not in said


def test_busi_on_the_real_images(local_data) -> None:
    dataset = Busi(local_data / "data" / "busi")
    samples = dataset.samples()
    assert Counter(sample.label for sample in samples) == {"benign": 381, "malignant": 183, "normal": 116}
    assert "381 of the published 437 benign" in dataset.notes[0]
    assert len(dataset.notes) == 1
    assert sum(len(sample.masks) > 1 for sample in samples) == 17
    for sample in samples[::40]:
        image, mask = dataset.read(sample), dataset.mask(sample)
        assert image.dtype == np.uint8
        assert mask.shape == image.shape[:2]
        assert mask.any() == (sample.label != "normal")


# ---------------------------------------------------------------- folder


def test_folder(tmp_path) -> None:
    write(tmp_path / "malignant" / "clinic" / "2.PNG")
    write(tmp_path / "malignant" / "1.bmp")
    write(tmp_path / "benign" / "1.png")
    write(tmp_path / "benign" / "1_mask.png", 255)
    write(tmp_path / "benign" / "face_mask.png")  # no image 'face'
    write(tmp_path / "benign" / ".hidden.png")
    write(tmp_path / "benign" / ".cache" / "3.png")
    write(tmp_path / ".thumbnails" / "3.png")
    write(tmp_path / "__MACOSX" / "3.png")
    (tmp_path / "labels.txt").touch()
    (tmp_path / "benign" / "notes.doc").touch()
    dataset = Folder(tmp_path)
    samples = dataset.samples()
    assert dataset.classes == ("benign", "malignant")
    assert [(s.image, s.label) for s in samples] == [
        ("benign/1.png", "benign"),
        ("malignant/1.bmp", "malignant"),
        ("malignant/clinic/2.PNG", "malignant"),
    ]
    assert samples[0].masks == ("benign/1_mask.png",)
    mask = dataset.mask(samples[0])
    assert mask.all()
    said = " ".join(dataset.notes)
    assert "1 masks left out, without an image: 'benign/face_mask.png'" in said
    assert "2 files left out, not an image: 'benign/notes.doc', 'labels.txt'" in said
    assert "4 system files" in said and "'__MACOSX'" in said


def test_folder_refuses(tmp_path) -> None:
    image = write(tmp_path / "benign" / "1.png")
    for root in (tmp_path, image):
        with pytest.raises(UsageError, match="at least two class folders"):
            Folder(root)
    (tmp_path / "malignant").mkdir()
    with pytest.raises(UsageError, match=r"malignant' holds no image"):
        Folder(tmp_path).samples()


# ---------------------------------------------------------------- csv


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a.png", "b.png", "m1.png", "m2.png"):
        write(folder / "images" / name)
    path = folder / "list.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_csv(tmp_path) -> None:
    path = table(
        tmp_path,
        "path,label,patient,mask,left,top,right,bottom,birads\n"
        " images/a.png , benign,P1,images/m1.png;images/m2.png,1,2,5,9,4a\n"
        "\n"
        "images\\b.png,malignant,,,,,,,\n",
    )
    dataset = Csv(path)
    assert dataset.samples() == [
        Sample("images/a.png", "benign", "P1", ("images/m1.png", "images/m2.png"), (1, 2, 5, 9), {"birads": "4a"}),
        Sample("images/b.png", "malignant"),
    ]
    assert dataset.classes == ("benign", "malignant")
    assert dataset.read(dataset.samples()[1]).shape == (18, 20)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end"), [(",", "utf-8", "\r\n"), (";", "utf-8-sig", "\n"), ("\t", "utf-8", "\n")]
)
def test_csv_dialects(tmp_path, delimiter: str, encoding: str, end: str) -> None:
    rows = [("Label", "Path", "patient"), ("gutartig", "images/a.png", "Ä"), ("bösartig", "images/b.png", "2")]
    path = table(tmp_path, end.join(delimiter.join(row) for row in rows), encoding)
    assert [(s.label, s.patient) for s in Csv(path).samples()] == [("gutartig", "Ä"), ("bösartig", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lable\na,b", "line 1: there is no column 'label'. Did you mean 'lable'?"),
        ("", "none"),
        ("path,label\nimages/a.png,x\nimages/b.png,", "line 3: the label is empty"),
        ("path,label\n,x", "line 2: the path is empty"),
        ("path,label\nimages/a.png,x\nimages/b.png,y\nimages/a.png,y", "twice, in lines 2 and 4"),
        ("path,label\nimages/a.png,x,y", "line 2: 3 cells under 2 columns"),
        ("path,label,left,top,right,bottom\nimages/a.png,x,1,2,,4", "needs four whole numbers"),
        ("path,label,left,top,right,bottom\nimages/a.png,x,5,2,5,4", "line 2: the box (5, 2, 5, 4) is empty"),
        ("path,label\nimages/a.png,x\nimages/b.png,x", "fewer than two different labels"),
    ],
)
def test_csv_refuses(tmp_path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Csv(table(tmp_path, text)).samples()


def test_csv_names_missing_files(tmp_path) -> None:
    rows = "".join(f"images/{number}.png,{'xy'[number % 2]}\n" for number in range(7))
    with pytest.raises(NotFoundError) as missing:
        Csv(table(tmp_path, "path,label\n" + rows)).samples()
    assert "7 files" in str(missing.value) and "'images/4.png' (line 6)" in str(missing.value)
    assert "images/5.png" not in str(missing.value)


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
    "busi": lambda root: busi_tree(root, each=3),
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
