"""`mammozoo list` and `mammozoo plugins list`."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import mammozoo
from mammozoo.cli import list_
from mammozoo.plugins import KINDS as ALL
from mammozoo.plugins.discovery import origin
from mammozoo_basics.catalogue import NETWORKS, VERSIONED, Catalogue

from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.pictures import busi
from ..helpers import python

KINDS = ("datasets", "backbones", "strategies", "heads", "metrics", "transforms", "recipes", "papers")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_as_json(command, kind) -> None:
    content = command("list", kind, "--json").ok.json
    assert set(content) == {"schema", "kind", "items"}
    assert content["kind"] == kind
    assert content["items"]
    for item in content["items"]:
        further = {"recipes": {"paper"}, "backbones": {"parameters", "input_size", "weights", "licence"}}.get(
            kind, set()
        )
        assert set(item) == {"name", "plugin", "distribution", "version", "summary"} | further
        assert all(isinstance(item[key], str) for key in item.keys() - {"parameters", "input_size"})
        assert item["name"] and item["distribution"] == "mammozoo" and item["version"] == mammozoo.__version__


def test_lists_for_people_with_papers_filters_and_the_nearest_name(command) -> None:
    items = {item["name"]: item["paper"] for item in command("list", "recipes", "--json").json["items"]}
    assert items["byra-busi"] == items["byra-busi-as-published"] == "byra-2021"
    assert items["default"] == ""
    assert "byra-2021" in command("list", "recipes", "--match", "byra-busi").out
    items = {item["name"]: item["summary"] for item in command("list", "papers", "--json").json["items"]}
    assert items["byra-2021"].startswith("Breast mass classification")
    answer = command("show", "byra-2021").ok
    assert "recipe: byra-busi-as-published" in answer.out
    answer = command("list", "strategies", "--match", "drs")
    assert "drs" in answer.out
    assert "frozen" not in answer.out
    command("list", "strategys").refused(2, "'strategys'", "Did you mean 'strategies'?")


def test_plugins_as_json(command) -> None:
    items = command("plugins", "list", "--json").json["items"]
    for item in items:
        assert set(item) == {"name", "distribution", "version", "state", "reason", "adds", "notes", "seconds"}
        assert (item["state"], item["reason"]) == ("loaded", "")
    adds = {item["name"]: item["adds"] for item in items}
    assert adds["drs"]["strategies"] == ["drs"]
    assert "phantom" in adds["datasets"]["datasets"]


# ---------------------------------------------------------------- `mammozoo data list` and `mammozoo data show`

FACTS = {
    "name", "title", "modality", "classes", "images", "patients", "url", "license", "citation", "synthetic", "access",
    "layout", "marks", "plugin", "distribution",
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


def test_list_for_people_and_as_list_datasets(command) -> None:
    answer = command("data", "list").ok
    assert re.search(r"mendeley +Mendeley breast .*ultrasound +benign, malignant +250 ", answer.out)
    assert "1064" in answer.out and "CC BY 4.0" in answer.out
    datasets = command("data", "list", "--json").json["datasets"]
    assert all(set(dataset) == FACTS for dataset in datasets)
    items = command("list", "datasets", "--json").json["items"]
    assert [[d[key] for key in ("name", "title", "plugin")] for d in datasets] == [
        [item[key] for key in ("name", "summary", "plugin")] for item in items
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
    answer = command("data", "show", "mendeley").ok
    for line in (
        "licence       CC BY 4.0",
        "get it        Download from https://data.mendeley.com/datasets/wmy84gzngw/1 and unpack.",
        "classes       benign, malignant",
        "patients      not stated",
        "known by      --dataset alone",
        "      benign/*.bmp      (100)",
    ):
        assert line in answer.out.splitlines()
    assert re.search(r"balanced +int +0 +images of each class to draw; 0 takes all", answer.out)
    assert "mask file" not in answer.out
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
    answer = command("data", "show", "bus-bra:folds=5", "--root", root).ok
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


def test_show_of_busi_with_its_option(command, tmp_path) -> None:
    root = busi(tmp_path / "data", each=12)
    answer = command("data", "show", "busi", "--root", root)
    assert "no patient is named; 36 of 36 images with a mask file" in answer.out
    found = command("data", "show", "busi:axilla=drop", "--root", root, "--json").json["found"]
    assert found["classes"] == {"benign": 12, "malignant": 10, "normal": 12}  # 11 and 12 show the axilla
    assert found["notes"][-1] == "2 images are left out (axilla=drop)."
    command("data", "show", "busi:axilla=maybe", "--root", root).refused(2, "'axilla' cannot be 'maybe'")


def test_generated_data_need_no_root_and_wrong_names_are_refused(command, tmp_path) -> None:
    answer = command("data", "show", "phantom:n=20")
    assert re.search(r"all +12 +8 +20", answer.out)
    assert "synthetic     yes" in answer.out
    command("data", "show", "mendley").refused(3, "Unknown dataset 'mendley'", "Did you mean 'mendeley'?")
    (tmp_path / "empty").mkdir()
    command("data", "show", "mendeley", "--root", tmp_path / "empty").refused(3, "nothing under --root")


def test_a_third_partys_data_set_with_few_words(command, from_file) -> None:
    """It states as little as it can."""
    from_file(THIRD_PARTY)
    answer = command("data", "show", "clinic").ok
    assert "get it        not stated" in answer.out.splitlines()
    assert re.search(r"years +3", answer.out)
    assert "more" not in answer.out and "rest" not in answer.out
    assert "1 patients, 2 images without one" in answer.out
    assert "clinic" in command("data", "list").out


def test_list_alone_names_its_kinds(command) -> None:
    assert {*ALL} == {*list_.KINDS}
    shown = command("list").ok.out
    assert all(kind in shown for kind in ALL)
    assert {*command("list", "--json").ok.json["kinds"]} == {*ALL}


NUMERICAL = ("numpy", "scipy", "PIL", "torch", "timm", "torchvision")


@pytest.mark.parametrize(
    ("words", "shown", "without"),
    [
        ("list", ("strategies", "weight_maps"), ("rich", *NUMERICAL)),
        (
            "list backbones --max-params 20M --weights here",
            ("tf_efficientnet_lite0", "apache-2.0"),
            ("rich", *NUMERICAL),
        ),
        ("list datasets", ("phantom", "bus-bra"), ("rich", "scipy", "torch")),
        (
            "train --dataset phantm",
            ("Did you mean 'phantom'",),
            ("rich", "scipy", "torch", "huggingface_hub", "PIL.TiffImagePlugin"),
        ),
        ("zoo list", ("ultrasound", "busi-resnet9-drs"), ("torch", "timm")),
        ("data check phantom:n=12", ("12 images", "classes"), ("torch", "timm")),
    ],
)
def test_what_trains_nothing_starts_without_heavy_libraries(words: str, shown: tuple[str, ...], without) -> None:
    code = (
        "import atexit, os, sys; from mammozoo import cli; "
        f"atexit.register(lambda: {{*{without}}} & {{*sys.modules}} and os._exit(9)); "
        f"sys.argv = 'mammozoo {words}'.split(); cli.main()"
    )
    answer = python("-c", code)
    assert answer.code == (3 if words.startswith("train") else 0)
    assert all(word in answer.out + answer.err for word in shown)


def test_models_of_files_are_built_when_a_file_is_read() -> None:
    """Pydantic takes a tenth of a second to build them all."""
    code = "from mammozoo.config.recipe import Recipe as R; from mammozoo.zoo.entry import EntryEvaluation as E; "
    answer = python("-c", code + "print(R.__pydantic_complete__, E.__pydantic_complete__)")
    assert answer.ok.out.split() == ["False", "False"]


def test_the_metadata_of_a_distribution_are_parsed_once(monkeypatch) -> None:
    """mammozoo's hold its README, and a parse for each plugin and fact took longer than all else that `list` does."""
    own = metadata.distribution("mammozoo")
    ours = [entry for entry in metadata.entry_points(group="mammozoo") if entry.dist and entry.dist.name == own.name]
    reads: list[str] = []
    kind, read = type(own), type(own).read_text
    monkeypatch.setattr(kind, "read_text", lambda self, name: [reads.append(name), read(self, name)][1])
    assert {origin(entry) for entry in ours * 2} == {("mammozoo", mammozoo.__version__)}
    assert reads.count("METADATA") <= 1


