"""A hundred mistakes of new users: each answer says what, where, and what helps."""

import functools
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer.main

from ..builtin.trees.pictures import folder
from ..helpers import edit_json

#: What is typed | the exit code | a word of the answer, of what is wrong or what helps.
MISTAKES = """
trian data | 2 | 'train'
predcit image.png | 2 | 'predict'
-dataset | 2 | -h
train dat | 3 | 'data'
train ./dat | 3 | 'data'
train Data | 3 | 'data'
train "'data'" | 3 | 'data'
train "data " | 3 | 'data'
train ~no.such.user/data | 2 | not a valid path
train C:\\Users\\me\\data | 3 | /mnt/c
train D:/data | 3 | D:
train data/bénin | 3 | 'benign'
train data/benign | 2 | the folder above
train loose | 2 | a table
train data/benign/000.png | 2 | mammozoo predict
train empty | 2 | class folders
train one | 2 | found 'benign'
train three | 2 | --folds
train words.docx | 2 | .csv
train archive.zip | 2 | Unpack
train old.xls | 2 | .xlsx
train run | 2 | --resume run
train run/model.safetensors | 2 | --model run
train run/recipe.yml | 3 | 'recipe.yaml'
train data benign | 2 | -h
train --root data | 2 | mammozoo train data
train --dataset folder | 2 | --root
train --dataset folder --root dat | 3 | 'data'
train --dataset folder --root data/benign | 2 | the folder above
train --dataset busi --root data | 3 | Dataset_BUSI_with_GT
train --dataset bus-bra --root data | 3 | zenodo
train --dataset csv --root data | 2 | the table itself
train --dataset BUSI --root data | 3 | 'busi'
train byra-busi | 2 | --root
train byra-busi --root nowhere | 3 | holds no 'nowhere'
train byra | 3 | 'byra-busi'
train byra-busi.yml | 3 | no recipe file
train nothing.csv | 3 | holds no 'nothing.csv'
train nolabel.csv | 2 | 'label'
train nopath.csv | 2 | 'path'
train missing.csv | 3 | line 26
train absolute.csv | 3 | relative to the table
train oneclass.csv | 2 | two different labels
train empty.csv | 2 | Needed: path, label
train header.csv | 2 | 0 rows
train latin1.csv | 2 | UTF-8
train binary.csv | 2 | UTF-8
train fake.xlsx | 2 | Copy it again
train duplicated.csv | 2 | lines 2 and 26
train data --epochs ten | 2 | must be a valid integer
train data --epochs 0 | 2 | equal to 1, not 0
train data --epoch 3 | 2 | --epochs
train data --lr 0,001 | 2 | must be a valid number
train data --lr -1 | 2 | optimizer.lr
train data --batch 0 | 2 | equal to 2
train data --strategy finetune | 3 | mammozoo list strategies
train data --strategy last-blocks=2 | 2 | name[:argument
train data --strategy last-blocks:two | 2 | must be a valid integer
train data --backbone ResNet50 | 3 | 'resnet50'
train data --backbone resnet50 | 5 | --weights
train data --weights image-net | 2 | imagenet
train data --weights weights.pth | 2 | file:weights.pth
train data --device gpu | 2 | cuda
train data --preset fast | 2 | quick or best
train data --set epochs 3 | 2 | -h
train data --set epochs:3 | 2 | KEY=VALUE
train data --set lr=0.1 | 2 | 'optimizer.lr'
train data --set size=abc | 2 | must be a valid integer
train data --out data | 9 | --out
train --resume run | 9 | mammozoo evaluate
train --resume data | 3 | no run.json
train --resume | 2 | --resume
train --extend run | 2 | --epochs
train mine.yaml | 2 | 'optimizer.lr'
train list.yaml | 2 | mapping
predict | 2 | --example
predict nowhere.png | 3 | holds no 'nowhere.png'
predict imag.png | 3 | 'image.png'
predict "*.jpg" | 3 | *.jpg
predict empty | 3 | no image
predict image.png run | 2 | --model ./run
predict image.png --model ru | 3 | The zoo has
predict image.png --model ./ru | 3 | 'run'
predict image.png --model data | 3 | config.json
predict image.png --model run/model.safetensors | 3 | ./run
predict image.png --model old | 3 | ./old
predict image.png --model ./old | 7 | format: is no key
predict image.png --model hub:some/model | 2 | COMMIT
predict image.png --model hub:some/model@0123456789abcdef0123456789abcdef01234567 | 5 | HF_HUB_OFFLINE
predict image.png --model https://huggingface.co/some/model | 3 | hub:ORG/NAME@COMMIT
predict image.png --csv image.png | 9 | --csv
predict image.png --member fold-1 | 3 | leave --member out
predict image.png --treshold 0.4 | 2 | -h
predict nolabel.csv --aggregate avg | 2 | noisy-or
predict words.docx --model ./run | 1 | PNG
predict broken.png --model ./run | 1 | damaged
evaluate | 2 | [MODEL] [DATA]
evaluate dat | 3 | The zoo has
evaluate ./run --dataset folder | 2 | --root
evaluate ./run --dataset folder --root dat | 3 | 'data'
evaluate ./run --dataset catdog --root catdog | 3 | --root catdog
evaluate ./run --root data | 2 | --dataset
evaluate ./run --threshold best | 2 | youden
evaluate patients.csv | 2 | --columns truth=COLUMN
evaluate ./run --where age>50 | 2 | Columns:
explain ./run | 2 | --dataset
compare run | 2 | two or more runs
compare run ru | 3 | 'run'
report data | 3 | run.json
report ru | 3 | 'run'
show nothing | 3 | mammozoo list recipes
list models | 2 | datasets
list dataset | 2 | 'datasets'
data show bus | 3 | 'busi'
data check folder | 2 | --root
data chekc folder | 2 | 'check'
data audit-split nowhere.json --dataset folder --root data | 3 | no split file
data from-dicom data --out table.csv | 3 | DICOM
reproduce byra | 3 | 'byra-2021'
zoo pull some/model | 3 | hub:ORG/NAME@COMMIT
zoo push run | 2 | --repo
zoo push data --to z | 3 | config.json
merge data | 3 | run.json
plugins check nothing | 3 | pip install
"""
#: What no answer holds: a library's place on disk, its own words, a traceback.
FOREIGN = re.compile(
    r"site-packages|pydantic|Input should|errors\.pydantic|Traceback|no such unit|<class '|object at 0x"
)


