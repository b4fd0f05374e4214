"""What does an optimizer step of `drs` cost beside full fine-tuning, IA³ and LoRA: images a second, and peak memory?

One process, random weights and images, Adam, channels last, batch norms as each strategy has them. Variants take turns step
by step, so that what else the machine does meets all of them; `× full` is the median over the rounds of the ratio within a
round. Processor time is steadier on a busy machine, with one thread; with more, waiting for a late thread counts as well.
Peak memory is that of torch's allocator over one step, from its profiler: parameters, gradients, optimizer state
and activations, without the interpreter and without scratch space inside oneDNN. It doesn't depend on what else runs.

`drs, plain` is the layer as the paper writes it, two elementwise operations in the activation's dtype, and torch's own
batch norms. IA³ and LoRA (rank 8) come from the library `peft`, on every convolution; without `peft` they are left out.

    python benchmarks/drs_speed.py --json drs.json
    python benchmarks/drs_speed.py --networks resnet50 --precisions bf16 --batch 8 --rounds 3
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mammozoo.models.device import Engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo_drs.drs import DrsLayer, layers
from mammozoo_drs.norm import LeanBatchNorm2d

VARIANTS = ("full", "drs", "drs, plain", "frozen", "ia3", "lora")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Row:
    """One variant of one network in one precision."""

    network: str
    precision: str
    variant: str
    trained: int
    images_per_second: float
    times_full: float
    cpu_times_full: float
    peak_mb: float
    memory_times_full: float
    seconds: list[float]
    cpu_seconds: list[float]


class PlainDrsLayer(DrsLayer):
    """The two equations one after the other, as the layer was before it became fast."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        spatial = torch.addcmul(self.spatial_bias.to(y.dtype), self.spatial_weight.to(y.dtype), y)
        return torch.addcmul(self.depth_bias.to(y.dtype), self.depth_weight.to(y.dtype), spatial)


class Trainer:
    """A model and what a step of it needs."""

    def __init__(self, network: str, variant: str, engine: Engine, images: torch.Tensor):
        torch.manual_seed(0)
        self.engine, self.images = engine, images
        self.labels = (torch.arange(len(images), device=images.device) % 2).float()[:, None]
        self.model = build(network, variant, images.shape[2])
        engine.place(self.model).train()
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.trained, 1e-4)

    def step(self) -> None:
        """Forward, backward, update."""
        with self.engine.autocast():
            logits = self.model(self.images)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def peak(self) -> int:
        """Bytes that torch's allocator holds at the worst moment of a step; on a card, of all that lies there."""
        if self.images.is_cuda:
            torch.cuda.reset_peak_memory_stats()
            self.step()
            return torch.cuda.max_memory_allocated()
        held = [*self.model.parameters(), *self.model.buffers()]
        held += [p.grad for p in self.trained if p.grad is not None]
        held += [t for state in self.optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
        before = sum(t.numel() * t.element_size() for t in held)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            self.step()
        events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
        now = most = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            now += event.nbytes()
            most = max(most, now)
        return before + most


def build(network: str, variant: str, size: int) -> Model:
    """The network under one variant, with a fresh head."""
    strategy = {"ia3": "frozen", "lora": "frozen", "drs, plain": "drs"}.get(variant, variant)
    backbone = build_backbone(network)
    input = backbone.input.model_copy(update={"size": (size, size)})
    model, _ = build_model(backbone, strategy, "gap", ("benign", "malignant"), input)
    if variant == "drs, plain":
        for layer in layers(model):
            layer.__class__ = PlainDrsLayer
        for module in model.modules():
            if type(module) is LeanBatchNorm2d:
                module.__class__ = nn.BatchNorm2d
    if variant in ("ia3", "lora"):
        import peft

        targets = [name for name, module in backbone.net.named_modules() if isinstance(module, nn.Conv2d)]
        config = (
            peft.IA3Config(target_modules=targets, feedforward_modules=[])
            if variant == "ia3"
            else peft.LoraConfig(r=8, lora_alpha=8, target_modules=targets)
        )
        peft.inject_adapter_in_model(config, backbone.net)
    return model


def measure(network: str, precision: str, variants: list[str], given: argparse.Namespace) -> list[Row]:
    """All variants of one network in one precision, step about."""
    engine = Engine(torch.device("cpu"), DTYPES[precision])
    images = torch.randn(given.batch, 3, given.size, given.size).to(memory_format=torch.channels_last)
    trainers = {variant: Trainer(network, variant, engine, images) for variant in variants}
    for trainer in trainers.values():
        trainer.step()
    peaks = {variant: trainer.peak() / 1e6 for variant, trainer in trainers.items()}
    clock: dict[str, list[float]] = {variant: [] for variant in variants}
    busy: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(given.rounds):
        for variant, trainer in trainers.items():
            seconds, cpu = timed(trainer.step)
            clock[variant].append(seconds)
            busy[variant].append(cpu)
    return [
        Row(
            network,
            precision,
            variant,
            sum(p.numel() for p in trainers[variant].trained),
            given.batch / statistics.median(clock[variant]),
            ratio(clock["full"], clock[variant]),
            ratio(busy["full"], busy[variant]),
            peaks[variant],
            peaks[variant] / peaks["full"],
            clock[variant],
            busy[variant],
        )
        for variant in variants
    ]


def ratio(full: list[float], own: list[float]) -> float:
    """How many times as fast as `full`: the median over the rounds."""
    return statistics.median(theirs / ours for theirs, ours in zip(full, own, strict=True))


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    gc.collect()
    started, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - before


def processor() -> str:
    """Its name, where the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "resnet101"])
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    variants = ["full", *(v for v in VARIANTS if v in given.variants and v != "full")]
    if importlib.util.find_spec("peft") is None:
        variants = [v for v in variants if v not in ("ia3", "lora")]
        print("peft is not installed: no IA³, no LoRA")
    about = {
        "processor": processor(),
        "threads": given.threads,
        "torch": torch.__version__,
        "batch": given.batch,
        "size": given.size,
        "rounds": given.rounds,
        "load_before": os.getloadavg(),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(
        "| network | precision | variant | trained | images/s | × full | × full, processor time | peak memory, MB | × full |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    rows = []
    for network in given.networks:
        for precision in given.precisions:
            for row in measure(network, precision, variants, given):
                rows.append(row)
                print(
                    f"| {network} | {precision} | {row.variant} | {row.trained:,} | {row.images_per_second:.1f} "
                    f"| {row.times_full:.2f} | {row.cpu_times_full:.2f} | {row.peak_mb:,.0f} | {row.memory_times_full:.2f} |",
                    flush=True,
                )
    print(f"load average before {about['load_before'][0]:.1f}, after {os.getloadavg()[0]:.1f}")
    if given.json is not None:
        content = {**about, "load_after": os.getloadavg(), "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
