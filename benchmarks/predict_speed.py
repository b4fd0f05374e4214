"""How fast is `mammozoo predict` on a folder, against the bare network on tensors in memory? And does its memory grow?

    python benchmarks/predict_speed.py [--images 1000] [--rounds 3] [--onnx] [--json FILE]

Synthetic PNG files of about 500 x 600 pixels, grey, with an ultrasound-like noise, are written to a temporary folder.
Both ways take the same model, batch, precision and number of threads, in turns, in one process; the medians are
compared, and the median of the ratios within a turn, since a neighbour on the machine slows both. "Files" is everything
that the command does with an image: read, decode, SHA-256, input guard, resize, network, probabilities. The memory is that
of a process of its own for each number of images. With --onnx each model is exported, too, and onnxruntime takes turns with
torch, both in float32 and without guard and check of the modality, which an ONNX file has not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from mammozoo.data.io.images import read_image
from mammozoo.data.ood import features, fit_profile, ood_warnings
from mammozoo.evaluation.predict import predict_images
from mammozoo.files import sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import build_backbone, build_model, load_model
from mammozoo.models.model import Model
from mammozoo.zoo.portable import write_portable
from mammozoo.zoo.registry import default_model, find_model

BATCH = 32


def write_images(folder: Path, count: int) -> list[Path]:
    """Blurred speckle with a dark blob: PNG compresses it about as well as a scan."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        height, width = int(rng.integers(460, 540)), int(rng.integers(560, 640))
        speckle = rng.rayleigh(40, (height, width)).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(speckle).filter(ImageFilter.GaussianBlur(1.5))
        y, x = np.ogrid[:height, :width]
        lesion = np.hypot(y - height * rng.uniform(0.3, 0.7), x - width * rng.uniform(0.3, 0.7)) < rng.uniform(30, 90)
        pixels = np.asarray(image).copy()
        pixels[lesion] //= 3
        files.append(folder / f"{number:05}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def build(name: str, files: list[Path]) -> tuple[Model, ModelConfig]:
    """The built-in model, or timm's `name` with random weights under the built-in's description; guarded for these files."""
    model, config = load_model(find_model(default_model()))
    if name != config.name:
        backbone = build_backbone(name)
        input = backbone.input.model_copy(update={"size": (224, 224)})
        torch.manual_seed(0)
        model, _ = build_model(backbone, "frozen", "gap", config.classes, input)
        config = config.model_copy(update={"name": name, "backbone": name, "input": input})
    guard = fit_profile(np.stack([features(read_image(path)) for path in files[:50]]))
    return model.eval(), config.model_copy(update={"guard": guard})


@torch.inference_mode()
def run_network(model: Model, config: ModelConfig, engine: Engine, count: int) -> float:
    """Seconds of the bare network for `count` images that lie in memory, normalised, in batches."""
    engine.place(model)
    height, width = config.input.size
    images = torch.rand(BATCH, config.input.channels, height, width, device=engine.device)
    images = images.to(memory_format=torch.channels_last)
    started = time.perf_counter()
    for begin in range(0, count, BATCH):
        with engine.autocast():
            logits = model(images[: count - begin])
    logits.cpu()  # a card may still be at work
    return time.perf_counter() - started


def run_files(model: Model, config: ModelConfig, engine: Engine, files: list[Path]) -> float:
    """Seconds for the same number of files."""
    started = time.perf_counter()
    # The speckle may not pass as a sonogram.
    results, _ = predict_images(model, config, files, engine, BATCH, force=True)
    seconds = time.perf_counter() - started
    assert all(result.probabilities for result in results)
    return seconds


def time_onnx(name: str, files: list[Path], many: list[Path], rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds by onnxruntime over those by torch, of the network and of files, and the largest difference of a probability."""
    model, config = build(name, files)
    written = write_portable(model, config, "onnx", folder / f"{name}.onnx", files[:4])
    theirs, said = load_model(written.file)
    model, _ = build(name, files)  # exporting has changed its layout in memory
    engine, count = choose_engine("cpu", "fp32"), len(many)
    ways = (model, said), (theirs, said)
    turns = []
    for turn in range(rounds + 1):
        taken = count if turn else min(count, BATCH)  # the first warms up
        seconds = [(run_network(*way, engine, taken), run_files(*way, engine, many[:taken])) for way in ways]
        turns.append([theirs / ours for ours, theirs in zip(*seconds, strict=True)])
    network, through = (median(turn[k] for turn in turns[1:]) for k in (0, 1))
    return {"model": name, "network": network, "files": through, "difference": written.difference}


def time_parts(config: ModelConfig, files: list[Path]) -> dict[str, float]:
    """Milliseconds an image of each step before the network, one thread."""
    prepare, image = config.input.preparer(), read_image(files[0])
    steps: dict[str, Callable[[Path], object]] = {
        "read and decode": read_image,
        "SHA-256": sha256,
        "guard": lambda path: ood_warnings(features(image), config.guard),
        "resize": lambda path: prepare(image),
    }
    parts = {}
    for name, step in steps.items():
        started = time.process_time()
        for path in files[:50]:
            step(path)
        parts[name] = (time.process_time() - started) * 1000 / len(files[:50])
    return parts


def peak_memory(name: str, folder: Path, count: int) -> float:
    """Peak resident memory, MB, of a process that predicts `count` files."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); import predict_speed as b; from pathlib import Path\n"
        "files = sorted(Path(sys.argv[3]).iterdir()); model, config = b.build(sys.argv[2], files)\n"
        "b.run_files(model, config, b.choose_engine('cpu'), (files * 100)[: int(sys.argv[4])])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), name, str(folder), str(count)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) / 1024


def main() -> None:
    """Print the tables; write them to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=[default_model(), "mobilenetv2_100"])
    parser.add_argument("--precision", nargs="+", default=["auto", "fp32"])
    parser.add_argument("--memory", type=int, nargs="*", default=[200, 2000], help="numbers of images")
    parser.add_argument("--onnx", action="store_true", help="compare torch with onnxruntime, and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f} before, batch {BATCH}")
    rows, memory, parts = [], {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_images(folder, min(given.images, 200))
        many = (files * (given.images // len(files) + 1))[: given.images]
        if given.onnx:
            print("\n| model | onnxruntime / torch, network | files | difference |\n|---|---|---|---|")
            for model_name in given.models:
                row = time_onnx(model_name, files, many, given.rounds, folder)
                rows.append(row)
                print("| {model} | {network:.2f} | {files:.2f} | {difference:.1e} |".format(**row), flush=True)
            given.models, given.memory = [], []
        if given.models:
            print(
                "\n| model | precision | network, images/s | files, images/s | files / network |\n|---|---|---|---|---|"
            )
        for model_name in given.models:
            model, config = build(model_name, files)
            parts[model_name] = time_parts(config, files)
            for precision in given.precision:
                engine = choose_engine("cpu", precision)
                run_network(model, config, engine, 2 * BATCH), run_files(model, config, engine, files[: 2 * BATCH])
                turns = []
                for _ in range(given.rounds):
                    seconds = run_network(model, config, engine, given.images), run_files(model, config, engine, many)
                    turns.append((given.images / seconds[0], given.images / seconds[1]))
                network, through = (median(turn[k] for turn in turns) for k in (0, 1))
                ratio = median(turn[1] / turn[0] for turn in turns)
                rows.append(
                    {
                        "model": model_name,
                        "precision": engine.precision,
                        "network": network,
                        "files": through,
                        "ratio": ratio,
                    }
                )
                print(
                    f"| {model_name} | {engine.precision} | {network:.0f} | {through:.0f} | {ratio:.2f} |", flush=True
                )
        for model_name in given.models[:1]:
            print("\n| milliseconds an image, one thread | " + " | ".join(parts[model_name]) + " |")
            print("|---" * 5 + "|")
        for model_name, values in parts.items():
            print(f"| {model_name} | " + " | ".join(f"{value:.2f}" for value in values.values()) + " |")
        if given.memory:
            print("\n| images | peak memory, MB |\n|---|---|")
        for count in given.memory:
            memory[count] = peak_memory(given.models[-1], folder, count)
            print(f"| {count:,} | {memory[count]:.0f} |", flush=True)
    if given.json is not None:
        content = {"rows": rows, "parts_ms": parts, "memory_mb": memory, "load": load, "images": given.images}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
