"""Studies: what a protocol refuses, a whole study on phantoms, a killed one, and attempts to cheat."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mammozoo.data.joined import open_dataset
from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError, UsageError
from mammozoo.study.deviations import deviations
from mammozoo.study.freeze import freeze, read_frozen, resolved
from mammozoo.study.ledger import Ledger, holding
from mammozoo.study.protocol import read_protocol
from mammozoo.study.report import write_report
from mammozoo.study.run import Study, carry_out, choose
from mammozoo.study.template import init

from ..helpers import random_outcome

TABLES = """\
question: Does it hold elsewhere?
models:
  ours: {tables: {development: ours.csv, elsewhere: ours-elsewhere.csv}, parameters: 1000}
  theirs: {tables: {development: theirs.csv, elsewhere: theirs-elsewhere.csv}, parameters: 100}
choose: {metric: auc, within: 0.005}
threshold: sensitivity:0.9
locked:
  elsewhere: {where: "device=GE"}
primary: {metric: auc, on: elsewhere, compare: [ours, theirs]}
subgroups: [device]
"""
TINY = "backbone: test_resnet, weights: random, size: 32, epochs: 1, augment: [], device: cpu"
TRAINED = f"""\
question: Does a frozen network do as well?
data: {{dataset: "phantom:n=40"}}
split: {{test: 0.3, val: 0.3}}
models:
  full: {{recipe: default, settings: {{{TINY}, strategy: full}}}}
  frozen: {{recipe: default, settings: {{{TINY}, strategy: frozen}}}}
choose: {{metric: auc, on: validation}}
locked:
  test: {{}}
  elsewhere: {{dataset: "phantom:n=40,seed=7"}}
primary: {{metric: accuracy, on: elsewhere, compare: [full, frozen]}}
"""


def table(path: Path, seed: int) -> None:
    found = random_outcome(2, 60, 60, seed=3)
    other = random_outcome(2, 60, 60, seed=seed)
    rows = [
        f"{i},{'malignant' if found.labels[i] else 'benign'},{p:.4f},{'GE' if i % 3 else 'Esaote'}"
        for i in range(60)
        for p in [0.5 * other.probabilities[i, 1] + 0.5 * found.probabilities[i, 1]]
    ]
    path.write_text("\n".join(["id,truth,prob_malignant,device", *rows]), encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A frozen study of two models that are tables."""
    folder = tmp_path / "study"
    folder.mkdir()
    for seed, name in enumerate(("ours", "theirs", "ours-elsewhere", "theirs-elsewhere")):
        table(folder / f"{name}.csv", seed)
    (folder / "study.yaml").write_text(TABLES, encoding="utf-8")
    freeze(folder)
    return folder


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "study.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def said(folder: Path) -> str:
    """The deviations that stand first in the report."""
    return "\n".join(deviations(Study(folder)))


def test_a_study_that_keeps_to_its_protocol_has_no_deviation(study: Path) -> None:
    assert read_frozen(study)["protocol_sha256"] in (study / "protocol.md").read_text(encoding="utf-8")
    carry_out(study)
    assert not said(study)
    before = (study / "ledger.jsonl").read_bytes()
    carry_out(study)
    assert (study / "ledger.jsonl").read_bytes() == before, "nothing is opened again"
    text = write_report(study).read_text(encoding="utf-8")
    assert "None that" in text
    assert "by auc: ours" in text and "| 40 |" in text, "the rows where device=GE, in the comparison named primary"
    methods = (study / "paper" / "elsewhere" / "text.md").read_text(encoding="utf-8")
    assert read_frozen(study)["protocol_sha256"] in methods and "sensitivity:0.9" in methods