def test_backbones_by_parameters_and_weights(command) -> None:
    def listed(*words: str) -> dict[str, Any]:
        return {item["name"]: item for item in command("list", "backbones", *words, "--json").ok.json["items"]}

    every = listed()
    assert every["resnet18"] | {"weights": ""} == every["resnet18"] | {
        "parameters": 11_176_512, "input_size": [224, 224], "licence": "apache-2.0", "weights": "",
    }  # fmt: skip
    small = listed("--max-params", "5.5M")
    assert {*small} == {name for name, one in every.items() if (one["parameters"] or 1e12) <= 5_500_000}
    assert {"resnet9", "resnet18"} & {*small} == set() and "mobilenetv2_100" in small
    here, none = listed("--weights", "here"), listed("--weights", "none")
    assert "tf_efficientnet_lite0" in here and "torchvision/vgg11" in none and "resnet9" in none
    assert not {*here} & {*none}
    answer = command("list", "--match", "tf_efficientnet_lite0", "--max-params", "20m")
    assert re.search(r"tf_efficientnet_lite0 +timm +3\.4 M +224 +here +apache-2\.0 +basics", answer.out)
    command("list", "backbones", "--max-params", "many").refused(2, "such as 20M")
    command("list", "backbones", "--weights", "her").refused(2, "Did you mean 'here'")
    command("list", "heads", "--weights", "here").refused(2, "choose among backbones")


def test_the_table_of_networks_is_what_the_libraries_build() -> None:
    versions, _, *rows = NETWORKS.read_text(encoding="utf-8").splitlines()
    assert NETWORKS.stat().st_size < 120_000
    if versions.rpartition("; ")[2] != ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONED):
        pytest.skip(f"made with {versions}")
    known = [row.partition(",")[0] for row in rows]
    assert {spec.name for spec in Catalogue()} == {*known} and len(known) == len({*known})
    assert sum(row.endswith(",,,,") for row in rows) < 20
    few = ("resnet18", "vit_tiny_patch16_224", "torchvision/squeezenet1_1", "test_convnext")
    assert python(Path(__file__).parents[2] / "docs" / "make_networks.py", "--check", *few).ok
