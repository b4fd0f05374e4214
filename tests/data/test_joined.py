"""Several data sets as one: names, classes, groups, masks, notes, what is kept of each, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo import Input, Progress
from mammozoo.data.decoding import decode, decode_cached
from mammozoo.data.joined import Joined, info_of, open_dataset, parse_datasets
from mammozoo.data.loaded import Data, open_data
from mammozoo.data.quality.check import check
from mammozoo.data.splits.leakage import joined_groups
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.training.splitting import make_splits

from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.drawing import picture
from ..builtin.trees.pictures import busi, folder
from ..helpers import tiny

PLAIN = Input(size=(32, 32))


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """Small copies of two published sets, and two tables of two clinics that call their patients alike and share a picture."""
    home = tmp_path_factory.mktemp("several")
    found = {"busi": busi(home / "busi"), "bus-bra": bus_bra(home / "bus-bra")}
    for place, name in enumerate(("north", "south")):
        lines = ["path,label,patient,breast,dataset,device"]
        (home / name).mkdir()
        for number in range(24):
            copied = place == 1 and number == 5
            image = Image.fromarray(picture(8000 + 50 * (0 if copied else place) + number, 96, 96))
            (image.resize((120, 120)) if copied else image).save(home / name / f"{number}.png")
            label = ("benign", "malignant")[number % 2]
            lines.append(
                f"{number}.png,{label if place == 0 else label.title()},P{number // 2},P{number // 2} L,old,GE"
            )
        (home / name / "table.csv").write_text("\n".join(lines))
        found[name] = home / name / "table.csv"
    return found


def read(dataset: str, roots: dict[str, Path], *names: str) -> Data:
    return open_data(dataset, {name: roots[name] for name in names}, None, PLAIN, "group", Progress())


def test_samples_patients_and_masks_carry_the_name_of_their_set(roots) -> None:
    data = read("busi+bus-bra", roots, "busi", "bus-bra")
    assert data.classes == ("benign", "malignant", "normal")
    assert {"busi/benign/benign (1).png", "bus-bra/Images/bus_0001-l.png"} <= {*data.names}
    assert len({*data.names}) == len(data.names) == 36 + 32
    assert {s.meta["dataset"] for s in data.samples} == {"busi", "bus-bra"}
    assert {s.patient for s in data.samples if s.meta["dataset"] == "busi"} == {None}
    assert {s.patient for s in data.samples} >= {"bus-bra/1", "bus-bra/24"}
    dataset = data.dataset
    two = next(s for s in dataset.samples() if len(s.masks) == 2)
    alone = open_dataset("busi", roots["busi"])
    own = next(s for s in alone.samples() if len(s.masks) == 2)
    assert (dataset.mask(two) == alone.mask(own)).all() and dataset.box(two) == alone.box(own)
    assert (dataset.read(two) == alone.read(own)).all()
    assert dataset.path(two.image) == alone.path(own.image) and dataset.path(two.masks[1]).is_file()
    with pytest.raises(NotFoundError, match="none of the data sets"):
        dataset.read(own)


def test_two_clinics_have_no_patient_in_common_and_one_picture(roots) -> None:
    """Labels are one class however they are spelt; a set's own column of the name that ours has is kept."""
    data = read("north=csv+south=csv", roots, "north", "south")
    assert data.classes == ("benign", "malignant") and np.bincount(data.labels).tolist() == [24, 24]
    assert data.samples[24].meta == {"dataset": "south", "own_dataset": "old", "breast": "south/P0 L", "device": "GE"}
    pair = [data.names.index(name) for name in ("north/5.png", "south/5.png")]
    assert data.groups[pair[0]] == data.groups[pair[1]], "near-duplicates across sets"
    assert len(np.unique(data.groups)) == 12 + 12 - 1, "patients of one name in two sets are two"


def test_pictures_and_groups_of_each_set_are_those_that_it_has_alone(roots) -> None:
    data, start = read("busi+bus-bra", roots, "busi", "bus-bra"), 0
    for name in ("busi", "bus-bra"):
        alone = open_data(name, roots[name], None, PLAIN, "group", Progress())
        mine = slice(start, start := start + len(alone.samples))
        assert (data.images.pixels[mine] == alone.images.pixels).all()
        assert (data.images.features[mine] == alone.images.features).all()
        assert (np.unique(data.groups[mine], return_inverse=True)[1] == alone.groups).all()
    samples = list(data.samples)
    mixed = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))]
    images = decode_cached(data.dataset, mixed, PLAIN)
    assert (images.pixels == decode(data.dataset, mixed, PLAIN).pixels).all()
    assert (images.fingerprints.whole == decode(data.dataset, mixed, PLAIN).fingerprints.whole).all()