def test_excluded_images_stand_in_the_protocol_and_their_list_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(TRAINED, encoding="utf-8")
    freeze(tmp_path)
    before = read_frozen(tmp_path)["recipes"]
    assert "exclude" not in resolved(read_protocol(tmp_path)[0], "full", tmp_path), "as in studies of before"
    edit(tmp_path, '"phantom:n=40"}', '"phantom:n=40", exclude: list.csv}')
    with pytest.raises(NotFoundError, match="no list of images to exclude"):
        freeze(tmp_path)
    (name, *_) = [sample.image for sample in open_dataset("phantom:n=40", None).samples()]
    (tmp_path / "list.csv").write_text(f"image,reason\n{name},blurred\n", encoding="utf-8")
    freeze(tmp_path)
    frozen = read_frozen(tmp_path)
    assert frozen["recipes"] == before, "a recipe without the place of the list"
    assert frozen["tables"].keys() == {"list.csv"}
    carry_out(tmp_path)
    assert not said(tmp_path)
    for run in (tmp_path / "runs").iterdir():
        assert json.loads((run / "run.json").read_text())["excluded"] == {"blurred": 1}
    (tmp_path / "list.csv").write_text("image,reason\n", encoding="utf-8")
    assert "list.csv: the file is not the one that was there at the freezing" in said(tmp_path)
    edit(tmp_path, "strategy: full}", "strategy: full, exclude: list.csv}")
    with pytest.raises(UsageError, match="'exclude' is the same for all models"):
        read_protocol(tmp_path)


def test_a_table_that_has_not_come_opens_nothing(study: Path) -> None:
    (study / "theirs-elsewhere.csv").rename(study / "later.csv")
    with pytest.raises(NotFoundError, match="are missing"):
        carry_out(study)
    assert not Ledger(study).of("opening")
    (study / "later.csv").rename(study / "theirs-elsewhere.csv")
    carry_out(study)
    assert not said(study)


def change_protocol(folder: Path) -> None:
    edit(folder, "sensitivity:0.9", "youden")


def change_predictions(folder: Path) -> None:
    path = folder / "opened" / "elsewhere" / "ours.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("benign,malignant", "benign,benign"), encoding="utf-8")
    path.write_bytes(path.read_bytes() + b"\n")


def change_table(folder: Path) -> None:
    table(folder / "ours-elsewhere.csv", 9)


def change_ledger(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"part": "elsewhere"', '"part": "nowhere"', 1), encoding="utf-8"
    )


