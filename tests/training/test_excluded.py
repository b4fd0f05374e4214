"""Images that a list excludes: they are in no part, the run says how many and why, and a changed list is another run."""

import json
import shutil
from pathlib import Path

import pytest

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.exclusions import Exclusion, digest, write_exclusions
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.run_files import read_key
from mammozoo.report.page import write_report
from mammozoo.report.paper import material_of, write_paper
from mammozoo.training.experiment import resume, train
from mammozoo.training.fit_spec import all_fits, depends_on, fit_specs, recipe_text, state_key
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.refit import refit

from ..builtin.trees.pictures import picture_folder
from ..helpers import Notes, edit_json, tiny

OUT = ["benign/03-0.png", "malignant/07-0.png", "malignant/11-0.png"]
ROWS = [
    Exclusion(OUT[0], "label-error", "labelled benign"),
    Exclusion(OUT[1], "blurred"),
    Exclusion(OUT[2], "blurred"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """`data`, `list.csv`, and the runs `whole` of two folds and `all`, which excludes nothing."""
    folder = tmp_path_factory.mktemp("excluded")
    picture_folder(folder / "data", seed=0)
    write_exclusions(folder / "list.csv", ROWS)
    train(recipe(folder, **{"split.folds": 2}), folder / "whole")
    train(recipe(folder, exclude=None), folder / "all")
    return folder


def recipe(home: Path, **fields: object) -> Recipe:
    own = {"dataset": "folder", "root": str(home / "data"), "exclude": str(home / "list.csv")}
    return tiny(**(own | fields))


def prepared(home: Path, **fields: object) -> PreparedRun:
    return prepare(recipe(home, **fields))


def test_excluded_images_are_in_no_part_and_every_page_counts_them(home: Path, tmp_path: Path) -> None:
    whole, every = home / "whole", home / "all"
    assert not {*OUT} & {*read_predictions(whole).samples.tolist()}
    facts = json.loads((whole / "run.json").read_text())
    assert (facts["images"], facts["excluded"]) == (37, {"blurred": 2, "label-error": 1})
    assert (whole / "excluded.csv").read_text() == (home / "list.csv").read_text()
    text = "3 further images were excluded before the split: 2 blurred, 1 label-error."
    report = write_report(whole, out=tmp_path / "report.md", format="md", heatmaps=False).read_text()
    assert (whole / "README.md").read_text().count(text) == 1
    assert report.count(text) == 3, "split, and two items of CLAIM"
    assert "scores are higher than on all images" in report and str(home) not in report
    write_paper(tmp_path / "paper", material_of(whole))
    captions = (tmp_path / "paper" / "figures" / "captions.md").read_text()
    assert "40 images of folder − excluded: 3, 2 blurred, 1 label-error; 37 images;" in captions
    assert not (every / "excluded.csv").exists() and "exclu" not in (every / "README.md").read_text()


def test_keys_hold_what_is_excluded_and_are_those_of_before_without_a_list(home: Path, tmp_path: Path) -> None:
    (one, _), (plain,) = fit_specs(prepared(home, **{"split.folds": 2})), fit_specs(prepared(home, exclude=None))
    assert "exclude" not in recipe_text(one.recipe) + recipe_text(plain.recipe)
    assert (read_key(home / "whole" / "fold-0") or {})["excluded"] == digest(ROWS)
    assert "excluded" not in depends_on(prepared(home, exclude=None), plain)
    shutil.copy(home / "list.csv", tmp_path / "moved.csv")
    moved, empty = (
        prepared(home, exclude=str(tmp_path / name))
        for name in ("moved.csv", write_exclusions(tmp_path / "e.csv", []).name)
    )
    (spec,) = fit_specs(moved)
    assert state_key(moved, spec) == state_key(prepared(home), fit_specs(prepared(home))[0])
    assert depends_on(empty, fit_specs(empty)[0]) == depends_on(prepared(home, exclude=None), plain)


def begun(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(an interrupted copy of `whole`, its own list)."""
    run = Path(shutil.copytree(home / "whole", tmp_path / "run"))
    listed = Path(shutil.copy(home / "list.csv", tmp_path / "list.csv"))
    file = run / "recipe.yaml"
    file.write_text(file.read_text().replace(str(home / "list.csv"), str(listed)))
    shutil.rmtree(run / "fold-1")
    (run / "predictions.csv").unlink()
    edit_json(run / "run.json", lambda facts: facts.update(status="running"))
    return run, listed


def test_a_run_goes_on_with_its_list_and_not_with_another(home: Path, tmp_path: Path) -> None:
    run, listed = begun(home, tmp_path)
    write_exclusions(listed, ROWS[:2])
    with pytest.raises(IncompatibleError, match=r"new \(malignant/11-0\.png\)"):
        resume(run)
    listed.unlink()
    with pytest.raises(NotFoundError, match="no list of images to exclude"):
        resume(run)
    listed.write_text("\ufeffimage;reason\r\n" + "".join(f"{one.image};seen\r\n" for one in reversed(ROWS)), newline="")
    resume(run)  # the same images, for other reasons
    assert (run / "predictions.csv").read_bytes() == (home / "whole" / "predictions.csv").read_bytes()
    assert json.loads((run / "run.json").read_text())["excluded"] == {"seen": 3}
    write_exclusions(listed, ROWS[1:])
    with pytest.raises(IncompatibleError, match=r"new \(benign/03-0\.png\)"):
        refit(run)
    write_exclusions(listed, ROWS)
    config = json.loads((refit(run) / "config.json").read_text())["mammozoo"]
    assert config["training"]["images"]["train"] == 37


def test_a_file_that_cannot_be_read_stops_nothing_once_it_is_excluded(home: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(home / "data", tmp_path / "data"))
    (data / OUT[0]).write_bytes(b"no image")
    assert len(prepare(recipe(home, root=str(data))).data.samples) == 37


def test_a_split_file_may_name_excluded_images_unless_a_part_has_no_others(home: Path, tmp_path: Path) -> None:
    split = home / "all" / "splits.json"
    before = json.loads(split.read_text())["splits"][0]
    (made,) = (one := prepared(home, **{"split.file": str(split)})).splits
    for part in ("train", "val", "test"):
        assert [one.data.names[i] for i in made.part(part)] == [name for name in before[part] if name not in OUT]
    rows = "".join(
        f"{n},{'val' if n in OUT else 'train' if i % 2 else 'test'}\n" for i, n in enumerate([*one.data.names, *OUT])
    )
    (tmp_path / "split.csv").write_text(f"sample,part\n{rows}")
    with pytest.raises(UsageError, match=r"every image of the part val of 'holdout' is excluded"):
        prepared(home, **{"split.file": str(tmp_path / "split.csv")})


def test_a_list_that_leaves_no_image_of_a_class_is_refused_before_anything_is_read(home: Path, tmp_path: Path) -> None:
    rows = [Exclusion(f"benign/{number:02}-0.png", "blurred") for number in range(20)]
    notes = Notes()
    with pytest.raises(UsageError, match=r"no image of class 'benign': the list '.*all\.csv' leaves none"):
        prepare(recipe(home, exclude=str(write_exclusions(tmp_path / "all.csv", rows))), notes)
    assert any("20 of 40 images are excluded by the list" in text for text in notes.said)
    with pytest.raises(UsageError, match="None of the 1 images"):
        prepared(home, exclude=str(write_exclusions(tmp_path / "other.csv", [Exclusion("x.png", "")])))


def test_of_joined_sets_images_are_named_with_or_without_their_set(home: Path, tmp_path: Path) -> None:
    picture_folder(tmp_path / "other", seed=3)
    (tmp_path / "other" / "benign" / "19-0.png").rename(tmp_path / "other" / "benign" / "own.png")
    rows = [Exclusion("here/benign/03-0.png", "a"), Exclusion("benign/own.png", "b"), Exclusion("gone.png", "c")]
    both = {"here": str(home / "data"), "there": str(tmp_path / "other")}
    fields = {
        "dataset": "here=folder+there=folder",
        "root": both,
        "exclude": str(write_exclusions(tmp_path / "l.csv", rows)),
    }
    notes = Notes()
    one = prepare(recipe(home, **fields), notes)
    assert [x.image for x in one.data.excluded] == ["here/benign/03-0.png", "there/benign/own.png"]
    assert any("lists 1 images that" in text and "'gone.png'" in text for text in notes.said)
    write_exclusions(tmp_path / "l.csv", [Exclusion("benign/03-0.png", "a")])
    with pytest.raises(UsageError, match="names several images"):
        prepare(recipe(home, **fields))


def test_a_stage_on_the_same_data_excludes_the_same_images(home: Path) -> None:
    stages = [{"name": "same", "strategy": "full"}, {"name": "other", "strategy": "full", "dataset": "phantom:n=24"}]
    final = prepared(home, stages=stages)
    same, other = final.stages
    assert [len(one.data.excluded) for one in (same, other, final)] == [3, 0, 3]
    assert [counts.get("excluded") for counts in final.stage_counts()] == [{"blurred": 2, "label-error": 1}, None]
    (stage, (spec,)), *_ = all_fits(final)
    assert depends_on(stage, spec)["excluded"] == digest(ROWS)


def test_a_recipe_without_a_list_is_written_and_read_as_before(home: Path) -> None:
    assert load(str(home / "all" / "recipe.yaml")).exclude is None
    with pytest.raises(NotFoundError, match=r"no list of images to exclude 'gone\.csv'"):
        prepared(home, exclude="gone.csv")
