"""`train --plan`, `--fit` and `--fold`, and `merge`."""

import json

WORDS = [
    "--dataset", "phantom:n=24", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--set", "size=32",
    "--epochs", "1",
]  # fmt: skip
GRID = ["--folds", "2", "--set", "grid={optimizer.lr: [1e-3, 1e-2]}"]


def test_a_run_fit_by_fit(command, tmp_path) -> None:
    words = ["train", *WORDS, *GRID]
    fits = command(*words, "--plan", "--json").ok.json["fits"]
    assert [(fit["number"], fit["name"]) for fit in fits] == [
        (0, "fold-0/000"), (1, "fold-0/001"), (2, "fold-1/000"), (3, "fold-1/001"),
    ]  # fmt: skip
    assert fits[1]["settings"] == {"optimizer.lr": 0.01}
    assert command(*words, "--fit", 1, "--out", "run", "--json").ok.json["fits"]["fold-0/001"] == "done"
    assert "2 to do" in command(*words, "--fit", "fold-0/000", "--out", "run", "--merge-last").ok.out
    command("merge", "run").refused(3, "2 of 4 fits are missing", "fold-1/000", "--fit")
    command("train", *WORDS, "--merge-last").refused(2, "--fit")
    assert "4 of 4" in command(*words, "--fold", 1, "--out", "run").ok.out
    log = (tmp_path / "run/fold-1/log.txt").read_text()
    assert log.count("epoch 1") == 2, "its own, since many processes write into a run"
    before = (tmp_path / "run/fold-1/000/model.safetensors").stat().st_mtime_ns
    assert "done" in (shown := command(*words, "--plan", "--out", "run").ok.out) and "to do" not in shown
    again = command(*words, "--fit", 2, "--out", "run", "--merge-last", "--no-report", "--json").ok
    assert "training" not in again.err and again.json["scores"]["auc"]["n"] == 24, "a job that begins anew"
    assert (tmp_path / "run/fold-1/000/model.safetensors").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "done"
    command("merge", "run").refused(9, "complete")


def test_what_fit_and_merge_refuse(command, tmp_path) -> None:
    for more in (["--fit", 0], ["--fit", 0, "--fold", 0, "--out", "a"], ["--fit", 0, "--resume", "a", "--out", "b"]):
        command("train", *(WORDS if "--resume" not in more else []), *more).refused(2, "--out")
    command("train", *WORDS, "--fit", 1, "--out", "run").refused(3, "number 0, 'holdout'", "--plan")
    command("train", "--resume", "run", "--plan").refused(2, "nothing else")
    assert not (tmp_path / "run").exists()
    command("merge", "run").refused(3, "no run")
