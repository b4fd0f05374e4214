"""The loop: phases, epochs, batches; the best epoch by validation is what remains."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.data.loader import batches
from mammozoo.data.transforms import build
from mammozoo.errors import FailedError, memory_error, set_scene
from mammozoo.models.device import Engine
from mammozoo.models.model import Model, has_folded_batch_norm
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators
from mammozoo.models.strategy import Composite
from mammozoo.training.checkpoint import (
    Checkpointer,
    Stopped,
    TrainState,
    as_facts,
    load_trainable_state,
    pack,
    pack_optimizer,
    restore_optimizer,
    trainable_state,
    unpack,
)
from mammozoo.training.compiled import Compiled
from mammozoo.training.distributed import ALONE, DistContext, Indices
from mammozoo.training.feature_cache.features import FrozenFeatures, find_trunk
from mammozoo.training.loss import Loss
from mammozoo.training.optimizer import advance, make_optimizer, make_scheduler
from mammozoo.training.training_data import TrainingData, epoch_order
from mammozoo.training.validation import direction, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochRow:
    """One line of `history.csv`. Losses are class-weighted means; `rate` is images a second while training."""

    split: str
    epoch: int
    phase: int
    lr: float
    train_loss: float
    val_loss: float
    monitor: float
    best: bool
    seconds: float
    rate: float


@dataclass(frozen=True)
class Fitted:
    """What remains of a fit besides the trained model: its history, and what was kept of its frozen trunk."""

    history: list[EpochRow]
    kept: FrozenFeatures | None


#: Told of progress: `batch(images)` after each batch, `epoch(row)` after each epoch.
OnBatch = Callable[[int], object]
OnEpoch = Callable[[EpochRow], object]


def fit(
    model: Model,
    strategy: Composite,
    recipe: Recipe,
    material: TrainingData,
    engine: Engine,
    on_batch: OnBatch = lambda images: None,
    on_epoch: OnEpoch = lambda row: None,
    *,
    keeper: Checkpointer | None = None,
    team: DistContext = ALONE,
) -> Fitted:
    """Train `model` in place; it ends with the weights of the epoch that was best on validation.

    With a `keeper` the state is kept after every epoch, and a fit that was kept goes on from there: with the same bytes as one
    that was never interrupted. With a `team` each process takes its share of every batch.

    Raises:
        FailedError: a loss or the monitored score is not a number (of a batch, with its files), or memory ran out
            (with a batch to try).
        Stopped: the keeper was told to stop; everything up to this batch is kept.
    """
    engine.place(model)
    model.freeze_batch_norm = recipe.batch_norm == "frozen" or (
        recipe.batch_norm == "auto" and has_folded_batch_norm(model.backbone)
    )
    return _Fit(model, strategy, recipe, material, engine, on_batch, on_epoch, keeper, team).run()


class _Fit:
    """A fit on its way. What changes in it is in `place`, the model, the optimizer and the scheduler, and nowhere else."""

    def __init__(
        self,
        model: Model,
        strategy: Composite,
        recipe: Recipe,
        material: TrainingData,
        engine: Engine,
        on_batch: OnBatch,
        on_epoch: OnEpoch,
        keeper: Checkpointer | None,
        team: DistContext,
    ):
        self.model, self.strategy, self.recipe, self.material, self.engine = model, strategy, recipe, material, engine
        self.on_batch, self.on_epoch, self.keeper, self.team = on_batch, on_epoch, keeper, team
        self.phases = recipe.all_phases()
        train = material.split.train
        self.loss = Loss(material.labels[train], len(model.classes), recipe.class_weights == "balanced", engine.device)
        self.augment = [build(name) for name in recipe.augment]
        self.place = TrainState()
        self.best = trainable_state(model)
        self.kept = self._cache()
        self._start_phase()
        if keeper is not None:
            keeper.lasting = recipe.keep_state
            self._restore(keeper)
        # Wrapped last: what is restored is then what the team starts from.
        network = team.wrap(model, engine.device, recipe.sync_batch_norm)
        self.trained: Callable[[torch.Tensor], torch.Tensor] = network
        if recipe.compile and self.kept is None:  # a cached trunk leaves little to compile
            self.trained = Compiled(network, recipe.batch // team.size)

    def run(self) -> Fitted:
        """Epoch after epoch, until the last one or until patience ends."""
        place, patience = self.place, self.recipe.patience
        while place.phase < len(self.phases):
            if patience is not None and place.stale >= patience:
                log.info("%s: no better %s for %d epochs; stopped.", self.name, self.recipe.monitor, place.stale)
                break
            try:
                self._epoch()
            except Exception as error:
                if (known := memory_error(error, self.recipe.batch)) is not None:
                    raise known from error
                set_scene(error, doing=f"training {self.name}, epoch {place.epoch + 1}", device=str(self.engine.device))
                raise
        load_trainable_state(self.model, self.best)
        return Fitted(place.rows, self.kept)

    @property
    def name(self) -> str:
        """Of the split."""
        return self.material.split.name

    def _cache(self) -> FrozenFeatures | None:
        """What the frozen trunk makes of every image, where there is one and the recipe allows it."""
        recipe, augmented = self.recipe, bool(self.augment)
        if not recipe.cache or self.team.size > 1 or (augmented and not recipe.cache_views):
            return None
        trunk = find_trunk(self.model, self.engine)
        if trunk is None:
            return None
        views = max(1, recipe.cache_views)
        return trunk.cached(self.material.pixels, views=views, augment=recipe.augment, seed=recipe.seed)

    def _start_phase(self) -> None:
        phase = self.phases[self.place.phase]
        self.optimizer = make_optimizer(self.strategy, self.model, phase)
        self.scheduler = make_scheduler(self.optimizer, self.recipe.schedule, phase)

    def _epoch(self) -> None:
        place, started = self.place, time.perf_counter()
        self._train()
        trained = time.perf_counter() - started
        total, seen = self.team.sum([place.total, place.seen])
        lr = float(self.optimizer.param_groups[0]["lr"])
        val_loss, monitored = self._validate(lr)
        value = direction(self.recipe.monitor) * monitored
        best = place.judge(value)
        if best:
            self.best = trainable_state(self.model)
        row = EpochRow(
            split=self.name,
            epoch=place.epoch + 1,
            phase=place.phase + 1,
            lr=lr,
            train_loss=total / seen,
            val_loss=val_loss,
            monitor=monitored,
            best=best,
            seconds=time.perf_counter() - started,
            rate=seen / trained,
        )
        place.rows.append(row)
        advance(self.scheduler, value)
        if place.next_epoch(self.phases[place.phase].epochs) and place.phase < len(self.phases):
            self._start_phase()
        if self.keeper is not None:
            self._keep(self.keeper)
        self.on_epoch(row)

    def _validate(self, lr: float) -> tuple[float, float]:
        """(loss, monitored value), both numbers."""
        part = self.material.split.val
        val_loss, monitored = validate(
            self.model, self.recipe, self.material, part, self.loss, self.engine, self.team, self.kept
        )
        if not (np.isfinite(val_loss) and np.isfinite(monitored)):
            what, got = ("loss", val_loss) if not np.isfinite(val_loss) else (self.recipe.monitor, monitored)
            raise FailedError(
                f"The validation {what} became {got} in epoch {self.place.epoch + 1} at learning rate {lr:g}. Try a "
                "smaller --lr, --set precision=fp32 or --set monitor=loss."
            )
        return val_loss, monitored

    def _train(self) -> None:
        """The batches of an epoch that are still to come."""
        place, recipe = self.place, self.recipe
        order = epoch_order(self.material.split.train, recipe.batch, recipe.seed, place.epoch)
        share = recipe.batch // self.team.size
        coming = self.team.share(order, recipe.batch)[place.batch * share :]
        if place.batch == 0:
            self._seed()
        self.model.train()
        for forward, indices in self._batches(coming, share):
            labels = torch.from_numpy(self.material.labels[indices])
            value = self._step(forward, labels, min(recipe.batch, len(order) - place.batch * recipe.batch))
            if not np.isfinite(value):
                files = ", ".join(self.material.names[int(i)] for i in indices)
                lr = self.phases[place.phase].lr
                raise FailedError(
                    f"The loss became {value} in epoch {place.epoch + 1} at learning rate {lr:g}. Try a smaller --lr, "
                    f"or --set precision=fp32. The batch was: {files}."
                )
            place.next_batch(value, len(labels))
            self.on_batch(len(labels))
            if self.keeper is not None and self.team.leads and self.keeper.stop():
                self._keep(self.keeper)
                raise Stopped

    def _seed(self) -> None:
        """For dropout. So an epoch depends on no other, and each process has numbers of its own."""
        seed = (self.recipe.seed * 1_000_003 + self.place.epoch) * 1_009 + self.team.rank
        seed_generators(seed, self.engine.device)

    def _batches(self, order: Indices, size: int) -> Iterator[tuple[Callable[[], torch.Tensor], Indices]]:
        """(what gives the logits of a batch, its images): through the whole network, or from its frozen trunk on."""
        if self.kept is not None:
            trunk, view = self.kept.trunk, self.kept.view_of(self.place.epoch)
            for start in range(0, len(order), size):
                chunk = order[start : start + size]
                yield partial(trunk.logits, self.kept.batch(chunk, view)), chunk
            return
        loader = batches(
            self.material.pixels,
            self.material.labels,
            order,
            size,
            augment=self.augment,
            seed=self.recipe.seed,
            epoch=self.place.epoch,
            workers=self.recipe.workers,
            device=self.engine.device,
        )
        for pixels, _, indices in loader:
            yield partial(self._logits, pixels), indices.numpy()

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        images = self.model.backbone.input.normalize(pixels.to(self.engine.device))
        with self.engine.autocast():
            return self.trained(images)

    def _step(self, forward: Callable[[], torch.Tensor], labels: torch.Tensor, whole: int) -> float:
        """One optimizer step on this process's share of a batch of `whole`; without one when the loss is not finite."""
        value = self.loss(forward(), labels.to(self.engine.device))
        if torch.isfinite(value):
            self.optimizer.zero_grad(set_to_none=True)
            with self.engine.exactly():
                (value * self.team.weight(len(labels), whole)).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return value.item()

    def _keep(self, keeper: Checkpointer) -> None:
        if not self.team.leads:
            return
        moments, groups = pack_optimizer(self.optimizer)
        tensors = {
            **pack("model", trainable_state(self.model)),
            **pack("best", self.best),
            **pack("optimizer", moments),
            **pack("rng", generator_states(self.engine.device)),
        }
        scheduler = self.scheduler.state_dict() if self.scheduler is not None else None
        facts = {"place": as_facts(self.place), "groups": groups, "scheduler": scheduler}
        keeper.save(tensors, facts | {"device": self.engine.device.type})

    def _restore(self, keeper: Checkpointer) -> None:
        kept = self.team.tell(keeper.load() if self.team.leads else None)
        if kept is None:
            return
        tensors, facts = kept
        rows = [EpochRow(**row) for row in facts["place"].pop("rows")]
        self.place = TrainState(**facts["place"], rows=rows)
        self.best = unpack("best", tensors)
        load_trainable_state(self.model, unpack("model", tensors))
        if self.place.phase < len(self.phases):
            self._start_phase()
            restore_optimizer(self.optimizer, unpack("optimizer", tensors), facts["groups"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(facts["scheduler"])
        # What was not kept (of another device, of a team's other processes) is as at the start of the epoch.
        self._seed()
        if self.team.leads:
            restore_generators(unpack("rng", tensors), self.engine.device)
        if facts["device"] != self.engine.device.type:
            log.warning(
                "%s: begun on %s, goes on on %s: its bytes are those of neither alone.",
                self.name, facts["device"], self.engine.device.type,
            )  # fmt: skip
        log.info("%s: goes on after epoch %d, batch %d.", self.name, self.place.epoch, self.place.batch)
