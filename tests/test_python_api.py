"""The Python API for notebooks, and its page, whose blocks are executed and print what stands under them."""

import dataclasses
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mammozoo
from mammozoo.config.loading import load as read_recipe
from mammozoo.data.io.images import checked, image_from_memory, read_image
from mammozoo.errors import ConflictError, NotFoundError, UsageError
from mammozoo.evaluation.predict import Prediction
from mammozoo.plugins import registry
from mammozoo.training.run_directory import RunDirectory

from .helpers import python

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
EXAMPLE = Path(mammozoo.__file__).with_name("example.png")


def _without_digits(text: str) -> str:
    """What is the same on every machine: numbers with a point may differ after it."""
    return re.sub(r"\d+\.\d+", "0.0", text)


def test_the_page_does_what_it_says(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 10
    assert len(blocks) == PAGE.read_text(encoding="utf-8").count("```python")
    notebook: dict[str, object] = {"__name__": "notebook"}
    for code, said in blocks:
        capsys.readouterr()
        exec(compile(code, str(PAGE), "exec"), notebook)
        assert _without_digits(capsys.readouterr().out) == _without_digits(said), code


@pytest.mark.parametrize("name", sorted({*mammozoo.__all__, "list"}))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mammozoo, name) is not None


def test_a_star_import_leaves_pythons_own_list_and_the_package_is_imported_without_torch() -> None:
    space: dict[str, object] = {}
    exec("from mammozoo import *", space)
    assert "load" in space and "list" not in space
    ask = (
        "import sys, mammozoo.api; assert {'load', 'train', 'predict', 'list'} <= set(dir(mammozoo));"
        "print(*[name for name in ('torch', 'numpy', 'PIL', 'pydantic') if name in sys.modules])"
    )
    assert python("-c", ask).ok.out.strip() == ""


def test_list_says_what_the_command_says(command) -> None:
    keys = ("name", "summary", "plugin", "distribution", "version")
    for kind in ("strategies", "recipes"):
        said = [{key: row[key] for key in keys} for row in command("list", kind, "--json").json["items"]]
        assert [dataclasses.asdict(item) for item in mammozoo.list(kind)] == said
    assert [item.name for item in mammozoo.list("strategies", match="block")] == ["last-blocks"]
    with pytest.raises(UsageError, match="Did you mean 'strategies'"):
        mammozoo.list("strategy")


# ---------------------------------------------------------------- train and evaluate


def test_settings_arrive_in_the_recipe(monkeypatch, tmp_path) -> None:
    """Dotted keys and arguments, a path as text, and a Recipe in the place of its name."""
    seen = []
    monkeypatch.setattr("mammozoo.training.experiment.train", lambda recipe, out, progress: seen.append((recipe, out)))
    mammozoo.train("default", {"optimizer.lr": 0.5, "split.folds": 3}, epochs=2, root=tmp_path, out="here")
    recipe, out = seen[0]
    assert (recipe.optimizer.lr, recipe.split.folds, recipe.epochs, recipe.root) == (0.5, 3, 2, tmp_path)
    assert recipe.optimizer.weight_decay == read_recipe("default").optimizer.weight_decay
    assert out == Path("here")
    mammozoo.train(recipe, {"optimizer.lr": 0.25}, seed=7)
    again, out = seen[1]
    assert out is None
    expected = recipe.model_copy(update={"seed": 7, "optimizer": recipe.optimizer.model_copy(update={"lr": 0.25})})
    assert again == expected
    file = tmp_path / "own.yaml"
    file.write_text(recipe.to_yaml())
    mammozoo.train(file)
    assert seen[2][0] == recipe


