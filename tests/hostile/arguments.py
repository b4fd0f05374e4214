"""Command lines with options, names, paths and numbers that nobody means."""

import os
import random
import shutil

from .house import House

COMMANDS = [
    "train --dataset phantom:n=24", "train --dataset phantom:n=24 --backbone test_resnet --weights random --set size=32",
    "train --resume run",
    "train --extend run --epochs 3", "predict", "predict in --model ./run", "evaluate", "evaluate ./run",
    "evaluate ./run --dataset phantom:n=24",
    "explain ./run in --out maps", "compare run run2", "diagnose ./run --dataset phantom:n=8 --images 2", "report run",
    "list", "list backbones", "show",
    "doctor", "reproduce --dry-run", "reproduce byra-2021 --dry-run", "data list", "data show",
    "data show csv --root t.csv", "data check folder --root data",
    "data check csv --root t.csv", "data audit-split s.csv --dataset csv --root t.csv", "plugins list", "plugins new",
    "plugins check", "zoo list", "zoo info",
    "zoo pull", "zoo verify", "zoo export tiny --to zoo", "zoo rm", "zoo push run --to zoo --license MIT --dry-run",
]  # fmt: skip
OPTIONS = [
    "--dataset", "--root", "--backbone", "--weights", "--strategy", "--head", "--epochs", "--batch", "--lr", "--split",
    "--folds", "--seed", "--set",
    "--out", "--device", "--threshold", "--aggregate", "--by", "--subgroup", "--csv", "--json", "--metric", "--unpaired",
    "--method", "--class", "--mask",
    "--limit", "--part", "--html", "--model", "--abstain", "--precision", "--plugin", "--protocol", "--row", "--to",
    "--name", "--version", "--summary", "--classes", "--leave-out",
    "--license", "--base", "--as", "--repo", "--against", "--images", "--nosuch", "--", "-v", "--help", "--overwrite",
]  # fmt: skip
ARGUMENTS = [
    "", " ", ".", "..", "/", "~", "~nosuchuser", "in", "in/0.png", "in/*", "a**b", "in/**", "[", "in/[", "run", "./run",
    "data", "t.csv", "s.csv", "new", "new/",
    "x" * 300, "x/" * 3000, "\udcff", "\udcff.png", "a\nb", "\x1b[31mred", "[red]", "[/]", "{}", "%s", "=", "a=b", "=1",
    "size=0", "size=nan", "epochs=1e9",
    "phantom:n=1000000000", "phantom:n=-1", "phantom:n=", "phantom:seed=x", "csv:", "folder:x=1", "run:run", "zoo:",
    "hub:a/b@" + "0" * 40, "hub:a", "file:t.csv",
    "file:", "0", "-1", "1", "2", "1e9", "nan", "inf", "18446744073709551616", "auto", "cpu", "meta", "cuda", "mps", "auc",
    "auc[/]", "beta", "mean", "patient",
    "train", "test", "png", "resnet9", "resnet9:width=1000000", "drs", "drs+drs", "drs+", "+", "gap", "gap:dropout=nan",
    "random", "imagenet", "busi",
    "byra-2021", "tiny", "1.0", "MIT", "/dev/null", "/dev/zero", "/proc/self/mem", "link", "pipe", "locked", "label",
    "benign", "🙂", "é", "e\u0301", "\u202ea",
]  # fmt: skip


def arguments(house: House, rng: random.Random) -> None:
    house.copy(), house.copy("run2")
    shutil.copytree(house.good, house.work / "in")
    for label in "ab":
        shutil.copytree(house.good, house.work / "data" / label)
    (house.work / "t.csv").write_text("path,label\nin/0.png,a\nin/1.png,b\n")
    (house.work / "s.csv").write_text("sample,part\nin/0.png,train\nin/1.png,test\n")
    (house.work / "link").symlink_to("nowhere"), os.mkfifo(house.work / "pipe")
    words = rng.choice(COMMANDS).split()
    for _ in range(rng.choice((1, 1, 2, 2, 3, 5))):
        place = rng.choice((len(words), len(words), rng.randrange(len(words) + 1)))
        new = [rng.choice(OPTIONS)] if rng.random() < 0.65 else []
        words[place:place] = [*new, *([rng.choice(ARGUMENTS)] if rng.random() < 0.85 else [])]
    if "train" in words or "reproduce" in words:
        words.append("--dry-run")
    house.command(*words, writes="run" if "--resume" in words else "")
