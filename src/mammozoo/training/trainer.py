"""The training loop: phases, epochs, batches; the weights of the best epoch by validation are what remains."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.errors import UsageError, memory_error, set_scene
from mammozoo.models.device import Engine
from mammozoo.models.model import Model, has_folded_batch_norm
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators
from mammozoo.models.strategy import Composite
from mammozoo.training.average import Average
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import (
    Checkpointer,
    DivergedError,
    Stopped,
    TrainState,
    load_trainable_state,
    pack,
    pack_optimizer,
    restore_optimizer,
    trainable_state,
    unpack,
)
from mammozoo.training.compiled import Compiled
from mammozoo.training.feed import Feed, TrainingData, epoch_order
from mammozoo.training.history import EpochRow, log_epoch
from mammozoo.training.loss import Loss
from mammozoo.training.mixing import Mixing
from mammozoo.training.optimizer import make_optimizer, make_scheduler, step_scheduler
from mammozoo.training.step import Step
from mammozoo.training.validation import Monitor

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.intp]

#: Batches after which losses are read from a card: reading waits for all that the card still has to do.
_READ_EVERY = 64


class Trainer:
    """One fit. What changes during it is in `state`, the model, the optimizer and the scheduler, and nowhere else.

    With a checkpointer the state is saved after every epoch, and a fit that was saved continues from there, with the same
    bytes as one that was never interrupted. With several processes each takes its share of every batch.
    """

    def __init__(
        self,
        model: Model,
        strategy: Composite,
        recipe: Recipe,
        data: TrainingData,
        engine: Engine,
        callbacks: Callbacks | None = None,
        checkpointer: Checkpointer | None = None,
    ):
        self.model, self.strategy, self.recipe, self.data, self.engine = model, strategy, recipe, data, engine
        self.callbacks, self.checkpointer = callbacks or Callbacks(), checkpointer
        self.dist, self.clock, self.first = self.callbacks.dist, self.callbacks.progress.clock, True
        self.phases = recipe.all_phases()
        engine.place(model, len(data.split.train) * sum(phase.epochs for phase in self.phases))
        model.freeze_batch_norm = recipe.batch_norm == "frozen" or (
            recipe.batch_norm == "auto" and has_folded_batch_norm(model.backbone)
        )
        self.monitor = Monitor(recipe.monitor)
        train = data.split.train
        balanced, self.methods = recipe.class_weights == "balanced", recipe.methods
        self.loss = Loss(data.labels[train], len(model.classes), balanced, engine.device, self.methods)
        self.state = TrainState()
        self.best_weights = trainable_state(model)
        self.feed = Feed(model, recipe, data.pixels, data.labels, engine, alone=self.dist.size == 1)
        if self.methods.mixup or self.methods.cutmix:
            self.feed.mixing = Mixing(recipe, self.dist.rank)
        self.average = Average(model, self.methods.ema) if self.methods.ema else None
        self._start_phase()
        if checkpointer is not None:
            self._restore(checkpointer)
        # Wrapped last: the restored weights are what the processes start from.
        network = self.dist.wrap(model, engine.device, recipe.sync_batch_norm)
        compiled = recipe.compile and self.feed.features is None  # behind cached features little is left to compile
        run = Compiled(network, recipe.batch // self.dist.size) if compiled else network
        whole = self.dist.is_single and not recipe.compile and self.feed.mixing is None and self.methods.accumulate == 1
        replayed = recipe.batch if whole else 0
        self.step = Step(partial(self.feed.logits, run), self._loss, model, engine, replayed, self.methods.clip)

    def fit(self, most: int | None = None) -> list[EpochRow]:
        """Train epoch after epoch, until the last one or the `most`-th, or until patience ends; the history, one row an epoch.

        Without a validation part the last epoch is the best.

        Raises:
            DivergedError: a loss or the monitored value is not a number (of a batch, with its files).
            FailedError: memory ran out (with a batch to try).
            Stopped: `callbacks.stop` asked for it; everything up to this batch is saved.
        """
        state, patience = self.state, self.recipe.patience
        while state.phase < len(self.phases) and (most is None or state.epoch < most):
            if patience is not None and state.stale >= patience:
                log.info("%s: no better %s for %d epochs; stopped.", self.split_name, self.monitor.name, state.stale)
                break
            try:
                self._epoch()
            except Exception as error:
                if (full := memory_error(error, self.recipe.batch)) is not None:
                    raise full from error
                if "more than 1 value per channel" in str(error):  # torch's words; a map of one pixel of one image
                    alone = "A process gets a single image of the last batch; batch norm cannot train on it here."
                    raise UsageError(f"{alone} Give another --batch or --gpus, or a larger size.") from error
                doing = f"training {self.split_name}, epoch {state.epoch + 1}"
                set_scene(error, doing=doing, device=str(self.engine.device))
                raise
        load_trainable_state(self.model, self.best_weights)
        return state.history

    def predict(self, indices: Indices, advance: Callable[[int], None] = lambda _: None) -> torch.Tensor:
        """(len(indices), outputs) float32 logits on the CPU, in evaluation mode; each process computes its share."""
        own = indices[self.dist.rank :: self.dist.size]  # none, of fewer images than processes
        return self.dist.gather(self.feed.predict(own, advance) if len(own) else torch.empty(0, 1), len(indices))

    def validate(self) -> tuple[float, float]:
        """(loss, monitored value) on the validation part."""
        val = self.data.split.val
        logits, labels = self.predict(val), self.data.labels[val]
        on_device = logits.to(self.engine.device), torch.from_numpy(labels).to(self.engine.device)
        loss = float(self.loss(*on_device))
        return loss, self.monitor.value(loss, logits, labels, self.model.classes)

    @property
    def split_name(self) -> str:
        """Name of the split."""
        return self.data.split.name

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mixing = self.feed.mixing
        targets = labels if mixing is None else mixing.targets(labels, len(self.model.classes))
        return self.loss.of_training(logits, targets)

    def _start_phase(self) -> None:
        phase = self.phases[self.state.phase]
        self.optimizer = make_optimizer(self.strategy, self.model, phase)
        self.scheduler = make_scheduler(self.optimizer, self.recipe.schedule, phase)

    def _epoch(self) -> None:
        """One epoch: train, validate, keep the best weights, save."""
        state, started = self.state, time.perf_counter()
        self.clock.lap("build")
        self._train_epoch()
        self.clock.lap("steps")
        trained = time.perf_counter() - started
        total, images = self.dist.sum([state.total, state.seen])
        lr = float(self.optimizer.param_groups[0]["lr"])
        val_loss = monitored = value = float("nan")
        with self.average.in_force() if self.average else contextlib.nullcontext():
            if validated := len(self.data.split.val) > 0:
                val_loss, monitored = self.validate()
                self._check_finite(val_loss, monitored, lr)
                value = self.monitor.sign * monitored
            self.clock.lap("validation")
            if best := not validated or state.is_best(value):
                self.best_weights = trainable_state(self.model)
        row = EpochRow(
            self.split_name, state.epoch + 1, state.phase + 1, lr, total / images, val_loss, monitored, best,
            seconds=time.perf_counter() - started, rate=images / trained,
        )  # fmt: skip
        state.history.append(row)
        step_scheduler(self.scheduler, value)
        if state.next_epoch(self.phases[state.phase].epochs) and state.phase < len(self.phases):
            self._start_phase()
        self._save()
        self.clock.lap("save")
        log_epoch(row.split, row, self.monitor.name)
        self.callbacks.progress.epoch(row)
        self.callbacks.on_epoch(row)

    def _train_epoch(self) -> None:
        """The remaining batches of an epoch."""
        state, recipe, size = self.state, self.recipe, self.recipe.batch
        labels = self.data.labels if self.methods.sampling == "balanced" else None
        order = epoch_order(self.data.split.train, size, recipe.seed, state.epoch, labels)
        share = size // self.dist.size
        remaining = self.dist.shard(order, size)[state.batch * share :]
        if state.batch == 0:
            self._seed()
        self.model.train()
        chunks = [remaining[start : start + share] for start in range(0, len(remaining), share)]
        taken: list[tuple[torch.Tensor, Indices]] = []
        added, batches = self.methods.accumulate, state.batch + len(chunks)
        read_every = _READ_EVERY if self.engine.device.type == "cuda" else 1
        for number, (indices, batch) in enumerate(
            zip(chunks, self.feed.batches(remaining, share, state.epoch), strict=True), state.batch
        ):
            whole = min(size, len(order) - number * size)
            weight = self.dist.loss_weight(len(indices), whole) / min(added, batches - number // added * added)
            first, last = number % added == 0, (number + 1) % added == 0 or number + 1 == batches
            if self.feed.mixing is not None:
                self.feed.mixing.begin(state.epoch, number)
            taken.append((self.step(self.optimizer, batch, weight, first, last), indices))
            if self.average is not None and last:
                self.average.update()
            if self.first:  # this one reserves memory and chooses algorithms
                taken[0][0].item()
                self.clock.lap("first step")
                self.first = False
            self.callbacks.progress.advance(len(indices))
            stop = last and self.checkpointer is not None and self.dist.is_main and self.callbacks.stop()
            if stop or len(taken) == read_every:
                self._read(taken)
            if stop:
                self._save()
                raise Stopped
        self._read(taken)

    def _read(self, taken: list[tuple[torch.Tensor, Indices]]) -> None:
        """Take the losses of the last steps into the state.

        Raises:
            DivergedError: one of them is not a number; the state is that before its batch.
        """
        losses = torch.stack([loss for loss, _ in taken]).tolist() if taken else []
        for loss, (_, indices) in zip(losses, taken, strict=True):
            if not np.isfinite(loss):
                files = ", ".join(self.data.names[int(i)] for i in indices)
                raise DivergedError(
                    f"The loss became {loss} in epoch {self.state.epoch + 1} at learning rate "
                    f"{self.phases[self.state.phase].lr:g}. Try a smaller --lr, or --set precision=fp32. The batch was: {files}."
                )
            self.state.next_batch(loss, len(indices))
        taken.clear()

    def _seed(self) -> None:
        """Seed dropout by epoch and process, so that a resumed epoch needs no memory of those before it."""
        seed = (self.recipe.seed * 1_000_003 + self.state.epoch) * 1_009 + self.dist.rank
        seed_generators(seed, self.engine.device)

    def _check_finite(self, val_loss: float, monitored: float, lr: float) -> None:
        if not (np.isfinite(val_loss) and np.isfinite(monitored)):
            what, value = ("loss", val_loss) if not np.isfinite(val_loss) else (self.monitor.name, monitored)
            raise DivergedError(
                f"The validation {what} became {value} in epoch {self.state.epoch + 1} at learning rate {lr:g}. Try a "
                "smaller --lr, --set precision=fp32 or --set monitor=loss."
            )

    def _save(self) -> None:
        if self.checkpointer is None or not self.dist.is_main:
            return
        moments, groups = pack_optimizer(self.optimizer)
        rng = generator_states(self.engine.device)
        tensors = pack(model=trainable_state(self.model), best=self.best_weights, optimizer=moments, rng=rng)
        if self.average is not None:
            tensors |= pack(average=self.average.state)
        header: dict[str, Any] = {
            "place": self.state.to_json(),
            "groups": groups,
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "device": self.engine.device.type,
            **({} if self.average is None else {"averaged": self.average.steps}),
        }
        self.checkpointer.save(tensors, header)

    def _restore(self, checkpointer: Checkpointer) -> None:
        saved = self.dist.broadcast(checkpointer.load() if self.dist.is_main else None)
        if saved is None:
            return
        tensors, header = saved
        history = [EpochRow(**row) for row in header["place"].pop("rows")]
        self.state = TrainState(**header["place"], history=history)
        self.best_weights = unpack("best", tensors)
        load_trainable_state(self.model, unpack("model", tensors))
        if self.average is not None:
            saved_average = {name: t.to(self.engine.device) for name, t in unpack("average", tensors).items()}
            self.average.state, self.average.steps = saved_average, header["averaged"]
        if self.state.phase < len(self.phases):
            self._start_phase()
            restore_optimizer(self.optimizer, unpack("optimizer", tensors), header["groups"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(header["scheduler"])
        # Generators that were not saved (of another device, of the other processes) are as at the start of the epoch.
        self._seed()
        if self.dist.is_main:
            restore_generators(unpack("rng", tensors), self.engine.device)
        device = header["device"]
        if device != self.engine.device.type:
            log.warning(
                "%s: started on %s and continued on %s, so its bytes match neither device alone.",
                self.split_name, device, self.engine.device.type,
            )  # fmt: skip
        log.info("%s: continues after epoch %d, batch %d.", self.split_name, self.state.epoch, self.state.batch)
