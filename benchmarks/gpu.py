"""The parts of `gpu.sh`: the tests on a graphics card and the speed there, in one table and one JSON file.

    tests      the tests marked `gpu`
    steps      seconds and peak memory of a training step for each strategy, network and precision
    fit        the product's own training with the default augmentation, beside a bare loop on tensors that lie on the card
    default    the README's first command
    phases     four epochs of 500 images, from the command's start to its scores, and where the seconds go
    several    three folds one after another and all at once on one card; one training on two cards, where there are two
    predict    PNG files, read and decoded, beside the bare network on tensors that lie on the card

Each part runs in a process of its own with a share of `--minutes`. A part that fails or takes too long is told, with the last
lines that it said and with the rows that it had; the others go on. The exit code is 1 if any did. `--small` and `--device cpu`
are for trying the script: what they measure says nothing.
"""

from __future__ import annotations

import argparse
import csv
import functools
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from mammozoo.models.device import Engine, choose_engine

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much work the parts do."""

    networks: tuple[str, ...] = ("resnet50", "resnet101")
    trained: tuple[str, ...] = ("resnet50", "tf_efficientnet_lite0")
    used: tuple[str, ...] = ("busi-resnet9", "resnet50")
    batch: int = 64
    side: int = 224
    steps: int = 10
    batches: tuple[int, ...] = (32, 128)
    images: int = 2048
    files: int = 2000
    run: tuple[str, ...] = ()
    phantoms: int = 500
    epochs: int = 4


SMALL = Sizes(
    networks=("test_resnet",), trained=("test_resnet",), used=("busi-resnet9",), batch=8, side=64, steps=2, batches=(8, 16),
    images=64, files=40, run=("--dataset", "phantom:n=60", "--epochs", "1"),
    phantoms=60, epochs=1,
)  # fmt: skip


def tests(device: str, sizes: Sizes) -> Iterator[Row]:
    """The tests marked `gpu`, several at once where pytest-xdist is there."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        words = ["-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}", str(ROOT / "tests" / "gpu")]
        if importlib.util.find_spec("xdist"):
            words += ["-n", str(min(6, os.cpu_count() or 1))]
        env = os.environ | ({"MAMMOZOO_TEST_CARD": "cpu"} if device == "cpu" else {})
        started = time.perf_counter()
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *words], env=env, stdout=sys.stderr, check=False
        ).returncode
        seconds, suite = time.perf_counter() - started, ElementTree.parse(report).getroot()[0]
        counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    yield {"what": ", ".join(f"{name} {count}" for name, count in counts.items()), "seconds": seconds}
    if code or counts["tests"] == counts["skipped"]:
        raise SystemExit("Not all tests passed, or none was tried.")


def steps(device: str, sizes: Sizes) -> Iterator[Row]:
    """One training step as `fit` takes it: forward, backward, Adam; images lie on the card."""
    from drs_speed import DTYPES, Trainer
    from torch.nn.functional import binary_cross_entropy_with_logits

    from mammozoo.training.step import Step

    shape = (sizes.batch, 3, sizes.side, sizes.side)
    images = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
    for network in sizes.networks:
        for precision, dtype in DTYPES.items():
            for strategy in ("full", "drs", "frozen", "last-blocks:1"):
                trainer = Trainer(network, strategy, Engine(torch.device(device), dtype), images)
                peak = trainer.peak() / 1e6

                def forward(x: torch.Tensor, trainer: Trainer = trainer) -> torch.Tensor:
                    with trainer.engine.autocast():
                        logits: torch.Tensor = trainer.model(x)
                    return logits

                step = Step(forward, binary_cross_entropy_with_logits, trainer.model, trainer.engine, sizes.batch)
                batch = (trainer.images, trainer.labels)
                seconds = time_steps(functools.partial(step, trainer.optimizer, batch), sizes.steps, device)
                yield {
                    "what": f"{network}, {strategy}, {precision}, batch {sizes.batch}",
                    "seconds": seconds,
                    "images_per_second": sizes.batch / seconds,
                    "peak_mb": peak,
                }
                del trainer, forward, step
                gc.collect()
                if device == "cuda":
                    torch.cuda.empty_cache()


