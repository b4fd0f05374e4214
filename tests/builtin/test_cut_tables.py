"""The tables of published data sets, cut anywhere or with bytes changed: read, or refused in one paragraph; never another error."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import MammozooError

from .trees.bcdr import bcdr_f03
from .trees.breast import breast
from .trees.bus_bra import bus_bra
from .trees.cbis_ddsm import cbis_ddsm
from .trees.inbreast import inbreast
from .trees.mini_mias import mini_mias


@pytest.mark.parametrize(
    ("name", "make", "table"),
    [
        ("bcdr-f03", bcdr_f03, "*outlines.csv"),
        ("breast", breast, "*.xlsx"),
        ("bus-bra", bus_bra, "bus_data.csv"),
        ("bus-bra", bus_bra, "5-fold-cv.csv"),
        ("cbis-ddsm", cbis_ddsm, "mass*train*.csv"),
        ("inbreast", inbreast, "*.csv"),
        ("mini-mias", mini_mias, "Info.txt"),
    ],
)
def test_no_cut_and_no_byte_ends_otherwise(
    tmp_path: Path, name: str, make: Callable[[Path], object], table: str
) -> None:
    make(tmp_path)
    path = next(tmp_path.rglob(table))
    whole, draw, read = path.read_bytes(), random.Random(1), 0
    for trial in range(25):
        place = draw.randrange(len(whole))
        changed = (
            whole[:place] if trial % 2 else whole[:place] + bytes([draw.choice(b'",;\n\x00\xff7')]) + whole[place + 1 :]
        )
        path.write_bytes(changed)
        try:
            read += bool(open_dataset(name, tmp_path).samples())
        except MammozooError as error:
            assert str(error)
    path.write_bytes(whole)
    assert open_dataset(name, tmp_path).samples()