def test_notes_and_facts_are_of_each_set(roots) -> None:
    dataset = open_dataset("busi+south=csv", {"busi": roots["busi"], "south": roots["south"]})
    dataset.samples()
    text = "\n".join(dataset.notes)
    assert "busi: 36 images, published are 780" in text and "south: " in text
    assert "36 of busi, 24 of south" in text and "'Benign' of south is 'benign'" in text
    info = info_of("busi+bus-bra")
    assert (info.images, info.patients, info.modality, info.synthetic) == (780 + 1875, 600 + 1064, "ultrasound", False)
    assert "busi: " in info.license and "bus-bra: CC BY 4.0" in info.license
    assert dataset.info.modality == "any", "the table does not say what its images are"


def test_check_finds_what_each_set_has_and_what_they_share(roots, command) -> None:
    result = check(open_dataset("north=csv+south=csv", {n: roots[n] for n in ("north", "south")}), None, Progress())
    (pair,) = [p for p in result.content()["pairs"] if p["files"][0].split("/")[0] != p["files"][1].split("/")[0]]
    assert pair["files"] == ["north/5.png", "south/5.png"]
    words = "data", "check", "busi+bus-bra", "--root", f"busi={roots['busi']}", "--root", f"bus-bra={roots['bus-bra']}"
    content = command(*words, "--json").json
    assert content["dataset"] == "busi+bus-bra" and content["classes"] == {"benign": 28, "malignant": 28, "normal": 12}
    empty = [finding for finding in content["findings"] if finding["kind"] == "empty-mask"]
    assert empty[0]["files"][0] == "busi/normal/normal (1)_mask.png"


def test_the_same_set_in_two_stages_shares_its_patients(roots) -> None:
    whole = read("busi+bus-bra", roots, "busi", "bus-bra")
    part = open_data("bus-bra", roots["bus-bra"], None, PLAIN, "group", Progress())
    groups, in_part = joined_groups(whole, part)
    assert (groups[36:] == in_part).all() and not {*groups[:36].tolist()} & {*in_part.tolist()}
    twice = open_data("a=phantom:n=20+b=phantom:n=30", None, None, PLAIN, "group", Progress())
    assert len(np.unique(twice.groups)) == 30, "a generated image is the same picture in both"


def test_official_folds_go_where_every_set_has_them(roots) -> None:
    recipe = tiny(dataset="one=bus-bra+two=bus-bra", root={"one": str(roots["bus-bra"]), "two": str(roots["bus-bra"])})
    recipe = recipe.model_copy(update={"split": recipe.split.model_copy(update={"official": True})})
    data = open_data(recipe.dataset, recipe.root, None, PLAIN, "patient", Progress())
    assert [split.name for split in make_splits(recipe, data)] == [f"fold-{k}" for k in range(1, 6)]
    data = read("busi+bus-bra", roots, "busi", "bus-bra")
    with pytest.raises(UsageError, match="36 of 68"):
        make_splits(recipe, data)


@pytest.mark.parametrize(
    ("name", "given", "error", "words"),
    [
        ("busi+bus-bra", "busi", UsageError, ["bus-bra", "--root bus-bra="]),
        ("busi+bus-bra", None, UsageError, ["busi and bus-bra"]),
        ("busi+bus-bra", "path", UsageError, ["--root busi=DIR --root bus-bra=DIR"]),
        ("busi+bus-bra", "busi bus-bra north", UsageError, ["'north'"]),
        ("csv+csv", "north", UsageError, ["two data sets called 'csv'", "a=csv+b=csv"]),
        ("busi+phantom:n=20", "busi", UsageError, ["phantom is generated"]),
        ("busi+bus-bro", "busi", NotFoundError, ["'bus-bro'", "'bus-bra'"]),
        ("busi+", "busi", UsageError, ["name[:argument"]),
    ],
)
def test_what_makes_no_sense_is_refused(
    roots, name: str, given: str | None, error: type[MammozooError], words: list[str]
) -> None:
    root = roots["busi"] if given == "path" else given and {one: roots[one] for one in given.split()}
    with pytest.raises(error) as caught:
        open_dataset(name, root)
    for word in words:
        assert word in str(caught.value)


def test_names(tmp_path, roots) -> None:
    assert {own: str(spec) for own, spec in parse_datasets("a=csv:label=x,path=y+busi").items()} == {
        "a": "csv:label=x,path=y",
        "busi": "busi",
    }
    assert list(parse_datasets("csv:label=a+b")) == ["csv"], "a plus in the value of an option"
    file = tmp_path / "roots.yaml"
    file.write_text(f"busi: {roots['busi']}\nown: here\nanother: elsewhere\n")
    folder(tmp_path / "here")
    opened = open_dataset("busi+own=folder", file)
    assert isinstance(opened, Joined) and len(opened.samples()) == 36 + 24
    assert len(open_dataset("busi", {"busi": roots["busi"]}).samples()) == 36
    file.write_text("- busi\n")
    with pytest.raises(UsageError, match="map names"):
        open_dataset("busi+own=folder", file)