def fit(device: str, sizes: Sizes) -> Iterator[Row]:
    """`fit` under strategy `full`, against the same network, precision and batch without anything around it.

    Both in the memory format of long trainings: the first epoch, in which cuDNN looks for its kernels, does not count.
    """
    from drs_speed import Trainer
    from train_speed import ours

    import mammozoo.models.device
    from mammozoo.config.loading import load

    mammozoo.models.device._MANY = 0
    engine, augment = choose_engine(device), load(None, {}).augment
    for network in sizes.trained:
        for batch in sizes.batches:
            images = torch.randn(batch, 3, sizes.side, sizes.side, device=device)
            trainer = Trainer(network, "full", engine, images.to(memory_format=torch.channels_last))
            bare = batch / time_steps(trainer.step, sizes.images // batch, device)
            del trainer
            _, turn = ours(
                network, batch, sizes.images // batch, "full", device=device, size=sizes.side, augment=augment
            )
            own = turn()
            what = f"{network}, {engine.precision}, batch {batch}"
            yield {"what": f"{what}, bare loop", "images_per_second": bare}
            yield {"what": f"{what}, mammozoo", "images_per_second": own, "of_bare": own / bare}


def default(device: str, sizes: Sizes) -> Iterator[Row]:
    """The README's first command, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "first"
        words = ["train", "--strategy", "drs", *sizes.run]
        yield {"what": " ".join(words), "seconds": command(*words, "--out", str(run), "--device", device)}
        auc = json.loads((run / "run.json").read_text(encoding="utf-8"))["scores"]["auc"]["value"]
        seconds = command("predict", "--example", "--model", str(run), "--device", device)
        yield {"what": f"predict --example (the run's AUC: {auc:.3f})", "seconds": seconds}


def phases(device: str, sizes: Sizes) -> Iterator[Row]:
    """The last of `trained` under `full`, without a report; the seconds of each phase are those of run.json."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        whole = trained(run, device, sizes, "--batch", "32")
        parts: dict[str, float] = json.loads((run / "run.json").read_text(encoding="utf-8"))["seconds"]
        yield {"what": f"{sizes.trained[-1]}, {sizes.phantoms} images, {sizes.epochs} epochs", "seconds": whole}
        for name, seconds in parts.items():
            yield {"what": name, "seconds": seconds}
        yield {"what": "all but the steps", "seconds": whole - parts["steps"]}


def several(device: str, sizes: Sizes) -> Iterator[Row]:
    """Fits that share a card, and cards that share a fit, beside one after another."""
    with tempfile.TemporaryDirectory() as folder:
        for jobs in (1, 3):
            seconds = trained(Path(folder) / f"jobs-{jobs}", device, sizes, "--folds", "3", "--jobs", str(jobs))
            yield {"what": f"three folds, --jobs {jobs}", "seconds": seconds}
        if device == "cuda" and torch.cuda.device_count() < 2:
            yield {"what": "one card: two cannot be measured"}
            return
        for cards in (1, 2):
            run = Path(folder) / f"cards-{cards}"
            trained(run, device, sizes, "--batch", "128", "--gpus", str(cards))
            with (run / "holdout" / "history.csv").open(encoding="utf-8") as file:
                rate = float(list(csv.DictReader(file))[-1]["rate"])
            yield {"what": f"batch 128, --gpus {cards}, last epoch", "images_per_second": rate}


def predict(device: str, sizes: Sizes) -> Iterator[Row]:
    """Files of about 500 x 600 pixels, a few hundred different ones; the command's seconds are with its start."""
    from predict_speed import build, run_files, run_network, write_images

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        different = write_images(folder, min(sizes.files, 200))
        copies = [folder / f"{number:05}.png" for number in range(len(different), sizes.files)]
        for number, copy in enumerate(copies):
            shutil.copyfile(different[number % len(different)], copy)
        files, engine = different + copies, choose_engine(device)
        for used in sizes.used:
            model, config = build(used, different)
            run_network(model, config, engine, 64), run_files(model, config, engine, files[:64])
            bare = sizes.files / run_network(model, config, engine, sizes.files)
            own = sizes.files / run_files(model, config, engine, files)
            yield {"what": f"{used}, {engine.precision}, bare network", "images_per_second": bare}
            yield {"what": f"{used}, {engine.precision}, files", "images_per_second": own, "of_bare": own / bare}
        seconds = command("predict", str(folder), "--device", device)
        rate = sizes.files / seconds
        yield {"what": f"the command, {sizes.files:,} files", "seconds": seconds, "images_per_second": rate}


#: Of each part, its work and its share of all minutes.
PARTS: dict[str, tuple[Callable[[str, Sizes], Iterator[Row]], float]] = {
    "tests": (tests, 0.3), "steps": (steps, 0.18), "fit": (fit, 0.16), "default": (default, 0.08), "phases": (phases, 0.06),
    "several": (several, 0.12), "predict": (predict, 0.1),
}  # fmt: skip
#: Columns of the table: a row's field, its title, its form.
COLUMNS = (
    ("seconds", "seconds", ",.3f"), ("images_per_second", "images/s", ",.0f"), ("of_bare", "of bare", ".2f"),
    ("peak_mb", "peak memory, MB", ",.0f"),
)  # fmt: skip


def time_steps(step: Callable[[], None], count: int, device: str) -> float:
    """Mean seconds of a step, after three that do not count."""

    def run(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    run(3)
    return run(count) / count


def trained(run: Path, device: str, sizes: Sizes, *words: str) -> float:
    """Seconds of a training of phantoms with the network's own size, without a report."""
    given = [
        "train", "--dataset", f"phantom:n={sizes.phantoms}", "--backbone", sizes.trained[-1], "--weights", "random",
        "--strategy", "full", "--epochs", str(sizes.epochs), "--device", device, "--no-report", "--out", str(run), *words,
    ]  # fmt: skip
    return command(*given)


def command(*words: str) -> float:
    """Seconds of a mammozoo command, which must end well; what it says goes to stderr."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mammozoo", *words], stdout=sys.stderr, check=True)
    return time.perf_counter() - started


def carry_out(part: str, words: list[str], limit: float) -> dict[str, Any]:
    """Its rows, seconds, and `error` where it did not come to its end; no process of it lives on."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        told, said = Path(name, "told"), Path(name, "said")
        with told.open("w") as out, said.open("w") as err:
            call = [sys.executable, __file__, *words, "--part", part]
            process = subprocess.Popen(call, stdout=out, stderr=err, start_new_session=True)
            try:
                code = process.wait(limit)
                error = f"exit code {code}" if code else ""
            except subprocess.TimeoutExpired:
                error = f"not done after {limit:.0f} s"
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        rows = [json.loads(line) for line in told.read_text().splitlines() if line.endswith("}")]
        last = said.read_text(errors="replace").strip().splitlines()[-15:]
    result = {"rows": rows, "seconds": round(time.perf_counter() - started, 1)}
    return result | ({"error": error, "last_lines": last} if error else {})


def machine(device: str) -> dict[str, Any]:
    """What was measured, and on what."""
    card = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else None
    return {
        "card": card,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "mammozoo": importlib.metadata.version("mammozoo"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def table(about: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    """Everything as markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), ""]
    lines += ["| part | what | " + " | ".join(title for _, title, _ in COLUMNS) + " |", "|---|---" + "|---:" * 4 + "|"]
    for part, result in results.items():
        for row in result["rows"]:
            cells = [format(row[field], form) if field in row else "" for field, _, form in COLUMNS]
            lines.append(f"| {part} | {row['what']} | " + " | ".join(cells) + " |")
        lines.append(f"| {part} | **{result.get('error', 'all of it')}** | {result['seconds']:,.1f} | | | |")
    for part, result in results.items():
        if "error" in result:
            lines += ["", f"The last lines of {part}:", "", *(f"    {line}" for line in result["last_lines"])]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Exit code 1 if any part did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "gpu-results"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a processor")
    parser.add_argument("--minutes", type=float, default=9, help="for everything")
    parser.add_argument("--part", choices=PARTS, help="only this one, here and now; rows as JSON lines")
    given = parser.parse_args()
    if given.part:
        work, _ = PARTS[given.part]
        for row in work(given.device, SMALL if given.small else Sizes()):
            print(json.dumps(row), flush=True)
        return 0
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no card here; --device cpu --small tries the script without one")
    about, words = machine(given.device), ["--device", given.device, *(["--small"] if given.small else [])]
    given.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as cache:  # an earlier run must not have filled it
        os.environ |= {"MAMMOZOO_CACHE": cache, "HF_HUB_OFFLINE": "1", "MAMMOZOO_PLUGINS": ""}
        for part, (_, share) in PARTS.items():
            results[part] = carry_out(part, words, share * 60 * given.minutes)
            content = {**about, "device": given.device, "small": given.small, "parts": results}
            (given.out / "gpu.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            (given.out / "gpu.md").write_text(table(about, results), encoding="utf-8")
    print((given.out / "gpu.md").read_text(encoding="utf-8"))
    return 1 if any("error" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
