"""What is left out or understood otherwise is said, and a refusal names the thing and the way out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.builtin.trees.inbreast import inbreast
from tests.builtin.trees.pictures import folder

from mammozoo.config.loading import load
from mammozoo.data.loaded import open_data, open_dataset
from mammozoo.data.preprocessing import Input
from mammozoo.errors import NotVerifiedError, UsageError
from mammozoo.models.factory import build_backbone, load_starting_weights
from mammozoo.training.prepare import prepare
from mammozoo_datasets.inbreast import InBreast

from ..helpers import Notes


def test_classes_that_are_left_out_are_counted_and_named(tmp_path: Path) -> None:
    root, notes = folder(tmp_path, each=3, classes=("benign", "malignant", "normal")), Notes()
    open_data("folder", root, ("benign", "malignant"), Input(size=(32, 32)), "group", notes)
    assert any("3 images" in note and "'normal'" in note and "benign, malignant" in note for note in notes.said)
    notes.said.clear()
    open_data("folder", root, ("benign", "lesion=malignant|normal"), Input(size=(32, 32)), "group", notes)
    assert not notes.said


def test_evaluation_says_which_class_the_model_does_not_know(command, tiny_run, tmp_path: Path) -> None:
    folder(tmp_path / "data", each=4, classes=("benign", "malignant", "normal"))
    answer = command("evaluate", tiny_run.path, "--dataset", "folder", "--root", "data")
    assert answer.code == 0 and "4 images of the class 'normal' are left out" in answer.err


def test_near_duplicates_of_two_classes_are_said(tmp_path: Path) -> None:
    root, notes = folder(tmp_path, each=3), Notes()
    (root / "malignant" / "copy.png").write_bytes((root / "benign" / "001.png").read_bytes())
    open_data("folder", root, None, Input(size=(32, 32)), "group", notes)
    assert any("1 pairs" in note and "benign/001.png" in note and "malignant/copy.png" in note for note in notes.said)


def test_too_few_groups_name_the_class(tmp_path: Path) -> None:
    root = folder(tmp_path, each=8)
    for path in sorted((root / "malignant").glob("*.png"))[3:]:
        path.unlink()
    least = {"dataset": "folder", "root": str(root), "backbone": "test_resnet", "weights": "random", "size": 32}
    for more, name in (({"split.folds": 5}, "malignant"), ({"split.test": 0.05}, "benign")):
        with pytest.raises(UsageError, match=f"class '{name}' has .* groups"):
            prepare(load(None, least | more))


def test_numbers_as_classes(tmp_path: Path) -> None:
    least = {"dataset": "folder", "backbone": "test_resnet"}
    assert load(None, least | {"classes": [0, 1]}).classes == ("0", "1")
    with pytest.raises(UsageError, match=r"classes.*quotes"):
        load(None, least | {"classes": [True, False]})


def test_weights_of_a_wrapped_network_are_understood_and_bad_ones_are_named(tmp_path: Path) -> None:
    backbone = build_backbone("test_resnet")
    state = {name: torch.full_like(tensor, 0.25) for name, tensor in backbone.net.state_dict().items()}
    for wrapper in ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        fresh = build_backbone("test_resnet")
        save_file({f"{wrapper}{name}": tensor for name, tensor in state.items()}, tmp_path / "w.safetensors")
        load_starting_weights(fresh, "test_resnet", f"file:{tmp_path / 'w.safetensors'}", lambda name: tmp_path)
        loaded = [tensor for tensor in fresh.state_dict().values() if tensor.is_floating_point()]
        assert all(bool((tensor == 0.25).all()) for tensor in loaded), wrapper
    first = next(name for name, tensor in state.items() if tensor.is_floating_point())
    save_file(state | {first: torch.full_like(state[first], float("nan"))}, tmp_path / "n.safetensors")
    with pytest.raises(NotVerifiedError, match="not finite"):
        load_starting_weights(backbone, "test_resnet", f"file:{tmp_path / 'n.safetensors'}", lambda name: tmp_path)
    for suffix in (".pth", ".pt", ".bin", ".ckpt", ""):
        with pytest.raises(UsageError, match="save_file"):
            load_starting_weights(backbone, "test_resnet", f"file:{tmp_path / 'w'}{suffix}", lambda name: tmp_path)


def test_breakhis_as_kaggle_divides_it(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for letter, label in (("B_A", "benign"), ("M_DC", "malignant")):
            path = tmp_path / "BreaKHis 400X" / part / label / f"SOB_{letter}-14-2{len(part)}-400-001.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((20, 20), 9, np.uint8)).save(path)
    for root in (tmp_path, tmp_path / "BreaKHis 400X"):
        samples = open_dataset("breakhis", root).samples()
        assert [sample.label for sample in samples] == ["benign"] * 2 + ["malignant"] * 2
    (tmp_path / "copy").mkdir()
    for label in ("benign", "malignant"):
        (tmp_path / "copy" / label).mkdir()
    (tmp_path / "BreaKHis 400X" / "train").rename(tmp_path / "other")
    with pytest.raises(UsageError, match="copies"):
        open_dataset("breakhis", tmp_path)


def test_inbreast_with_numbers_as_pandas_writes_them(tmp_path: Path) -> None:
    root = inbreast(tmp_path)
    table = next(path for path in root.rglob("*.csv"))
    before = [(sample.image, sample.label) for sample in InBreast(root).samples()]
    lines = table.read_text().splitlines()
    names = {sample.partition("_")[0].rpartition("/")[2] for sample, _ in before}
    table.write_text("\n".join([lines[0], *(_floats(line, names) for line in lines[1:])]))
    assert [(sample.image, sample.label) for sample in InBreast(root).samples()] == before
    table.write_text("\n".join([*lines, lines[1]]))  # the same line twice
    assert [(sample.image, sample.label) for sample in InBreast(root).samples()] == before


def _floats(line: str, names: set[str]) -> str:
    for name in names:
        line = line.replace(f"{name};", f"{name}.0;").replace(f"{name},", f"{name}.0,")
    return line