def forget_opening(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"event": "open' not in line), encoding="utf-8")


def hide_change(folder: Path) -> None:
    change_protocol(folder)
    path = folder / "frozen.json"
    path.write_text(path.read_text(encoding="utf-8").replace("sensitivity:0.9", "youden"), encoding="utf-8")


def add_event(folder: Path) -> None:
    """A line that keeps the chain, and says nothing."""
    Ledger(folder).add("opened", "0" * 64, part="elsewhere")


@pytest.mark.parametrize(
    ("cheat", "word"),
    [
        (hide_change, "frozen.json was changed"),
        (add_event, "ledger was changed"),
        (change_protocol, "changed after it was frozen: threshold"),
        (change_predictions, "'ours.csv' of 'elsewhere'"),
        (change_table, "ours-elsewhere.csv"),
        (change_ledger, "ledger was changed"),
    ],
)
def test_what_was_changed_after_the_opening_stands_first_in_the_report(study: Path, cheat: Callable, word: str) -> None:
    carry_out(study)
    cheat(study)
    assert word in said(study)


def test_a_second_opening_needs_a_reason_and_is_printed(study: Path, command) -> None:
    carry_out(study)
    change_protocol(study)
    with pytest.raises(ConflictError, match=r"changed after it was frozen on [-0-9]+: threshold"):
        carry_out(study)
    with pytest.raises(ConflictError, match="opened its locked parts"):
        freeze(study)
    assert command("study", "run", study, "--deviate", "A better threshold.").ok
    head, _, rest = write_report(study).read_text(encoding="utf-8").partition("## Deviations from the protocol")
    assert head.startswith("# ") and "##" not in head, "deviations come first"
    found = rest.partition("##")[0]
    assert "opened 2 times" in found and "A better threshold." in found and "changed after" in found
    edit(study, "youden", "sensitivity:0.9")
    assert "opened 2 times" in said(study), "putting the protocol back does not take the opening back"


def test_another_primary_outcome_gets_no_verdict(study: Path) -> None:
    carry_out(study)
    edit(study, "primary: {metric: auc", "primary: {metric: specificity")
    assert "primary" in said(study)
    assert "by specificity" not in write_report(study).read_text(encoding="utf-8")


def test_openings_cannot_be_forgotten(study: Path) -> None:
    carry_out(study)
    forget_opening(study)
    assert not Ledger(study).problem, "the end of a chain can be cut off"
    with pytest.raises(ConflictError, match="has been opened"):
        carry_out(study)
    (study / "ledger.jsonl").unlink()
    with pytest.raises(IncompatibleError, match="does not know of the freezing"):
        carry_out(study)
    with pytest.raises(ConflictError):
        freeze(study)


def test_freezing_again_after_the_choice_is_a_deviation(study: Path) -> None:
    (study / "theirs-elsewhere.csv").rename(study / "later.csv")
    with pytest.raises(NotFoundError):
        carry_out(study)
    change_protocol(study)
    freeze(study)
    (study / "later.csv").rename(study / "theirs-elsewhere.csv")
    carry_out(study)
    assert "frozen again" in said(study)


def test_a_torn_last_line_is_no_event_and_is_gone_on_after(study: Path) -> None:
    path = study / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "openi')
    carry_out(study)
    assert path.read_bytes().startswith(whole) and not Ledger(study).problem and not said(study)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("on: elsewhere", "on: nowhere", "not a locked part"),
        ("choose: {metric: auc", "choose: {metrik: auc", "unknown key"),
        ("choose: {metric: auc", "choose: {on: elsewhere, metric: auc", "choose.on"),
        ("compare: [ours, theirs]", "compare: [ours, mine]", "mine"),
        ("subgroups: [device]", "resamples: 10", "resamples"),
        ("parameters: 1000", "recipe: default", "one of"),
        ("{where:", "{dataset: busi, root: gone, where:", "gone"),
        ("choose: {metric: auc", "choose: {metric: aux", "aux"),
    ],
)
def test_a_protocol_that_contradicts_itself_is_not_frozen(study: Path, old: str, new: str, word: str) -> None:
    edit(study, old, new)
    with pytest.raises((UsageError, NotFoundError), match=word):
        freeze(study)


RECIPES = """\
question: Is it so?
data: {dataset: "phantom:n=40"}
split: {file: split.csv}
choose: {on: validation}
models:
  own: {recipe: own.yaml}
locked:
  elsewhere: {dataset: csv, root: images.csv}
primary: {metric: auc, on: elsewhere}
"""


def test_what_the_protocol_names_is_frozen_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(RECIPES, encoding="utf-8")
    (tmp_path / "own.yaml").write_text("backbone: test_resnet\nweights: random\nepochs: 1\n", encoding="utf-8")
    (tmp_path / "split.csv").write_text("sample,part\n", encoding="utf-8")
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    (tmp_path / "images.csv").write_text("path,label\na.png,benign\n", encoding="utf-8")
    assert "backbone: test_resnet" in freeze(tmp_path).read_text(encoding="utf-8")
    assert not said(tmp_path)
    (tmp_path / "images.csv").write_text("path,label\na.png,malignant\n", encoding="utf-8")
    (tmp_path / "split.csv").write_text("sample,part\n1,test\n", encoding="utf-8")
    assert "images.csv: the file" in said(tmp_path) and "split.csv: the file" in said(tmp_path)
    (tmp_path / "own.yaml").write_text("backbone: test_resnet\nweights: random\nepochs: 9\n", encoding="utf-8")
    assert "the recipe of own" in said(tmp_path)
    with pytest.raises(ConflictError, match="recipe of own"):
        carry_out(tmp_path)
    freeze(tmp_path)
    assert not said(tmp_path)


def test_a_threshold_is_not_chosen_on_the_locked_rows(study: Path) -> None:
    (study / "ours-elsewhere.csv").write_bytes((study / "ours.csv").read_bytes())
    with pytest.raises(UsageError, match="same file"):
        carry_out(study)
    assert not Ledger(study).of("opening")


