"""The state of a fit, saved after every epoch: a killed run continues from there, with the same bytes.

fold-0/last.safetensors    model.*       what training changes in the model: trainable parameters, and buffers
                           best.*        the same at the best epoch
                           optimizer.*   moments and steps
                           rng.*         torch's random generators, of the processor and of the device in use, for dropout
                           (header)      device, phase, epoch, batch, losses so far, history, scheduler, learning rates

One file, written atomically: a kill at any moment leaves the old state or the new one. Read as safetensors, never as
pickle.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from mammozoo.errors import FailedError, IncompatibleError, NotVerifiedError
from mammozoo.files import write_bytes
from mammozoo.models.weights import digest

#: Name of the file in a fit's folder.
STATE = "last.safetensors"
State = dict[str, torch.Tensor]


@dataclass
class TrainState:
    """How far a fit has come.

    Attributes:
        phase, of_phase: number of the phase, and epochs done in it.
        epoch: epochs done in all.
        batch: batches done of the epoch under way; `total` and `seen` are their summed loss and images.
        best: highest monitored value so far (with the sign that makes higher better); None before the first epoch.
        stale: epochs since then.
        history: an `EpochRow` per epoch.
    """

    phase: int = 0
    of_phase: int = 0
    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    seen: int = 0
    best: float | None = None
    stale: int = 0
    history: list[Any] = field(default_factory=list)

    def next_batch(self, loss: float, images: int) -> None:
        """A batch is done; `loss` is the mean over its images."""
        self.batch, self.total, self.seen = self.batch + 1, self.total + loss * images, self.seen + images

    def is_best(self, value: float) -> bool:
        """Whether an epoch with this validation value is the best so far."""
        best = self.best is None or value > self.best
        self.best, self.stale = (value, 0) if best else (self.best, self.stale + 1)
        return best

    def next_epoch(self, of_phase: int) -> bool:
        """An epoch is done; whether its phase, which has `of_phase` epochs, is done too."""
        self.epoch, self.of_phase, self.batch, self.total, self.seen = self.epoch + 1, self.of_phase + 1, 0, 0.0, 0
        over = self.of_phase == of_phase
        if over:
            self.phase, self.of_phase = self.phase + 1, 0
        return over

    def to_json(self) -> dict[str, Any]:
        """The state as JSON, as it stands in the file's header."""
        fields = dataclasses.asdict(self)
        rows = fields.pop("history")
        return fields | {"rows": rows}


class DivergedError(FailedError):
    """A loss, or what is monitored, is no number any longer."""


class PrunedError(FailedError):
    """A fit was ended early, because it does not look as if its point would be chosen."""


class Stopped(Exception):  # noqa: N818 - not an error
    """A fit ended early on request; its state is saved. Names the run to resume."""


class Checkpointer:
    """The file of one fit's state.

    Attributes:
        key: digest of what the fit depends on (recipe, split, precision, versions); a state with another key is refused.
        keep: whether the state remains when the fit is complete, for more epochs later.
    """

    def __init__(self, path: Path, key: str, keep: bool = False):
        self.path, self.key, self.keep = path, key, keep

    def save(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the state on disk."""
        header = json.dumps({"key": self.key, "sha256": digest(tensors), **facts})
        content = safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata={"fit": header}
        )
        write_bytes(self.path, content)

    def load(self) -> tuple[State, dict[str, Any]] | None:
        """The tensors and the header on disk; None if there is no file.

        Raises:
            IncompatibleError: it belongs to another recipe, split, precision or version.
            NotVerifiedError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["fit"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            if facts.pop("sha256", None) not in (None, digest(tensors)):  # none in states of before
                raise ValueError("its numbers have not the SHA-256 that they were saved with")
        except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
            raise NotVerifiedError(
                f"'{self.path}' is not a readable state of a fit: {error}. Remove it to start this fit again."
            ) from None
        if facts["key"] != self.key:
            raise IncompatibleError(
                f"'{self.path}' belongs to another recipe, split, precision or version of torch or mammozoo; continuing would "
                "not give the run that was begun. Remove it to start this fit again."
            )
        del facts["key"]
        if "rng" in tensors:  # before 0.2 the processor's generator alone was saved, and no device
            tensors["rng.cpu"] = tensors.pop("rng")
        facts.setdefault("device", "cpu")
        return tensors, facts

    def drop(self) -> None:
        """Remove the file of a complete fit, unless it is to be kept."""
        if not self.keep:
            self.path.unlink(missing_ok=True)


def trainable_state(model: nn.Module) -> State:
    """Copies of what training can change in a model: parameters that learn, and buffers."""
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in learning | buffers}


@torch.no_grad()
def load_trainable_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """The reverse of `trainable_state`.

    Raises:
        IncompatibleError: the state is of another model.
    """
    own = model.state_dict()
    if missing := [name for name in state if name not in own or own[name].shape != state[name].shape]:
        raise IncompatibleError(f"The kept state does not fit the model: {', '.join(missing[:3])}.")
    for name, tensor in state.items():
        own[name].copy_(tensor)


def pack(**states: Mapping[str, torch.Tensor]) -> State:
    """All tensors, named by the state that they are of, as in the file."""
    return {f"{prefix}.{name}": tensor for prefix, state in states.items() for name, tensor in state.items()}


def unpack(prefix: str, tensors: Mapping[str, torch.Tensor]) -> State:
    """The reverse of `pack`."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[State, list[dict[str, Any]]]:
    """(tensors by `number.name`, settings of each parameter group); numbers count parameters over all groups."""
    content = optimizer.state_dict()
    tensors = {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in content["state"].items()
        for name, value in values.items()
        if value is not None
    }
    groups = [{k: v for k, v in group.items() if k != "params"} for group in content["param_groups"]]
    return tensors, groups


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State, groups: list[dict[str, Any]]) -> None:
    """The reverse of `pack_optimizer`, on a fresh optimizer over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        own = parameters[int(number)]
        if tensor.shape == own.shape:  # kept contiguous; fused optimizers want it to lie as the parameter does
            tensor = torch.empty_like(own, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
        state.setdefault(int(number), {})[key] = tensor
    fresh = optimizer.state_dict()["param_groups"]
    if len(fresh) != len(groups):
        raise IncompatibleError("The kept state has other parameter groups than the strategy makes now.")
    merged = [
        {
            **{key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()},
            **{key: own[key] for key in ("params", "fused") if key in own},  # these are of the device
        }
        for kept, own in zip(groups, fresh, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": merged})
