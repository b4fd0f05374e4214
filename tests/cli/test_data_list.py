"""`mammozoo data list` and `mammozoo data show`: what there is, and what is in a folder."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.busi import busi

FACTS = {
    "name", "title", "modality", "classes", "images", "patients", "url", "license", "citation", "synthetic", "access",
    "layout", "plugin", "distribution",
}  # fmt: skip

THIRD_PARTY = '''
    from mammozoo import hookimpl
    from mammozoo.data.dataset import Dataset, DatasetInfo, Sample

    class Clinic(Dataset):
        """Ours."""
        needs_root = False
        info = DatasetInfo("clinic", "Our clinic", "ultrasound", ("a", "b"))

        def __init__(self, root=None, years=3, *more, **rest):
            super().__init__(root)

        def samples(self):
            return [Sample("1", "a", patient="p"), Sample("2", "a"), Sample("3", "b")]

    @hookimpl
    def register_datasets():
        return [Clinic]
'''


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's data set that states as little as it can."""
    from mammozoo.plugins import registry

    (tmp_path / "clinic.py").write_text(textwrap.dedent(THIRD_PARTY))
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(tmp_path / "clinic.py"))
    registry.cache_clear()
    yield
    registry.cache_clear()


def test_list_for_people(command) -> None:
    answer = command("data", "list")
    assert answer.code == 0
    assert re.search(r"mendeley +Mendeley breast .*ultrasound +benign, malignant +250 ", answer.out)
    assert "1064" in answer.out
    assert "CC BY 4.0" in answer.out


def test_list_as_json_agrees_with_list_datasets(command) -> None:
    datasets = command("data", "list", "--json").json["datasets"]
    assert all(set(dataset) == FACTS for dataset in datasets)
    items = command("list", "datasets", "--json").json["items"]
    assert [(d["name"], d["title"], d["plugin"]) for d in datasets] == [
        (item["name"], item["summary"], item["plugin"]) for item in items
    ]
    assert {"busi", "bus-bra", "breast", "mendeley", "breastmnist", "breakhis"} <= {d["name"] for d in datasets}


def test_every_data_set_of_ours_says_how_to_get_it_and_explains_its_options(command) -> None:
    for dataset in command("data", "list", "--json").json["datasets"]:
        if dataset["url"]:  # somebody else's
            assert all(line.startswith("    ") for line in dataset["layout"].splitlines()), dataset["name"]
            assert dataset["access"] and dataset["layout"], dataset["name"]
        for option in command("data", "show", dataset["name"], "--json").json["options"]:
            assert option["meaning"] and option["values"], (dataset["name"], option)


def test_show_without_a_root(command) -> None:
    answer = command("data", "show", "mendeley")
    assert answer.code == 0
    for line in (
        "licence       CC BY 4.0",
        "get it        Download from https://data.mendeley.com/datasets/wmy84gzngw/1 and unpack.",
        "classes       benign, malignant",
        "patients      not stated",
        "      benign/*.bmp      (100)",
    ):
        assert line in answer.out.splitlines()
    assert re.search(r"balanced +int +0 +images of each class to draw; 0 takes all", answer.out)
    assert "mask file" not in answer.out


def test_show_as_json(command) -> None:
    shown = command("data", "show", "busi", "--json").json
    assert set(shown) == FACTS | {"schema", "options", "found"}
    assert shown["found"] is None
    assert shown["options"] == [
        {
            "name": "axilla", "values": "keep | drop", "default": "keep",
            "meaning": "`drop` leaves out the 27 images known to show the axilla, `keep` does not.",
        }
    ]  # fmt: skip


def test_show_with_a_root(command, tmp_path) -> None:
    root = bus_bra(tmp_path / "data", patients=6)
    answer = command("data", "show", "bus-bra:folds=5", "--root", root)
    assert answer.code == 0
    # Patients 1 to 6 are benign, 7 to 12 malignant; every third has two images, and patient p is in fold p mod 5 + 1.
    assert re.search(r"\n +1 +1 +1 +2", answer.out)
    assert re.search(r"\n +all +8 +8 +16", answer.out)
    assert "12 patients; 16 of 16 images with a mask file" in answer.out
    assert "16 images, published are 1875" in answer.err
    found = command("data", "show", "bus-bra", "--root", root, "--json").json["found"]
    assert found["classes"] == {"benign": 8, "malignant": 8}
    assert (found["images"], found["patients"], found["nameless"], found["masks"]) == (16, 12, 0, 16)
    assert list(found["parts"]) == ["1", "2", "3", "4", "5"]
    assert found["parts"]["1"] == {"benign": 1, "malignant": 1}
    assert len(found["notes"]) == 1


def test_show_where_no_patient_is_named(command, tmp_path) -> None:
    answer = command("data", "show", "busi", "--root", busi(tmp_path / "data", each=2))
    assert "no patient is named; 6 of 6 images with a mask file" in answer.out


def test_options_count_with_a_root(command, tmp_path) -> None:
    root = tmp_path / "data"
    busi(root, each=12)
    found = command("data", "show", "busi:axilla=drop", "--root", root, "--json").json["found"]
    assert found["classes"] == {"benign": 12, "malignant": 10, "normal": 12}  # 11 and 12 show the axilla
    assert found["notes"][-1] == "2 images of the axilla are left out (axilla=drop)."
    command("data", "show", "busi:axilla=maybe", "--root", root).refused(2, "'axilla' cannot be 'maybe'")


def test_generated_data_need_no_root(command) -> None:
    answer = command("data", "show", "phantom:n=20")
    assert re.search(r"all +12 +8 +20", answer.out)
    assert "synthetic     yes" in answer.out


def test_unknown_names_and_empty_folders_are_refused(command, tmp_path) -> None:
    command("data", "show", "mendley").refused(3, "Unknown dataset 'mendley'", "Did you mean 'mendeley'?")
    (tmp_path / "empty").mkdir()
    command("data", "show", "mendeley", "--root", tmp_path / "empty").refused(3, "nothing under --root")


def test_a_third_partys_data_set_with_few_words(command, clinic) -> None:
    answer = command("data", "show", "clinic")
    assert answer.code == 0, answer.err
    assert "get it        not stated" in answer.out.splitlines()
    assert re.search(r"years +3", answer.out)
    assert "more" not in answer.out and "rest" not in answer.out
    assert "1 patients, 2 images without one" in answer.out
    assert "clinic" in command("data", "list").out
