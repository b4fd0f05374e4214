"""Predictions that anybody made: how a table is understood, what is refused with its line, and that scores are those of a run."""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from sklearn.metrics import roc_auc_score

import mammozoo
from mammozoo.errors import MammozooError, UsageError
from mammozoo.evaluation.conditions import holds
from mammozoo.evaluation.prediction_table import PredictionTable, read_prediction_table
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.selection import composite
from mammozoo.files import write_table

from ..helpers import random_outcome

STUDIES = Path(os.environ.get("MAMMOZOO_TEST_DATA", "nowhere")) / "data" / "studies"


def table(
    folder: Path, text: str, name: str = "t.csv", *, encoding: str = "utf-8", truth: str = "", **more
) -> PredictionTable:
    (folder / name).write_text(text.replace(" ", "\n") if "\n" not in text else text, encoding=encoding)
    other = None
    if truth:
        other = folder / "truth.csv"
        other.write_text(truth.replace(" ", "\n"))
    return read_prediction_table(folder / name, other, **more)


def read(folder: Path, text: str, *more, **options) -> tuple[tuple[str, ...], list[int], list[float], list[int]]:
    """Classes, labels, probabilities of the last class and decisions."""
    o = table(folder, text, *more, **options).predictions.outcome
    return o.classes, o.labels.tolist(), o.probabilities[:, -1].round(6).tolist(), o.decisions.tolist()


BENIGN = ("benign", "malignant")


