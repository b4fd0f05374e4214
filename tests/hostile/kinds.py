"""The six kinds of hostile inputs: images, tables, recipes, models with their runs, zoos, and argument lists."""

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml
from openpyxl import Workbook

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import MammozooError

from ..builtin.trees.bcdr import bcdr_f03
from ..builtin.trees.breast import breast
from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.cbis_ddsm import cbis_ddsm
from ..builtin.trees.inbreast import inbreast
from ..builtin.trees.mini_mias import mini_mias
from .arguments import arguments
from .house import House, generated, one_file
from .models import models
from .pictures import picture
from .readers import NAMES, RECIPE
from .spoil import RAW, SHORT, VALUES, damaged, other, spoilt, table, yaml_of

TABLES = {
    "bcdr-f03": (bcdr_f03, "*outlines.csv"), "breast": (breast, "*.xlsx"), "bus-bra": (bus_bra, "*.csv"),
    "cbis-ddsm": (cbis_ddsm, "mass*train*.csv"), "inbreast": (inbreast, "*.csv"), "mini-mias": (mini_mias, "Info.txt"),
}  # fmt: skip


def images(house: House, rng: random.Random) -> None:
    if rng.random() < 0.85:
        return one_file(house, rng, "image")
    folder = Path(shutil.copytree(house.good, house.work / "in"))
    for number in range(8):
        suffix, content = picture(rng)
        (folder / f"bad{number}{suffix}").write_bytes(content)
    command = rng.choice(("predict", "predict", "predict", "explain", "check"))
    if command == "predict":
        answer = house.command(
            "predict", *sorted(folder.iterdir()), "--model", house.run, "--json", "--csv", "out.csv", codes={0, 1}
        )
        house.check_results(answer, same=True)
        assert len((house.work / "out.csv").read_text().splitlines()) >= 11
    elif command == "explain":
        answer = house.command("explain", house.run, *sorted(folder.iterdir()), "--out", "maps", "--json", codes={0, 1})
        results = json.loads(answer.out)["results"]
        assert len(results) == 10 and sum(one["error"] is None for one in results) >= 2
    else:
        (house.work / "data").mkdir()
        shutil.copytree(house.good, house.work / "data" / "a"), folder.rename(house.work / "data" / "b")
        found = json.loads(house.command("data", "check", "folder", "--root", "data", "--json", codes={0, 1}).out)
        assert isinstance(found["findings"], list)
    return None


@cache
def _tree(name: str, folder: Path) -> list[tuple[Path, bytes]]:
    TABLES[name][0](folder)
    return [(path, path.read_bytes()) for path in sorted(folder.rglob(TABLES[name][1]))]


def _workbook(rng: random.Random) -> bytes:
    book, buffer = Workbook(), io.BytesIO()
    rows = [["path", "label", "patient"], *([name, "ab"[i % 2], f"P{i}"] for i, name in enumerate(NAMES))]
    for _ in range(rng.choice((0, 1, 2))):
        rows = other(rows, rng)
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, list):
            book.active.append(
                [
                    x
                    if isinstance(x, int | float) and abs(x) < 1e300
                    else str(x)[:200].encode("ascii", "ignore").decode().strip("\0\x1b")
                    for x in row
                ]
            )
    if rng.random() < 0.2:
        book.active.merge_cells("A2:B3")
    book.save(buffer)
    return damaged(buffer.getvalue(), rng) if rng.random() < 0.7 else buffer.getvalue()


def tables(house: House, rng: random.Random) -> None:
    chance = rng.random()
    if chance < 0.55:
        return one_file(house, rng, "table", "splits", "nnunet", "parts", "predictions")
    if chance < 0.75:
        name = rng.choice(list(TABLES))
        root = house.folder / name
        path, whole = rng.choice(_tree(name, root))
        path.write_bytes(
            damaged(whole, rng) if rng.random() < 0.7 else rng.choice(RAW).encode("utf-8", "surrogatepass")
        )
        try:
            house.read(lambda _: open_dataset(name, root).samples(), path, (MammozooError,))
        finally:
            path.write_bytes(whole)
        return None
    for name in NAMES:
        shutil.copy(house.folder / "files" / name, house.work)
    if chance < 0.85:
        house.put(house.work / "t.xlsx", _workbook(rng))
        house.command("data", "show", "csv", "--root", "t.xlsx", "--json", codes={0, 2, 3})
    elif chance < 0.93:
        _, path = generated(house, rng, "table")
        house.command("data", "show", "csv", "--root", path.name, codes={0, 2, 3})
    else:
        rows = [["path", "label"], *([name, "ab"[i % 2]] for i, name in enumerate(NAMES))]
        (house.work / "t.csv").write_text(table(rows))
        _, path = generated(house, rng, "splits", "nnunet", "parts")
        house.command("data", "audit-split", path.name, "--dataset", "csv", "--root", "t.csv", codes={0, 1, 2, 3, 6})
    return None


