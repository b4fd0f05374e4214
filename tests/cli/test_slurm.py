"""The scripts of examples/slurm as they stand, with stand-ins for Slurm's commands that start processes of this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mammozoo.training.experiment import train

from ..helpers import tiny

SCRIPTS = Path(__file__).parents[2] / "examples" / "slurm"
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(sys.platform != "linux", reason="Slurm is of Linux")]

#: `sbatch [--array=A-B] [--dependency=afterok:ID] [--parsable] (SCRIPT WORDS | --wrap LINE)`, to the end of the job; a job with
#: --requeue gets SIGTERM once the file named by PREEMPT is there, and begins again if it asked for that.
SBATCH = r"""#!{python}
import os, pathlib, re, shlex, signal, subprocess, sys, time

words, options = sys.argv[1:], {{}}
while words and words[0].startswith("--"):
    key, equals, value = words.pop(0).partition("=")
    options[key] = value if equals or key == "--parsable" else words.pop(0)
lines = [] if "--wrap" in options else pathlib.Path(words[0]).read_text().splitlines()
for line in lines:
    for word in shlex.split(line[8:], comments=True) if line.startswith("#SBATCH ") else ():
        key, _, value = word.partition("=")
        options.setdefault(key, value)
if "--dependency" in options:
    assert pathlib.Path("job-" + options["--dependency"].removeprefix("afterok:")).read_text() == "0"
first, _, last = options.get("--array", "0-0").partition("-")
job = str(os.getpid())
print(job, flush=True)
nodes = options.get("--nodes", "1")
env = os.environ | {{"SLURM_JOB_ID": job, "SLURM_NNODES": nodes, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_PROCID": "0"}}
if "--ntasks-per-node" in options:
    env["SLURM_NTASKS"] = str(int(nodes) * int(options["--ntasks-per-node"]))
command = ["bash", "-c", options["--wrap"]] if "--wrap" in options else ["bash", *words]

def begin(task):
    return subprocess.Popen(command, env=env | {{"SLURM_ARRAY_TASK_ID": str(task)}}, stdout=sys.stderr)

tasks = [begin(task) for task in range(int(first), int(last or first) + 1)]
preempt = pathlib.Path(os.environ.get("PREEMPT", "never"))
while "--requeue" in options and tasks[0].poll() is None:
    if preempt.exists():
        tasks[0].send_signal(signal.SIGTERM)
        tasks[0].wait()
        assert pathlib.Path("requeue-" + job).exists(), "it has not asked for it"
        tasks = [begin(0)]
        break
    time.sleep(0.05)
codes = [task.wait() for task in tasks]
pathlib.Path("job-" + job).write_text(str(max(codes)))
sys.exit(max(codes))
"""
SRUN = r"""#!{python}
import os, subprocess, sys

count = int(os.environ["SLURM_NTASKS"])
env = os.environ | {{"SLURM_STEP_NUM_TASKS": str(count)}}
tasks = [subprocess.Popen(sys.argv[1:], env=env | {{"SLURM_PROCID": str(number)}}) for number in range(count)]
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/bash
case $1 in
    show) echo localhost; echo localhost ;;
    requeue) touch "requeue-$2" ;;
esac
"""
WORDS = [
    "--dataset", "phantom:n=24", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu",
    "--set", "size=32", "--set", "augment=[]",
]  # fmt: skip
GRID = ["--folds", "2", "--set", "grid={optimizer.lr: [1e-3, 1e-2]}", "--epochs", "1"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch):
    """`sbatch WORDS` in an empty folder: what it printed."""
    commands = {
        "sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL, "mammozoo": '#!/bin/bash\nexec {python} -m mammozoo "$@"\n',
        "torchrun": '#!/bin/bash\nexec {python} -m torch.distributed.run "$@"\n',
    }  # fmt: skip
    path = tmp_path / "bin"
    path.mkdir()
    for name, text in commands.items():
        text = text if name == "scontrol" else text.format(python=sys.executable)
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")

    def sbatch(*words: object) -> str:
        done = subprocess.run(
            ["sbatch", *map(str, words)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return sbatch


def test_an_array_trains_a_fit_in_each_task_and_a_job_behind_it_merges_them(slurm, tmp_path) -> None:
    job = slurm("--parsable", "--array=0-3", SCRIPTS / "array.sh", *WORDS, *GRID, "--out", "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "running"
    slurm(f"--dependency=afterok:{job}", "--wrap", "mammozoo merge run --no-report")
    one = train(tiny(grid={"optimizer.lr": [1e-3, 1e-2]}, **{"split.folds": 2}), tmp_path / "one")
    for name in ("predictions.csv", "scores.json", "splits.json", "attempts.csv", "model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (one.path / name).read_bytes(), name


def test_two_nodes_train_together(slurm, tmp_path, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("GPUS", "1")
    slurm(SCRIPTS / "ddp.sh", *WORDS, "--batch", "8", "--epochs", "1", "--no-report", "--out", "run")
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert (facts["status"], facts["processes"]) == ("done", 2)


def test_a_process_that_is_killed_is_started_again_and_goes_on(slurm, tmp_path) -> None:
    words = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", "1"]
    train = ["-m", "mammozoo", "train", *WORDS, "--batch", "8", "--epochs", "60", "--no-report", "--out", "run"]
    process = subprocess.Popen(["torchrun", *words, *train], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "run/holdout/last.safetensors"
    while not state.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    victim = max(int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert process.returncode == 0 and facts["status"] == "done" and len(facts["resumed"]) == 1, err


def test_a_job_that_is_preempted_goes_on(slurm, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GPUS", "1")
    monkeypatch.setenv("PREEMPT", "run/holdout/last.safetensors")
    slurm(SCRIPTS / "requeue.sh", "run", *WORDS, "--epochs", "300", "--no-report")
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "done" and len(facts["resumed"]) == 1