def test_evaluate_gives_the_scores_of_the_run_and_what_train_refuses(tiny_run, tmp_path) -> None:
    scored = mammozoo.evaluate(tiny_run.path)
    assert scored.scores["auc"].value == pytest.approx(tiny_run.facts["scores"]["auc"]["value"])
    assert scored.n == scored.scores["auc"].n == tiny_run.facts["scores"]["auc"]["n"]
    assert scored.stamps == tuple(tiny_run.facts["stamps"])
    with pytest.raises(UsageError, match="dataset"):
        mammozoo.evaluate(tiny_run.path, root="somewhere")
    with pytest.raises(UsageError, match="'epochs' is set twice"):
        mammozoo.train("default", {"epochs": 1}, epochs=2)
    with pytest.raises(UsageError, match=r"unknown key 'optimizer\.rate'"):
        mammozoo.train("default", {"optimizer.rate": 1})
    with pytest.raises(NotFoundError, match="nothing"):
        mammozoo.train("nothing")
    with pytest.raises(ConflictError, match="never overwritten"):
        mammozoo.train(tiny_run.recipe, out=tiny_run.path)


# ---------------------------------------------------------------- load and predict


@pytest.fixture(scope="module")
def model(tiny_run) -> mammozoo.Classifier:
    return mammozoo.load(tiny_run.path, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    dataset = registry().get("datasets", "phantom")(None, n=60)
    return np.asarray(dataset.read(dataset.samples()[0]))


def _answer(prediction: Prediction) -> tuple[object, ...]:
    """All but where it came from."""
    values = vars(prediction) if hasattr(prediction, "__dict__") else dataclasses.asdict(prediction)
    return tuple(value for name, value in values.items() if name not in ("file", "sha256"))


def test_load_takes_a_folder_a_zoo_name_or_nothing(model: mammozoo.Classifier, tiny_run) -> None:
    assert model.classes == ("benign", "malignant")
    assert model.folder == tiny_run.path
    assert not model.model.training
    assert mammozoo.load().config == mammozoo.load("zoo:ultrasound").config == mammozoo.load("ultrasound").config
    assert len(repr(model)) < 500  # a notebook shows it
    with pytest.raises(NotFoundError, match="Did you mean 'busi-resnet9'"):
        mammozoo.load("busi-resnet8")
    with pytest.raises(UsageError, match="not 'fp16'"):
        mammozoo.load(tiny_run.path, precision="fp16")


def test_images_in_memory_get_the_answer_of_their_file(model, phantom: np.ndarray, tmp_path) -> None:
    """Of every type that has a file format, grey and in colour; the file is written by Pillow alone."""
    colour = np.stack([phantom, phantom // 2, 255 - phantom], axis=-1)
    deep = phantom.astype(np.uint16) * 16
    arrays = [phantom, colour, deep, phantom.astype(np.float32) / 255, phantom > 99]
    names = ["grey.png", "colour.png", "deep.png", "float.tif", "bits.png"]
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array).save(tmp_path / name)
    files = model.predict([tmp_path / name for name in names], force=True)
    assert [Path(f.file).name for f in files] == names and all(f.sha256 and not f.error for f in files)
    memory = model.predict(arrays, force=True)
    assert [m.file for m in memory] == [f"images[{n}]" for n in range(5)]
    assert [m.sha256 for m in memory] == [None] * 5
    assert list(map(_answer, memory)) == list(map(_answer, files))
    pillow = model.predict((Image.open(tmp_path / name) for name in names), force=True)
    assert list(map(_answer, pillow)) == list(map(_answer, files))
    assert len({json.dumps(f.probabilities) for f in files}) > 2  # they are different images to it
    backwards = model.predict(
        [phantom[::-1].copy()[::-1], colour[:, ::-1].copy()[:, ::-1], deep.T.copy().T], force=True
    )
    for one, other in zip(backwards, files, strict=False):  # of a smaller batch, so the last bits may differ
        assert one.label == other.label and one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P, transparent", "RGB", "RGBA", "I;16", "I", "F", "CMYK"])
def test_a_pillow_image_is_read_as_its_file_is(phantom: np.ndarray, tmp_path, mode: str) -> None:
    """Bit for bit, through PNG, or TIFF for the modes that PNG lacks."""
    colour = Image.fromarray(np.stack([phantom, phantom // 2, 255 - phantom], axis=-1))
    image = {
        "LA": lambda: Image.merge("LA", [Image.fromarray(phantom), Image.fromarray(255 - phantom)]),
        "RGBA": lambda: Image.merge("RGBA", [*colour.split(), Image.fromarray(255 - phantom)]),
        "P, transparent": lambda: colour.convert("P"),
        "I;16": lambda: Image.fromarray(phantom.astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(phantom.astype(np.int32) * 300),
        "F": lambda: Image.fromarray(phantom.astype(np.float32) / 7),
    }.get(mode, lambda: colour.convert(mode))()
    if mode == "P, transparent":
        image.info["transparency"] = 3
    file = tmp_path / ("image.tif" if mode in ("I", "F", "CMYK") else "image.png")
    image.save(file)
    expected = read_image(file)
    pixels = checked(image_from_memory(image, "image"), "image")
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


def test_an_image_that_is_named_again_has_its_answer_again(model, tiny_run, tmp_path) -> None:
    """So that answers can be set beside the images: as paths, texts, patterns, from a generator, and by the function."""
    other = tmp_path / "other.png"
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(other)
    images = [EXAMPLE, other, str(EXAMPLE), EXAMPLE, str(tmp_path / "*.png"), tmp_path]
    expected = ["example.png", "other.png", "example.png", "example.png", "other.png", "other.png"]
    for found in (
        model.predict(images, force=True),
        model.predict((image for image in images), force=True),
        mammozoo.predict(images, tiny_run.path, force=True, device="cpu").predictions,
    ):
        assert [Path(one.file).name for one in found] == expected
        assert found[0] == dataclasses.replace(found[2], file=found[0].file)


def test_kinds_are_mixed_in_order_and_a_bad_one_stops_nobody(model, phantom: np.ndarray, tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        Image.fromarray(phantom).save(folder / name)
    (tmp_path / "broken.png").write_text("no image")
    small = np.zeros((8, 8), np.uint8)
    found = model.predict([phantom, tmp_path / "broken.png", folder, small, EXAMPLE], batch=2)
    assert [Path(f.file).name for f in found] == [
        "images[0]",
        "broken.png",
        "a.png",
        "b.png",
        "images[3]",
        "example.png",
    ]
    assert [f.error is not None for f in found] == [False, True, False, False, True, False]
    assert found[4].error.startswith("images[3] has 8 x 8 pixels")  # and says nothing of a temporary file


def test_a_picture_taken_sideways_is_turned(model: mammozoo.Classifier, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.tile(np.linspace(0, 255, 128).astype(np.uint8), (64, 1)))
    wide.save(tmp_path / "sideways.png", exif=exif)
    opened = Image.open(tmp_path / "sideways.png")
    assert opened.getexif()[0x0112] == 6
    images = (opened, tmp_path / "sideways.png", wide)
    (memory,), (file,), (plain,) = (model.predict(image, force=True) for image in images)
    assert memory.probabilities == file.probabilities != plain.probabilities


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 64, 64), np.uint8), r"images\[0\] is an array of 4 x 64 x 64, uint8.*list\(stack\)"),
        (np.zeros((64, 64), np.int64), "64 x 64, int64"),
        (np.zeros((64, 64, 3), np.float32), "64 x 64 x 3, float32"),
        (np.zeros((0, 64), np.uint8), "0 x 64"),
        (np.float32(3), "is a float32"),
        (7, "is a int"),
        (Image.new("HSV", (64, 64)), "mode 'HSV'"),
    ],
)
def test_what_is_no_image_is_refused(model: mammozoo.Classifier, image: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.predict([image])


def test_abstaining_leaves_labels_open(model: mammozoo.Classifier) -> None:
    dataset = registry().get("datasets", "phantom")(None, n=60)
    images = [np.asarray(dataset.read(sample)) for sample in dataset.samples()]
    decided, careful = model.predict(images), model.predict(images, abstain=True)
    assert any(c.abstained for c in careful)
    for before, after in zip(decided, careful, strict=True):
        assert after.label == (None if after.abstained else before.label)


def test_answers_that_are_all_the_same_are_remarked_upon(model, phantom: np.ndarray, caplog) -> None:
    """Three images that differ in one pixel are three images in memory too."""
    images = [phantom.copy() for _ in range(3)]
    for number, image in enumerate(images):
        image[0, 0] = number
    with caplog.at_level(logging.WARNING):
        model.predict(images)
    assert "All 3 different images got the same probabilities" in caplog.text
    caplog.clear()
    model.predict([phantom] * 4)
    assert not caplog.records  # one image four times


def test_a_wrong_path_is_refused_before_any_image_is_read_and_none_is_written(
    model, phantom: np.ndarray, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert model.predict([phantom])[0].error is None
    monkeypatch.setattr("mammozoo.evaluation.predict.read_image", lambda path: pytest.fail("an image was read"))
    with pytest.raises(NotFoundError, match=r"nowhere\.png"):
        model.predict([EXAMPLE] * 100 + ["nowhere.png"])


def test_predict_in_one_call_and_one_image_without_a_list(model, tiny_run, phantom: np.ndarray) -> None:
    result = mammozoo.predict([EXAMPLE, phantom], tiny_run.path, device="cpu", precision="fp32")
    assert result.predictions == model.predict([EXAMPLE, phantom])
    assert (result.folder, result.config, result.remark) == (tiny_run.path, model.config, None)
    for one in (str(EXAMPLE), EXAMPLE, phantom, phantom[..., None], Image.fromarray(phantom)):
        assert len(model.predict(one)) == 1
    assert model.predict([]) == []


# ---------------------------------------------------------------- explain and compare


def test_explain_writes_what_the_command_writes_and_compare_takes_runs(tiny_run, tmp_path) -> None:
    result = mammozoo.explain(tiny_run.path, EXAMPLE, out=tmp_path, class_name="benign", device="cpu")
    (one,) = result.explanations
    assert one.explained == "benign"
    assert {path.name for path in tmp_path.iterdir()} == {"example.png", "example.npy"}
    assert result.stamps == tiny_run.facts["stamps"]
    with pytest.raises(UsageError, match="twice"):
        mammozoo.compare([tiny_run.path, str(tiny_run.path)])


def test_a_run_shows_itself_and_gives_its_scores_and_predictions(tiny_run, run_copy, monkeypatch) -> None:
    scores = tiny_run.scores
    assert scores["auc"].value == tiny_run.facts["scores"]["auc"]["value"]
    shown = tiny_run._repr_html_()
    assert str(scores["auc"]) in shown and "synthetic data" in shown and shown.count("<tr>") == 1 + len(scores)
    other = RunDirectory.open(run_copy)
    other.recipe = other.recipe.model_copy(update={"name": "<script>"})
    assert "<script>" not in other._repr_html_()
    other.facts["status"] = "running"
    assert "<table" not in other._repr_html_()  # there are no scores yet
    monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
    rows = tiny_run.predictions
    assert len(rows) == 60 and {row["part"] for row in rows} == {"train", "val", "test"}


def test_the_predictions_are_a_data_frame_with_pandas(tiny_run) -> None:
    pytest.importorskip("pandas")
    frame = tiny_run.predictions
    assert len(frame) == 60 and frame["p_malignant"].between(0, 1).all()
    assert list(frame["lesion"].unique()) == [""] and frame["sample"].map(type).eq(str).all()


def test_the_notebook_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((PAGE.parents[1] / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # nobody's results lie in the repository
            exec("".join(cell["source"]), names)
    assert len(names["predictions"]) == 60
    assert names["answer"].probabilities
