"""One fit in several processes: which part of a batch each process takes, and how their results are joined.

A single process is a context of size 1, so that the loop is written once. Several are started by torch's own launcher
(`torchrun`, or `mammozoo train --gpus N`, which calls it); each holds the whole model (DistributedDataParallel) and every
n-th image of each batch. Batches keep the recipe's size, so that the losses are those of one process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.make import Split
from mammozoo.errors import UsageError
from mammozoo.training.holding import die_with_parent

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class DistContext:
    """`size` processes, of which this is number `rank`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages; exactly one does."""
        return self.rank == 0

    @property
    def is_single(self) -> bool:
        """Whether there is no other process to exchange anything with."""
        return self.size == 1

    def shard(self, order: Indices, batch: int) -> Indices:
        """This process's images, in an order in which `batch / size` of them are its share of each batch.

        A last batch with fewer images than processes is left out.
        """
        if self.is_single:
            return order
        rest = len(order) % batch
        if rest < self.size:
            order = order[: len(order) - rest]
        return np.concatenate(
            [order[start : start + batch][self.rank :: self.size] for start in range(0, len(order), batch)]
        )

    def loss_weight(self, share: int, whole: int) -> float:
        """Factor on the mean loss of `share` of `whole` images, so that averaged gradients are those of the whole batch."""
        return share * self.size / whole

    def wrap(self, model: nn.Module, device: torch.device, sync_batch_norm: bool) -> nn.Module:
        """The model as it is trained: gradients are averaged over the processes after each backward pass."""
        if self.is_single:
            return model
        if sync_batch_norm:
            if device.type != "cuda":
                raise UsageError("sync_batch_norm needs CUDA: torch synchronises batch norms on GPUs only.")
            from timm.layers import convert_sync_batchnorm  # here: importing timm takes seconds

            # Unlike torch's own it keeps the activations behind timm's norms.
            convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(
            model, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None
        )

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""
        if self.is_single:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=_device())
        distributed.all_reduce(total)
        return [float(value) for value in total]

    def broadcast(self, content: Any) -> Any:
        """The main process's `content`, in every process."""
        if self.is_single:
            return content
        box = [content]
        distributed.broadcast_object_list(box)
        return box[0]

    def gather(self, part: torch.Tensor, n: int) -> torch.Tensor:
        """(n, …) rows of which each process has every size-th, from its rank on; on the CPU, the same everywhere."""
        if self.is_single:
            return part
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, part.cpu().numpy())
        whole = np.empty((n, *part.shape[1:]), parts[0].dtype)
        for rank, rows in enumerate(parts):
            whole[rank :: self.size] = rows
        return torch.from_numpy(whole)


SINGLE = DistContext()


#: Variables in which others that start processes say how many; the first that is there counts.
_TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def current_context() -> DistContext:
    """The context from the environment of torch's launcher; a single process without it.

    Raises:
        UsageError: Slurm or MPI has started several processes without it, each of which would train all.
    """
    tasks = next(((name, os.environ[name]) for name in _TASKS if name in os.environ), ("", "1"))
    if "RANK" not in os.environ and tasks[1] != "1":
        raise UsageError(
            f"{tasks[0]} is {tasks[1]}, and each of these processes would train the whole run. To train together on several "
            "machines, start one torchrun on each (srun --ntasks-per-node=1 torchrun …, as docs/cluster.md shows); on one machine "
            "use --gpus. Otherwise start one process: srun --ntasks=1, or #SBATCH --ntasks=1."
        )
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return DistContext(int(os.environ["RANK"]), size) if size > 1 else SINGLE


def restarted(out: Path | None) -> Path | None:
    """The run `out`, if torch's launcher starts its processes again because one of them failed; else None.

    Raises:
        UsageError: it may do so, and could not know the run.
    """
    if out is None and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        raise UsageError("--max-restarts of torchrun goes on with the run in --out, so name its folder.")
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return out if again and out is not None and (out / "run.json").is_file() else None


def init_distributed(device: str) -> DistContext:
    """Join the process group, if there are other processes. Call it once, before they work together.

    Raises:
        UsageError: more processes on this machine than GPUs.
    """
    dist = current_context()
    if dist.size == 1 or distributed.is_initialized():
        return dist
    die_with_parent()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        if local >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise UsageError(f"Process {local + 1} has no GPU: there are {count}. Use --gpus {count}.")
        torch.cuda.set_device(local)
        _connect("nccl", dist)
    else:
        _connect("gloo", dist)
    return dist


def _connect(backend: str, dist: DistContext) -> None:
    """Join the process group. torchrun keeps one store over its restarts, and with it addresses of processes that are gone."""
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if again == "0" or os.environ.get("GROUP_WORLD_SIZE") != "1":  # torchruns of several machines count differently
        distributed.init_process_group(backend)
        return
    store, _, _ = next(rendezvous("env://"))
    fresh = distributed.PrefixStore(f"restart-{again}", store)
    distributed.init_process_group(backend, store=fresh, rank=dist.rank, world_size=dist.size)


def check_processes(recipe: Recipe, size: int) -> None:
    """Refuse what `size` processes on this machine cannot do, before one of them is started. Cards are counted without CUDA.

    Raises:
        UsageError: with the way to say it.
    """
    check_batches(recipe, size)
    if recipe.device == "cpu":
        if recipe.sync_batch_norm:
            raise UsageError("sync_batch_norm needs CUDA: torch synchronises batch norms on GPUs only.")
        return
    if recipe.device not in ("auto", "cuda"):
        raise UsageError(
            f"--gpus {size} takes the first {size} CUDA cards, or with --device cpu {size} processes on the processor; "
            f"'{recipe.device}' is one device. Leave --gpus or --device out; CUDA_VISIBLE_DEVICES chooses among cards."
        )
    if (cards := torch.cuda.device_count()) < size:
        has = f"there {'is' if cards == 1 else 'are'} {cards}" if cards else "this machine has none that torch can use"
        way = f"Say --gpus {cards}" if cards > 1 else "Leave --gpus out"
        raise UsageError(
            f"--gpus {size} needs {size} CUDA cards, and {has}. {way}, or add --device cpu for {size} processes on the processor."
        )


def check_batches(recipe: Recipe, size: int) -> None:
    """Refuse batches of which `size` processes would get unequal shares: some would wait for ever for a step of the others.

    Raises:
        UsageError: with a batch that can be shared.
    """
    stages = (recipe.of_stage(number) for number in range(len(recipe.stages)))
    for batch in (one.batch for one in (*stages, *(point for _, point in recipe.points()))):
        if batch % size:
            fitting = -(-batch // size) * size
            raise UsageError(
                f"{size} processes cannot share batches of {batch} images equally. Use --batch {fitting}, or another --gpus."
            )


def check_images(splits: Iterable[Split], size: int) -> None:
    """Refuse a training part with fewer images than processes: there would be no step that all of them take part in.

    Raises:
        UsageError: with the most processes that can share it.
    """
    fewest = min(len(split.train) for split in splits)
    if size > 1 and fewest < size:
        raise UsageError(
            f"{size} processes cannot share a training part of {fewest} images. Use --gpus {fewest} at most."
        )


def is_connection_error(error: BaseException) -> bool:
    """Whether an exception is of the connection to the other processes, and not of the work itself."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def destroy_distributed() -> None:
    """Leave the process group, also after an error: a process that ends with open connections may abort."""
    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


def _device() -> torch.device:
    return (
        torch.device("cuda", torch.cuda.current_device())
        if distributed.get_backend() == "nccl"
        else torch.device("cpu")
    )