PLAIN = {"dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": [32, 32], "epochs": 1,
"augment": [],
         "preprocess": ["clahe:tiles=8", "resize:64"], "device": "cpu", "split": {"folds": 2, "val": 0.2}}  # fmt: skip


def recipes(house: House, rng: random.Random) -> None:
    chance = rng.random()
    if chance < 0.6:
        return one_file(house, rng, "recipe", "recipe", "paper")
    codes = {0, 1, 2, 3, 5, 7}
    if chance < 0.8:
        house.put(house.work / "mine.yaml", spoilt(PLAIN, yaml_of, rng))
        house.command("train", "mine.yaml", "--dry-run", codes=codes)
    elif chance < 0.9:
        house.put(house.work / "mine.yaml", yaml_of(PLAIN).encode())
        key = rng.choice(
            [
                *PLAIN,
                *RECIPE,
                "split.seed",
                "optimizer.lr",
                "head",
                "strategy",
                "threshold",
                "batch",
                "seed",
                "abstain",
                "x.y",
            ]
        )
        value = json.dumps(rng.choice(VALUES)) if rng.random() < 0.5 else rng.choice(SHORT).replace("\0", "")
        house.command(
            "train",
            "mine.yaml",
            "--set",
            f"{key}={value}".encode("utf-8", "surrogateescape").decode(),
            "--dry-run",
            codes=codes,
        )
    else:
        _, path = generated(house, rng, "paper")
        house.command("reproduce", path.name, "--quick", "--dry-run", codes=codes)
    return None


def zoos(house: House, rng: random.Random) -> None:
    if rng.random() < 0.55:
        return one_file(house, rng, "zoo")
    folder = house.work / "zoo"
    shutil.copytree(_zoo(house), folder, copy_function=os.link)
    listing = folder / "zoo.yaml"
    if rng.random() < 0.7:
        house.put(listing, spoilt(yaml.safe_load(listing.read_text()), yaml_of, rng))
    else:
        path = rng.choice(sorted(p for p in folder.rglob("*") if p.is_file() and p != listing))
        house.put(path, damaged(path.read_bytes(), rng))
    words = rng.choice((("list",), ("list", "--json"), ("info", "tiny"), ("info", "tiny", "--json"), ("verify", "tiny"),
    ("verify", "tiny", "--deep"),
                        ("export", "tiny", "--to", "other"), ("pull", "tiny"), ("predict",), ("predict",)))  # fmt: skip
    os.environ["MAMMOZOO_ZOO"] = str(folder)
    try:
        if words == ("predict",):
            answer = house.command(
                "predict", *sorted(house.good.iterdir()), "--model", "tiny", "--json", codes={0, 1, 3, 5, 6, 7, 8, 9}
            )
            if answer.code <= 1:
                house.check_results(answer)
        else:
            house.command("zoo", *words, codes={0, 3, 5, 6, 7, 8, 9})
    finally:
        del os.environ["MAMMOZOO_ZOO"]
    return None


def _zoo(house: House) -> Path:
    folder = house.folder / "zoo"
    if not folder.exists():
        house.command(
            "zoo", "push", house.run, "--to", folder, "--license", "MIT", "--name", "tiny", "--allow-stamped", codes={0}
        )
    return folder


KINDS: dict[str, Callable[[House, random.Random], None]] = {
    "images": images, "tables": tables, "recipes": recipes, "models": models, "zoos": zoos, "arguments": arguments,
}  # fmt: skip
