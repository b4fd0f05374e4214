"""torch's random generators: the processor's and that of the device in use, and no others.

`torch.manual_seed` and `torch.random.fork_rng` reach for every card of the machine. They would start CUDA in a process that
computes on the processor, and on a machine with many cards on each of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch

CPU = torch.device("cpu")


def seed_generators(seed: int, device: torch.device = CPU) -> None:
    """Start both generators from `seed`: the numbers are those that follow `torch.manual_seed(seed)`."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def generator_states(device: torch.device = CPU) -> dict[str, torch.Tensor]:
    """State of every generator that work on `device` may draw from, by type of device; the tensors are on the CPU."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    elif device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def restore_generators(states: Mapping[str, torch.Tensor], device: torch.device = CPU) -> None:
    """The reverse of `generator_states`; the state of another type of device is left out."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if device.type == "cpu" or device.type not in states:
        return
    if device.type == "mps":
        torch.mps.set_rng_state(states["mps"])
    else:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


@contextlib.contextmanager
def kept_generators(device: torch.device = CPU) -> Iterator[None]:
    """Whatever is drawn inside, both generators are afterwards what they were."""
    states = generator_states(device)
    try:
        yield
    finally:
        restore_generators(states, device)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Both generators start from `seed`, and are afterwards what they were."""
    with kept_generators(device):
        seed_generators(seed, device)
        yield
