"""Data sets that come with mammozoo, one file each: what is on disk and how it is read. Those in `declared` are YAML alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # importing the class imports numpy and Pillow, which most commands do not need
    from mammozoo import Dataset


@hookimpl
def register_datasets() -> Iterable[type[Dataset]]:
    """The data sets of this package."""
    from mammozoo.data.declared import declared
    from mammozoo_datasets.bcdr import BcdrF03
    from mammozoo_datasets.breast_lesions import Breast
    from mammozoo_datasets.breastmnist import BreastMnist
    from mammozoo_datasets.bus_bra import BusBra
    from mammozoo_datasets.cbis_ddsm import CbisDdsm
    from mammozoo_datasets.csv_table import Csv
    from mammozoo_datasets.folder import Folder
    from mammozoo_datasets.inbreast import InBreast
    from mammozoo_datasets.mendeley import Mendeley
    from mammozoo_datasets.mini_mias import MiniMias
    from mammozoo_datasets.phantom import Phantom

    files = [declared(path) for path in sorted(Path(__file__).with_name("declared").glob("*.yaml"))]
    ultrasound, mammography = [BusBra, Breast, Mendeley, BreastMnist], [CbisDdsm, InBreast, MiniMias, BcdrF03]
    return [*ultrasound, *mammography, *files, Folder, Csv, Phantom]