def test_one_works_on_a_study_at_a_time(study: Path) -> None:
    with holding(study):
        for work in (freeze, carry_out):
            with pytest.raises(ConflictError, match="Another process"):
                work(study)


def test_a_threshold_of_unknown_origin_is_said(study: Path) -> None:
    edit(study, "development: theirs.csv, ", "")
    freeze(study)
    carry_out(study)
    text = (write_report(study).parent / "paper" / "elsewhere" / "text.md").read_text(encoding="utf-8")
    assert (
        "theirs decides as its table says" in text and "ours decides at a threshold by the rule sensitivity:0.9" in text
    )


def test_a_part_of_one_class_gets_one_message(study: Path) -> None:
    edit(study, "device=GE", "truth=benign")
    freeze(study)
    carry_out(study)
    with pytest.raises(UsageError, match="auc"):
        write_report(study)


def test_the_rule_of_choice() -> None:
    scores, sizes = {"a": 0.900, "b": 0.896, "c": 0.80}, {"a": 50.0, "b": 5.0, "c": 1.0}
    assert choose(scores, sizes, 0.0) == "a" and choose(scores, sizes, 0.005) == "b"
    assert choose(scores, sizes, 0.0, higher=False) == "c"


def test_what_init_writes_can_be_frozen(command, tmp_path: Path) -> None:
    words = ["--question", "Does it: hold?", "--dataset", "phantom:n=40"]
    for folder, text in (("a", "phantom:n=20="), ("c", "phantom:n=20,seed=9")):
        assert command("study", "init", folder, *words, "--external", text).ok
        assert f"phantom: {{dataset: '{text.removesuffix('=')}'}}" in Path(folder, "study.yaml").read_text()
    assert command("study", "freeze", "a").ok.out == "a/protocol.md\n"
    init(tmp_path / "b", "Is it so?", "phantom:n=40", None, {})
    assert read_protocol(tmp_path / "b")[0].choose.on == "validation"
    command("study", "init", "a", *words).refused(9, "not replaced")
    command("study", "run", "b").refused(2, "not frozen")


def test_a_folder_stands_in_the_place_of_a_data_set(command, tmp_path: Path) -> None:
    for place in ("clinic", "Other place"):
        for name in ("benign/1.png", "malignant/2.png"):
            (tmp_path / place / name).parent.mkdir(parents=True)
            Image.new("L", (16, 16)).save(tmp_path / place / name)
    words = ["--question", "Does it hold?", "--dataset", "clinic", "--external", "./Other place"]
    assert command("study", "init", "deep/mine", *words).ok
    protocol = read_protocol(tmp_path / "deep" / "mine")[0]
    assert (protocol.data.dataset, str(protocol.data.root)) == ("folder", "../../clinic")
    assert str(protocol.locked["other-place"].root) == "../../Other place" and protocol.primary.on == "other-place"
    assert command("study", "freeze", "deep/mine").ok
    assert command("study", "init", "named", *words[:2], "--dataset", "folder", "--root", "clinic").ok
    assert str(read_protocol(tmp_path / "named")[0].data.root) == "../clinic"
    command("study", "init", "no", *words[:4], "--external", "nowhere").refused(2, "--external")


def test_a_killed_study_goes_on_and_opens_once(tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "study.yaml").write_text(TRAINED, encoding="utf-8")
    freeze(folder)
    words = [sys.executable, "-m", "mammozoo", "-q", "study", "run", str(folder)]
    with subprocess.Popen(words, env=os.environ) as process:
        until = time.monotonic() + 400
        while '"trained"' not in (folder / "ledger.jsonl").read_text("utf-8") and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    carry_out(folder)
    events = [json.loads(line)["event"] for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events.count("trained") == 2 and events.count("opening") == events.count("opened") == 2
    assert events.index("opening") < events.index("trained"), "a run scores its own test part when it is trained"
    assert not said(folder)
    assert {path.parent.name for path in (folder / "opened").rglob("*.csv")} == {"test", "elsewhere"}
    path = next((folder / "runs").glob("full-*")) / "predictions.csv"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert "'full' is not the one" in said(folder)
