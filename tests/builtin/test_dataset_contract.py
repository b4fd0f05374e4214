"""Every published data set of mammozoo_datasets keeps the contract on a small copy, and explains a folder of something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.testing import checks, run

from .trees.bcdr import bcdr_f03
from .trees.breakhis import breakhis
from .trees.breast import breast
from .trees.breastmnist import breastmnist
from .trees.bus_bra import bus_bra
from .trees.busi import busi
from .trees.cbis_ddsm import cbis_ddsm, rows
from .trees.inbreast import inbreast
from .trees.mendeley import mendeley
from .trees.mini_mias import mini_mias

TREES: dict[str, Callable[[Path], Path]] = {
    "bcdr-f03": lambda root: bcdr_f03(root, patients=4),
    "breakhis": lambda root: breakhis(root, slides=2),
    "breast": lambda root: breast(root, benign=3, malignant=2, normal=1),
    "breastmnist": breastmnist,
    "bus-bra": lambda root: bus_bra(root, patients=2),
    "busi": lambda root: busi(root, each=3),
    "cbis-ddsm": lambda root: cbis_ddsm(root, lesions=rows()[:10]),
    "inbreast": lambda root: inbreast(root, patients=8),
    "mendeley": lambda root: mendeley(root, benign=3, malignant=3),
    "mini-mias": mini_mias,
}


@pytest.mark.parametrize("name", TREES)
def test_the_contract_is_kept_on_a_small_copy(name: str, tmp_path: Path) -> None:
    found = [run(check) for check in checks("datasets", only=[name], root=TREES[name](tmp_path))]
    assert {result.state for result in found} == {"passed"}, found


@pytest.mark.parametrize("name", TREES)
def test_a_folder_of_something_else_shows_both_trees(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(NotFoundError) as error:
        open_dataset(name, tmp_path).samples()
    assert open_dataset(name, tmp_path).info.layout in str(error.value)
    assert "holiday/" in str(error.value)


@pytest.mark.parametrize("name", TREES)
def test_the_root_must_be_given_and_exist(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--root"):
        open_dataset(name, None)
    with pytest.raises(NotFoundError, match="nowhere"):
        open_dataset(name, tmp_path / "nowhere")