@pytest.mark.parametrize(
    "text",
    [
        "image_id,ground_truth,prob_benign,prob_malignant a,benign,.8,.2 b,malignant,.4,.6 c,malignant,.7,.3",
        "image_id,truth,prob_malignant,prob_benign,logit_malignant a,benign,.2,.8,-9 b,malignant,.6,.4,9 c,malignant,.3,.7,9",
        "file,label,p_malignant a,BENIGN,.2 b,Malignant,.6 c,malignant,.3",
        "id,Diagnosis,P(benign) a,benign,.8 b,malignant,.4 c,malignant,.7",
        "id;y_true;score a;benign;0,2 b;malignant;0,6 c;malignant;0,3",
        "id\ty_true\tprediction a\tbenign\t.2 b\tmalignant\t6E-1 c\tmalignant\t.3",
        "img,target,malignant,benign a,benign,.2,.8 b,malignant,.6,.4 c,malignant,.3,.7",
        "id,truth,prob_malignant a,benign,20% b,malignant,60% c,malignant,30%",
        "id,truth,prob_benign,prob_malignant a,benign,80,20 b,malignant,40,60 c,malignant,70,30",
        "id,truth,mal_prob,ben_prob a,benign,.2,.8 b,malignant,.6,.4 c,malignant,.3,.7",
        "id,truth,logit a,benign,-1.3862944 b,malignant,.4054651 c,malignant,-.8472979",
        "id,truth,logit_benign,logit_malignant a,benign,1.3862944,0 b,malignant,0,.4054651 c,malignant,.8472979,0",
        '"id","truth","score","note" "a","benign",".2","x,y" "b","malignant",".6","" "c","malignant",".3","=1+1"',
    ],
)
def test_the_same_predictions_in_many_ways(tmp_path: Path, text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read(tmp_path, text, encoding=encoding) == (BENIGN, [0, 1, 1], [0.2, 0.6, 0.3], [0, 1, 0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,y,prob_0,prob_1 a,0,.8,.2 b,1.0,.4,.6", (("0", "1"), [0, 1], [0.2, 0.6], [0, 1])),
        ("id,is_malignant,risk a,False,.2 b,True,.6", (("false", "true"), [0, 1], [0.2, 0.6], [0, 1])),
        ("id,label,prob_benign,prob_malignant a,0,.8,.2 b,1,.4,.6", (BENIGN, [0, 1], [0.2, 0.6], [0, 1])),
        ("id,label,prob_malignant,prob_benign a,1,.2,.8 b,0,.6,.4", (BENIGN, [1, 0], [0.2, 0.6], [0, 1])),
        ("id,truth,prob_benign,prob_malignant a,no_cancer,.8,.2 b,Cancer,.4,.6", (BENIGN, [0, 1], [0.2, 0.6], [0, 1])),
        ("id,truth,score,pred a,0,.2,1 b,1,.6,0", (("0", "1"), [0, 1], [0.2, 0.6], [1, 0])),
        ("id,truth,score,threshold a,0,.2,.1 b,1,.6,.7", (("0", "1"), [0, 1], [0.2, 0.6], [1, 0])),
        ("id,truth,pred a,0,1 b,1,1", (("0", "1"), [0, 1], [1, 1], [1, 1])),
        (
            "id,truth,p_malignant a,normal,.2 b,malignant,.6 c,benign,.1",
            (("not malignant", "malignant"), [0, 1, 0], [0.2, 0.6, 0.1], [0, 1, 0]),
        ),
        ("id,y,p_1,p_2,p_3 a,1,.6,.2,.2 b,3,.1,.1,.8", (("1", "2", "3"), [0, 2], [0.2, 0.8], [0, 2])),
        (
            "id,truth,prob_normal,prob_benign,prob_malignant a,Normal,.6,.2,.2 b,benign,.1,.8,.1",
            (("benign", "malignant", "normal"), [2, 0], [0.6, 0.1], [2, 0]),
        ),
        ("id,split,truth,score a,train,0,.2 b,test,1,.6 c,test,0,.1", (("0", "1"), [1, 0], [0.6, 0.1], [1, 0])),
    ],
)  # fmt: skip
def test_classes_and_decisions(tmp_path: Path, text: str, expected: tuple[object, ...]) -> None:
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize("well", ["noncancer", "cancer-free", "cancer free", "non-cancer", "no cancer", "normal"])
def test_the_absence_of_cancer_is_not_the_positive_class(tmp_path: Path, well: str) -> None:
    (tmp_path / "t.csv").write_text(f"id,truth,score\na,cancer,0.9\nb,{well},0.2\nc,cancer,0.7\n")
    outcome = read_prediction_table(tmp_path / "t.csv").predictions.outcome
    assert outcome.classes == (well, "cancer") and outcome.labels.tolist() == [1, 0, 1]


def test_patients_folds_and_further_columns(tmp_path: Path) -> None:
    found = table(tmp_path, "image,Patient ID,fold,truth,score,Device\na,7,1,0,.2,GE\nb,7,2,1,.6,\nc,,1,1,.3,X\n")
    rows = found.predictions
    assert rows.outcome.groups.tolist() == [0, 0, 1] and rows.folds.tolist() == ["1", "2", "1"]
    assert {name: texts.tolist() for name, texts in rows.meta.items()} == {"device": ["GE", "", "X"]}
    assert found.taken["patient"] == "patient id" and any("fold=none" in note for note in found.notes)
    other = table(
        tmp_path,
        "image,foo,biopsy,ai\na,7,neg,.2\nb,8,pos,.6\n",
        columns=("truth=Biopsy, score=ai", "patient=foo", "id=none"),
    )
    assert other.predictions.patients.tolist() == ["7", "8"] and other.predictions.samples.tolist() == [
        "line 2",
        "line 3",
    ]
    assert table(tmp_path, "id,truth,score a,0,.2 b,1,.3", cut=0.25).predictions.outcome.decisions.tolist() == [0, 1]
    assert any("independent" in note for note in table(tmp_path, "id,truth,score a,0,.2 b,1,.3").notes)


def test_truth_of_a_table_of_its_own(tmp_path: Path) -> None:
    truth = "image_id,pathology,patient_id,device B.png,BENIGN,7,X A.png,malignant,8,Y zz.png,benign,9,X"
    found = table(
        tmp_path,
        "file,malignant_prob,benign_prob,label x/a.png,.9,.1,malignant x/b.png,.2,.8,malignant c.png,.2,.8,benign",
        truth=truth,
    )
    rows = found.predictions
    assert rows.outcome.labels.tolist() == [1, 0] and rows.outcome.decisions.tolist() == [1, 1]
    assert rows.patients.tolist() == ["8", "7"] and rows.meta["device"].tolist() == ["Y", "X"]
    text = " ".join(found.notes)
    assert "1 (c.png)" in text and "1 (zz.png)" in text
    with pytest.raises(UsageError, match="No id of"):
        table(tmp_path, "id,score q,.2 r,.3", truth=truth)
    with pytest.raises(UsageError, match=r"truth\.csv', line 3: the id 'a'"):
        table(tmp_path, "id,score a,.2 b,.3", truth="id,truth a,0 a,1 b,1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("id,truth,score", "no rows"),
        ("id,truth,prob_malignant a,benign,.2 b,malignant,1.2", "line 3: 'prob_malignant' is 1.2"),
        ("id,truth,score a,0,-3.5 b,1,2", "logit=score"),
        ("id,truth,prob_malignant a,benign,.2 b,malignant,nan", "line 3: 'prob_malignant' is 'nan'"),
        ("id,truth,prob_malignant a,benign, b,malignant,.4", "line 2: 'prob_malignant' is empty"),
        ("id,truth,prob_malignant a,benign,=B2*2 b,malignant,.4", "line 2: 'prob_malignant' is the formula"),
        ("id,truth,prob_malignant a,benign,inf b,malignant,.4", "line 2"),
        ("id,truth,prob_benign,prob_malignant a,benign,.8,.2 b,malignant,.4,.7", "line 3: the probabilities"),
        ("id,truth,score a,0,.2 b,1,.3 a,0,.2", "line 4: the id 'a' stands on line 2"),
        ("id,truth,prob_benign,prob_malignant a,benign,.8,.2 b,normal,.4,.6", "line 3: the truth is 'normal'"),
        ("id,truth,score,pred a,0,.2,0 b,1,.3,maybe", "line 3: 'pred' is 'maybe'"),
        ("id,truth,score a,0,.2 b,1", "line 3: 2 cells"),
        ("id,device,score a,0,.2", "truth=COLUMN"),
        ("id,truth,device a,0,x b,1,y", "score=COLUMN"),
        ("id,truth,pred a,benign,benign", "two classes"),
        ("id,truth,score a,b,.2 b,c,.3 c,d,.4", "3 classes"),
        ("id,truth,score " + " ".join(f"{i},c{i},.5" for i in range(10_000)), "10,000 values"),
        (f"id,truth,{','.join(f'prob_c{i}' for i in range(10_000))} a,c1,{','.join(['.0001'] * 10_000)}", "10,000 columns such as"),
        ("id,truth,score a,,.2 b,,.3", "no row has a truth"),
        ("sample,group,patient,lesion,fold,part,label,decision,threshold,p_m a,1,,,f,test,n,n,50,.5", "line 2: the threshold"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        table(tmp_path, text)
    assert words in str(refused.value) and "t.csv" in str(refused.value) and "\n" not in str(refused.value)


def test_any_table_is_scored_or_refused(tmp_path: Path) -> None:
    """Whatever cells stand in a small table: an answer with as many rows, or one message."""
    cells = ["benign", "malignant", "0", "1", ".3", "1.5", "", "nan", "=A1", "P1", "80%", "0,4"]
    names = [
        "id",
        "truth",
        "score",
        "prob_benign",
        "prob_malignant",
        "pred",
        "patient",
        "fold",
        "threshold",
        "logit",
        "split",
    ]
    draw, reads = np.random.default_rng(0), 0
    for _ in range(300):
        header = draw.choice(names, 5, replace=False)
        lines = [";".join(draw.choice(cells, 5)) for _ in range(draw.integers(1, 5))]
        try:
            rows = table(tmp_path, "\n".join([";".join(header), *lines])).predictions
        except MammozooError:
            continue
        reads += 1
        o = rows.outcome
        assert (
            len(o) == len(rows)
            and (o.probabilities >= 0).all()
            and np.abs(o.probabilities.sum(axis=1) - 1).max() < 0.011
        )
    assert reads > 5


def test_workbooks_and_formulas(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["read me"])
    sheet = book.create_sheet("data")
    for row in (["Image", "Truth", "Prob_malignant"], ["a", "benign", 0.2], ["b", "malignant", 0.6]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_prediction_table(tmp_path / "t.xlsx").predictions.outcome.decisions.tolist() == [0, 1]
    sheet["C3"] = "=1-0.4"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(UsageError, match="C3 of 'data' is a formula"):
        read_prediction_table(tmp_path / "t.xlsx")


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UsageError, match=r"t\.parquet"):
        read_prediction_table(tmp_path / "t.parquet")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "Image": ["a", "b"],
        "truth": ["benign", "malignant"],
        "prob_malignant": [0.2, 0.6],
        "patient": [1, None],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    rows = read_prediction_table(tmp_path / "t.parquet").predictions
    assert (rows.outcome.decisions.tolist(), rows.patients.tolist()) == ([0, 1], ["1", ""])


THREE = (
    "id,truth,prob_benign,prob_malignant,prob_normal,age,side "
    "a,benign,.5,.3,.2,41,L b,malignant,.1,.45,.45,50,R c,normal,.3,.4,.3,,l"
)


def test_composites(tmp_path: Path) -> None:
    rows = table(tmp_path, THREE).predictions
    both, _ = composite(rows, ["malignant"], ["benign", "normal"])
    assert both.outcome.classes == ("benign or normal", "malignant")
    assert both.outcome.labels.tolist() == [
        0,
        1,
        0,
    ] and both.outcome.decisions.tolist() == rows.outcome.decisions.tolist() == [0, 1, 1]
    assert both.outcome.probabilities[:, 1].tolist() == [0.3, 0.45, 0.4]
    assert np.array_equal(composite(rows, ["malignant"], [])[0].outcome.labels, both.outcome.labels)
    two, notes = composite(rows, ["mal"], ["benign"])
    assert two.samples.tolist() == ["a", "b"] and two.outcome.probabilities[:, 1] == pytest.approx([0.375, 0.45 / 0.55])
    assert two.outcome.decisions.tolist() == [0, 1] and any("normal" in note for note in notes)
    turned, _ = composite(two, ["benign"], [])
    assert turned.outcome.classes == ("benign", "malignant")[::-1] and turned.outcome.labels.tolist() == [1, 0]
    for wrong in ((["cyst"], []), (["malignant"], ["malignant"]), (["malignant", "benign", "normal"], [])):
        with pytest.raises(UsageError):
            composite(rows, *wrong)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("side=L", [1, 0, 1]), ("side=L and age>=41", [1, 0, 0]), ("age!=50", [1, 0, 1]), ("age<50.0", [1, 0, 0]),
        ('truth=benign,normal AND "side"=l', [1, 0, 1]), ("id=a", [1, 0, 0]), ("age = 41,50", [1, 1, 0]), ("Side='R'", [0, 1, 0]),
    ],
)  # fmt: skip
def test_conditions(tmp_path: Path, where: str, kept: list[int]) -> None:
    rows = table(tmp_path, THREE).predictions
    assert holds(rows.units, 3, where).astype(int).tolist() == kept
    if "decision" not in where:  # which a table need not have
        assert (
            table(tmp_path, THREE, where=where).predictions.samples.tolist()
            == rows.samples[np.array(kept) > 0].tolist()
        )


@pytest.mark.parametrize("where", ["", "side", "size=3", "age>old", "side>=3", "side=L and", "=3"])
def test_conditions_that_are_none(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError):
        holds(table(tmp_path, THREE).predictions.units, 3, where)


def test_what_the_message_advises_helps(tmp_path: Path) -> None:
    text = "id,truth,prob_benign,prob_malignant a,benign,.8,.2 b,normal,.4,.6 c,malignant,.1,.9"
    with pytest.raises(UsageError, match=r'--where "truth!=normal"'):
        table(tmp_path, text)
    assert table(tmp_path, text, where="truth!=normal").predictions.samples.tolist() == ["a", "c"]


def test_a_table_of_a_runs_own_predictions_has_the_scores_of_the_run(tiny_run, tmp_path: Path) -> None:
    rows = tiny_run.path / "predictions.csv"
    run, own = mammozoo.evaluate(tiny_run.path), mammozoo.evaluate(rows)
    assert own.scores == run.scores and own.study == run.study and own.n == run.n
    (result, *_) = mammozoo.compare([tiny_run.path, rows])
    assert result.difference == 0


@pytest.mark.skipif(not STUDIES.is_dir(), reason="needs data/studies below MAMMOZOO_TEST_DATA")
@pytest.mark.parametrize("name", ["a", "b"])
def test_real_tables_agree_with_scikit_learn_and_a_plain_bootstrap(name: str) -> None:
    """Values to the last digit; percentile intervals where both classes have 20 patients, as both are drawn by chance."""
    path = STUDIES / f"bus_bra_left_out_device_{name}.csv"
    expected = json.loads(path.with_suffix(".expected.json").read_text())
    found = mammozoo.evaluate(path, subgroup="device" if name == "a" else (), interval="percentile")
    parts = {"all": (found.scores, found.n)} | {f"device={p.value}": (p.scores, p.n) for p in found.subgroups}
    assert len(parts) == (len(expected) if name == "a" else 1)
    names = {"ece_top_class_10_bins": "ece-top-class", "brier_sum_over_classes": "brier-all-classes", "aurc": "aurc"}
    for (part, (scores, n)), (key, entry) in itertools.product(parts.items(), [(k, k) for k in expected["all"]]):
        entry = expected[part][key]
        if key in names:
            assert round(scores[names[key]].value, 4) == entry
        elif isinstance(entry, dict) and "low" in entry:
            assert round(scores[key].value, 4) == entry["value"]
            if n > 200:
                assert scores[key].low == pytest.approx(entry["low"], abs=5e-3)
                assert scores[key].high == pytest.approx(entry["high"], abs=5e-3)
    whole, study = expected["all"], found.study
    for row in study["risk_coverage"]["at"]:
        there = whole["abstention"][f"{row['confidence']:.2f}"]
        assert [round(row[name], 4) for name in ("coverage", "accuracy")] == [there["coverage"], there["accuracy"]]
        assert row["missed"] == there["false_negatives"]
    missed = study["missed"]
    assert [missed["n"], missed["patients"], missed["of_worst"]] == [
        whole[key]
        for key in ("false_negatives", "patients_with_false_negatives", "false_negatives_of_top_five_patients")
    ]
    o = found.evaluation.predictions.outcome
    assert found.scores["auc"].value == pytest.approx(roc_auc_score(o.labels, o.probabilities[:, 1]), abs=1e-12)


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("malignant", "benign"), ("zeta", "alpha"), ("1", "0")])
def test_what_mammozoo_wrote_is_read_as_it_was_meant(tmp_path: Path, classes: tuple[str, str]) -> None:
    """The second class is the positive one, and further columns are never taken for truth, ids or probabilities."""
    n = 20
    o = dataclasses.replace(random_outcome(2, n, n), classes=classes)
    meta = {
        "groundtruth": ["x"] * n, "image_id": ["7"] * n, "patientid": ["P"] * n, "p_reader": ["0.3"] * n, "label": ["y"] * n,
        "device": ["GE"] * n,
    }  # fmt: skip
    texts = [np.full(n, text) for text in ("all", "test", "", "")]
    own = Predictions(np.arange(n).astype(str), *texts, o, np.full(n, 0.4), {k: np.array(v) for k, v in meta.items()})
    found = read_prediction_table(write_table(tmp_path / "t.csv", own.rows())).predictions
    assert found.outcome.classes == classes and (found.outcome.labels == o.labels).all()
    assert np.allclose(found.outcome.probabilities, o.probabilities) and (found.outcome.decisions == o.decisions).all()
    assert {"device", "groundtruth", "p_reader", "meta_label"} <= found.meta.keys() and not (found.patients != "").any()
