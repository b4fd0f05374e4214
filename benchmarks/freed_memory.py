"""What it saves that a process keeps the memory that a batch has freed: processor time and peak memory of both ways, in turns.

python benchmarks/freed_memory.py tf_efficientnet_lite0 mobilenetv2_100 resnet18
"""

import resource
import statistics
import subprocess
import sys
import time
from typing import Any

BATCH, SIZE, STEPS, TURNS = 32, 224, 4, 3


def measure(name: str, training: bool, keep: bool) -> None:
    """Prints seconds of processor time for the steps after the first, and the peak memory in MB."""
    import timm
    import torch

    from mammozoo.models.device import keep_freed_memory

    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    network: Any = timm.create_model(name, num_classes=1).to(memory_format=torch.channels_last).train(training)
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        if training:
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
        else:
            with torch.inference_mode():
                network(images)

    step()
    since = time.process_time()
    for _ in range(STEPS):
        step()
    print(time.process_time() - since, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """A line for each network and way of use: the shares that keeping leaves of seconds and of memory."""
    print("| network | | processor time | peak memory |\n|---|---|---|---|")
    for name in sys.argv[1:]:
        for training in (True, False):
            turns = []
            for _ in range(TURNS):
                both = []
                for keep in (True, False):
                    command = [sys.executable, __file__, "--one", name, str(int(training)), str(int(keep))]
                    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    both.append([float(number) for number in said.split()])
                turns.append([kept / returned for kept, returned in zip(*both, strict=True)])
            seconds, memory = (statistics.median(shares) for shares in zip(*turns, strict=True))
            print(f"| {name} | {'training' if training else 'forward'} | {seconds:.2f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        measure(sys.argv[2], sys.argv[3] == "1", sys.argv[4] == "1")
    else:
        main()
