"""Data sets that come with mammozoo, one file each: what is on disk and how it is read."""

from __future__ import annotations

from collections.abc import Iterable

from mammozoo import hookimpl
from mammozoo.data.sample import Dataset
from mammozoo_datasets.busi import Busi
from mammozoo_datasets.csv_table import Csv
from mammozoo_datasets.folder import Folder
from mammozoo_datasets.phantom import Phantom


@hookimpl
def register_datasets() -> Iterable[type[Dataset]]:
    """The data sets of this package."""
    return [Busi, Folder, Csv, Phantom]
