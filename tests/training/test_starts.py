"""A grid varies backbone, size, weights and strategy: each point is the fit that a run of its own would have been."""

import json
from pathlib import Path

import pytest

from mammozoo.errors import UsageError
from mammozoo.files import read_table
from mammozoo.models.factory import load_model
from mammozoo.models.weights import write_tensors
from mammozoo.report.page import write_report
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.dry_run import describe
from mammozoo.training.estimate import estimate
from mammozoo.training.experiment import resume, train
from mammozoo.training.fit_spec import fit_specs
from mammozoo.training.fold import FitResult, read_attempt
from mammozoo.training.parallel import Jobs
from mammozoo.training.prepare import prepare
from mammozoo.training.refit import refit
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.together import write_ensemble
from mammozoo.zoo.account import read_account

from ..helpers import network, tiny

#: Of the recipe's own backbone, which is none of them, nothing is built.
GRID = {"backbone": ["test_resnet", "test_efficientnet"], "size": [32, 48], "strategy": ["full", "frozen"]}
BYTES = ("attempts.csv", "predictions.csv", "model.safetensors", "config.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(tiny(backbone="mobilenetv3_large_100", grid=GRID), tmp_path_factory.mktemp("grid") / "run")


def test_every_combination_is_a_fit_and_validation_chooses(run: RunDirectory) -> None:
    rows = read_table(run.path / "attempts.csv")
    assert [(row["backbone"], row["size"], row["strategy"]) for row in rows] == [
        (backbone, f"[{size}, {size}]", strategy)
        for backbone in GRID["backbone"]
        for size in (32, 48)
        for strategy in ("full", "frozen")
    ]
    best = min(rows, key=lambda row: float(row["validation loss"]))
    assert [row["fit"] for row in rows if row["reports"] == "True"] == [best["fit"]]
    _, config = load_model(run.path)
    assert (config.backbone, str([*config.input.size]), config.strategy) == (
        best["backbone"], best["size"], best["strategy"],
    )  # fmt: skip
    assert "mobilenetv3_large_100" not in (run.path / "README.md").read_text()


def test_a_point_is_the_fit_of_a_run_of_its_own(run: RunDirectory, tmp_path: Path) -> None:
    alone = train(tiny(backbone="test_efficientnet", size=48, strategy="full"), tmp_path / "alone")
    weights = (run.path / "holdout/006/model.safetensors").read_bytes()
    assert weights == (alone.path / "model.safetensors").read_bytes()


def test_the_number_of_trials_stands_in_card_and_checklist(run: RunDirectory) -> None:
    tried = "8 models were trained: 8 points of the grid (backbone test_resnet or test_efficientnet; size [32, 32] or [48, 48]; "
    assert tried in read_account(run.path, run.facts).choice
    assert tried in " ".join((run.path / "README.md").read_text().split())
    write_report(run.path)
    page = " ".join((run.path / "report.html").read_text().split())
    assert "Models trained: 8, of which 1 reports" in page
    _, config = load_model(run.path)
    assert f"images with a {config.backbone} network" in page or f"with a {config.backbone} network" in page


def test_a_refit_is_of_the_chosen_network(run: RunDirectory) -> None:
    _, chosen = load_model(run.path)
    model, config = load_model(refit(run.path))
    assert (config.backbone, config.input, config.strategy) == (chosen.backbone, chosen.input, chosen.strategy)
    assert len(model.classes) == 2


def test_a_stopped_run_goes_on_to_the_same_bytes_also_in_processes(run: RunDirectory, tmp_path: Path) -> None:
    begun = tmp_path / "run"
    recipe = tiny(backbone="mobilenetv3_large_100", grid=GRID)
    with pytest.raises(Stopped):
        train(recipe, begun, stop=(begun / "holdout/004/predictions.csv").exists)
    done = resume(begun, jobs=Jobs(2))
    for name in BYTES:
        assert (done.path / name).read_bytes() == (run.path / name).read_bytes(), name


def test_points_can_be_listed(tmp_path: Path) -> None:
    """Each with its settings; those that it leaves out are the recipe's."""
    points = [{}, {"backbone": "test_efficientnet", "size": 48}, {"optimizer.lr": 0.1}]
    specs = fit_specs(prepare(tiny(grid=points)))
    assert [spec.point["backbone"] for spec in specs] == ["test_resnet", "test_efficientnet", "test_resnet"]
    assert [spec.point["size"] for spec in specs] == [[32, 32], [48, 48], [32, 32]]
    assert [spec.point["optimizer.lr"] for spec in specs] == [3e-3, 3e-3, 0.1]
    with pytest.raises(UsageError, match="the same point twice"):
        prepare(tiny(grid=[{}, {"size": 32}]))
    one = train(tiny(grid=[{"size": 40}]), tmp_path / "one")
    assert (one.path / "holdout/000").is_dir() and one.facts["model"]["fold"] == "holdout/000"
    assert "grid" not in read_account(one.path, one.facts).choice
    assert write_report(one.path).is_file()


def test_weights_differ_between_points(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in network()[0].backbone.state_dict().items() if "num_batches" not in name}
    own = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    write_tensors(tmp_path / "own.safetensors", own)
    weights = f"file:{tmp_path / 'own.safetensors'}"
    prepared = prepare(tiny(weights=weights, grid={"weights": ["random", weights]}))
    names = [prepared.of(spec.recipe).lineage.weights for spec in fit_specs(prepared)]
    assert names == ["random", "file:own.safetensors"]
    done = train(tiny(weights=weights, grid={"weights": ["random", weights]}), tmp_path / "run")
    _, config = load_model(done.path)
    assert json.loads((done.path / "run.json").read_text())["weights"] == config.training.weights


def test_folds_that_chose_different_networks_make_no_ensemble(tmp_path: Path) -> None:
    recipe = tiny(grid={"backbone": GRID["backbone"]}, **{"split.folds": 2})
    done = train(recipe, tmp_path / "run")
    prepared = prepare(done.recipe)
    fits = [read_attempt(prepared, spec, done.path) for spec in fit_specs(prepared)]
    several = [fit for fit in (fits[0], fits[3]) if isinstance(fit, FitResult)]
    assert [fit.config.backbone for fit in several] == GRID["backbone"]
    for path in (done.path / "ensemble").glob("*"):
        path.unlink()
    write_ensemble(prepared, done, several)
    assert not list((done.path / "ensemble").glob("*"))


def test_stages_keep_one_start_and_a_point_that_cannot_be_built_is_refused_at_once(tmp_path: Path) -> None:
    first = {"name": "first", "dataset": "phantom:n=24,seed=7"}
    with pytest.raises(UsageError, match="earlier stages all points"):
        prepare(tiny(strategy="full", stages=[first], grid={"size": [32, 48]}))
    with pytest.raises(UsageError):
        train(tiny(grid={"strategy": ["full", "last-blocks:9000"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_dry_run_and_estimate_know_the_points() -> None:
    grid = {"backbone": ["test_efficientnet", "test_resnet"], "epochs": [200, 300]}
    prepared = prepare(tiny(backbone="mobilenetv3_large_100", grid=grid))
    assert (
        describe(prepared)["parameters"]["total"]
        == prepared.of(fit_specs(prepared)[0].recipe).build()[0].parameter_counts()["total"]
    )
    assert "4 fits" in estimate(prepared)