@pytest.fixture(scope="module")
def world(tiny_run, tmp_path_factory) -> Path:
    """A folder in which somebody has collected what there is to be wrong with."""
    home = tmp_path_factory.mktemp("world")
    folder(home / "data")
    for name, each, classes in (("one", 12, ["benign"]), ("three", 3, None), ("catdog", 12, ["cat", "dog"])):
        folder(home / name, each, classes or ("benign", "malignant"))
    (home / "empty").mkdir()
    shutil.copytree(home / "data/benign", home / "loose")
    image = shutil.copy(home / "data/benign/000.png", home / "image.png").read_bytes()
    binaries = {
        "broken.png": image[:300], "words.docx": b"PK\3\4", "archive.zip": b"PK\3\4", "weights.pth": b"x", "empty.csv": b"",
        "binary.csv": bytes(range(256)), "fake.xlsx": b"path,label", "old.xls": b"\xd0\xcf\x11\xe0",
    }  # fmt: skip
    rows = [f"data/{label}/{number:03}.png,{label}" for label in ("benign", "malignant") for number in range(12)]
    tables = {
        "nolabel": ["path", *(row.split(",")[0] for row in rows)],
        "nopath": ["label,age", "benign,50"],
        "missing": ["path,label", *rows, "data/benign/999.png,benign"],
        "absolute": ["path,label", *(f"C:\\{row}" for row in rows)],
        "oneclass": ["path,label", *rows[:12]],
        "header": ["path,label"],
        "duplicated": ["path,label", *rows, rows[0].replace(",benign", ",malignant")],
        "patients": ["name,age", "Anna,50"],
    }
    binaries |= {f"{name}.csv": "\n".join(lines).encode() for name, lines in tables.items()}
    binaries["latin1.csv"] = "\n".join(["path,label", *rows]).replace("benign", "gutärtig").encode("latin-1")
    for name, content in binaries.items():
        (home / name).write_bytes(content)
    (home / "mine.yaml").write_text("dataset: folder\nbackbone: resnet9\nlearning_rate: 3\n")
    (home / "list.yaml").write_text(json.dumps(["a", "b"]))
    for name in ("run", "old"):
        shutil.copytree(tiny_run.path, home / name)
    edit_json(home / "old/config.json", lambda content: content["mammozoo"].update(format=99))
    return home


def _read(line: str) -> tuple[str, int, str]:
    words, code, said = line.split(" | ")
    return words, int(code), said


@pytest.mark.parametrize(("words", "code", "said"), list(map(_read, MISTAKES.strip().splitlines())))
def test_a_mistake(command, monkeypatch, world, words: str, code: int, said: str) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setattr(typer.main, "get_command", _COMMANDS)
    before = set(world.iterdir())
    answer = command(*shlex.split(words.replace("\\", "\\\\")))
    shown = " ".join(answer.err.split())
    assert answer.code == code, shown
    assert said in shown
    assert not FOREIGN.search(answer.out + answer.err)
    assert len(re.findall("^(?:mammozoo|Error): ", answer.err, re.MULTILINE)) == 1  # one message
    assert set(world.iterdir()) - {world / "runs"} == before  # nothing was begun


_COMMANDS = functools.cache(typer.main.get_command)  # made once for all
