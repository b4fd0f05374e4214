"""The loop: phases, epochs, batches; the best epoch by validation is what remains."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.data.input import Pixels
from mammozoo.data.loading import batches
from mammozoo.data.splits import Split
from mammozoo.data.transform import build
from mammozoo.errors import FailedError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.models.engine import Engine
from mammozoo.models.model import Model, has_folded_batch_norm, probabilities
from mammozoo.models.strategy import Composite
from mammozoo.plugins import registry
from mammozoo.training.checkpoint import (
    Keeper,
    Place,
    Stopped,
    as_facts,
    moving,
    pack,
    pack_optimizer,
    put_back,
    restore_optimizer,
    unpack,
)
from mammozoo.training.loss import Loss
from mammozoo.training.recipe import Optimizer, Phase, Recipe, Schedule
from mammozoo.training.team import ALONE, Indices, Team
from mammozoo.training.trunk import CachedViews, plan_trunk

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
class Material:
    """What a fit learns from: all images as the model sees them, their labels and names, and the split."""

    pixels: Pixels
    labels: npt.NDArray[np.intp]
    names: Sequence[str]
    split: Split


@dataclass(frozen=True)
class Fitted:
    """What remains of a fit besides the trained model: its history, and what was kept of its frozen trunk."""

    history: list[EpochRow]
    kept: CachedViews | None


#: Told of progress: `batch(images)` after each batch, `epoch(row)` after each epoch.
OnBatch = Callable[[int], object]
OnEpoch = Callable[[EpochRow], object]


def fit(
    model: Model,
    strategy: Composite,
    recipe: Recipe,
    material: Material,
    engine: Engine,
    on_batch: OnBatch = lambda images: None,
    on_epoch: OnEpoch = lambda row: None,
    *,
    keeper: Keeper | None = None,
    team: Team = ALONE,
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
        material: Material,
        engine: Engine,
        on_batch: OnBatch,
        on_epoch: OnEpoch,
        keeper: Keeper | None,
        team: Team,
    ):
        self.model, self.strategy, self.recipe, self.material, self.engine = model, strategy, recipe, material, engine
        self.on_batch, self.on_epoch, self.keeper, self.team = on_batch, on_epoch, keeper, team
        self.phases = recipe.all_phases()
        train = material.split.train
        self.loss = Loss(material.labels[train], len(model.classes), recipe.class_weights == "balanced", engine.device)
        self.augment = [build(name) for name in recipe.augment]
        self.place = Place()
        self.best = moving(model)
        self.kept = self._cache()
        self._start_phase()
        if keeper is not None:
            self._restore(keeper)
        # Wrapped last: what is restored is then what the team starts from.
        self.trained = team.wrap(model, engine.device, recipe.sync_batch_norm)

    def run(self) -> Fitted:
        """Epoch after epoch, until the last one or until patience ends."""
        place, patience = self.place, self.recipe.patience
        while place.phase < len(self.phases):
            if patience is not None and place.stale >= patience:
                log.info("%s: no better %s for %d epochs; stopped.", self.name, self.recipe.monitor, place.stale)
                break
            self._epoch()
        put_back(self.model, self.best)
        return Fitted(place.rows, self.kept)

    @property
    def name(self) -> str:
        """Of the split."""
        return self.material.split.name

    def _cache(self) -> CachedViews | None:
        """What the frozen trunk makes of every image, where there is one and the recipe allows it."""
        recipe, augmented = self.recipe, bool(self.augment)
        if not recipe.cache or self.team.size > 1 or (augmented and not recipe.cache_views):
            return None
        trunk = plan_trunk(self.model, self.engine)
        if trunk is None:
            return None
        views = max(1, recipe.cache_views)
        return trunk.cached(self.material.pixels, views=views, augment=recipe.augment, seed=recipe.seed)

    def _start_phase(self) -> None:
        phase = self.phases[self.place.phase]
        self.optimizer = make_optimizer(self.strategy, self.model, phase)
        self.scheduler = _make_scheduler(self.optimizer, self.recipe.schedule, phase)

    def _epoch(self) -> None:
        place, started = self.place, time.perf_counter()
        self._train()
        trained = time.perf_counter() - started
        total, seen = self.team.sum([place.total, place.seen])
        val_loss, monitored = validate(
            self.model,
            self.recipe,
            self.material,
            self.material.split.val,
            self.loss,
            self.engine,
            self.team,
            self.kept,
        )
        lr = float(self.optimizer.param_groups[0]["lr"])
        if not (np.isfinite(val_loss) and np.isfinite(monitored)):
            what, got = ("loss", val_loss) if not np.isfinite(val_loss) else (self.recipe.monitor, monitored)
            raise FailedError(
                f"The validation {what} became {got} in epoch {place.epoch + 1} at learning rate {lr:g}. Try a "
                "smaller --lr, --set precision=fp32 or --set monitor=loss."
            )
        value = direction(self.recipe.monitor) * monitored
        best = place.best is None or value > place.best
        if best:
            place.best, self.best, place.stale = value, moving(self.model), 0
        else:
            place.stale += 1
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
        _advance(self.scheduler, value)
        place.epoch, place.of_phase, place.batch, place.total, place.seen = (
            place.epoch + 1,
            place.of_phase + 1,
            0,
            0.0,
            0,
        )
        if place.of_phase == self.phases[place.phase].epochs:
            place.phase, place.of_phase = place.phase + 1, 0
            if place.phase < len(self.phases):
                self._start_phase()
        if self.keeper is not None:
            self._keep(self.keeper)
        self.on_epoch(row)

    def _train(self) -> None:
        """The batches of an epoch that are still to come."""
        place, recipe = self.place, self.recipe
        order = epoch_order(self.material.split.train, recipe.batch, recipe.seed, place.epoch)
        share = recipe.batch // self.team.size
        coming = self.team.share(order, recipe.batch)[place.batch * share :]
        if place.batch == 0:
            # For dropout. So an epoch depends on no other, and each process has numbers of its own.
            torch.manual_seed((recipe.seed * 1_000_003 + place.epoch) * 1_009 + self.team.rank)
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
            place.batch, place.total, place.seen = (
                place.batch + 1,
                place.total + value * len(labels),
                place.seen + len(labels),
            )
            self.on_batch(len(labels))
            if self.keeper is not None and self.team.leads and self.keeper.stop():
                self._keep(self.keeper)
                raise Stopped

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
        )
        for pixels, _, indices in loader:
            yield partial(self._logits, pixels), indices.numpy()

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        images = self.model.backbone.input.normalize(pixels.to(self.engine.device))
        with self.engine.autocast():
            logits: torch.Tensor = self.trained(images)
        return logits

    def _step(self, forward: Callable[[], torch.Tensor], labels: torch.Tensor, whole: int) -> float:
        """One optimizer step on this process's share of a batch of `whole`; without one when the loss is not finite."""
        try:
            value = self.loss(forward(), labels.to(self.engine.device))
            if torch.isfinite(value):
                self.optimizer.zero_grad(set_to_none=True)
                (value * self.team.weight(len(labels), whole)).backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
            return value.item()
        except (torch.OutOfMemoryError, MemoryError) as error:
            smaller = max(2, self.recipe.batch // 2)
            raise FailedError(f"Out of memory at batch {self.recipe.batch}. Try --batch {smaller}.") from error

    def _keep(self, keeper: Keeper) -> None:
        if not self.team.leads:
            return
        moments, groups = pack_optimizer(self.optimizer)
        tensors = {
            **pack("model", moving(self.model)),
            **pack("best", self.best),
            **pack("optimizer", moments),
            "rng": torch.get_rng_state(),
        }
        scheduler = self.scheduler.state_dict() if self.scheduler is not None else None
        keeper.save(tensors, {"place": as_facts(self.place), "groups": groups, "scheduler": scheduler})

    def _restore(self, keeper: Keeper) -> None:
        kept = self.team.tell(keeper.load() if self.team.leads else None)
        if kept is None:
            return
        tensors, facts = kept
        rows = [EpochRow(**row) for row in facts["place"].pop("rows")]
        self.place = Place(**facts["place"], rows=rows)
        self.best = unpack("best", tensors)
        put_back(self.model, unpack("model", tensors))
        if self.place.phase < len(self.phases):
            self._start_phase()
            restore_optimizer(self.optimizer, unpack("optimizer", tensors), facts["groups"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(facts["scheduler"])
        torch.set_rng_state(tensors["rng"])
        log.info("%s: goes on after epoch %d, batch %d.", self.name, self.place.epoch, self.place.batch)


def predict(
    model: Model,
    material: Material,
    indices: npt.NDArray[np.intp],
    batch: int,
    engine: Engine,
    team: Team = ALONE,
    kept: CachedViews | None = None,
) -> torch.Tensor:
    """(len(indices), outputs) float32 logits of some of the images, on the CPU; each process of a team does its share.

    With `kept` from the frozen trunk on, which gives the same numbers sooner.
    """
    if kept is not None:
        return kept.logits(indices, batch)
    loader = batches(material.pixels, material.labels, indices[team.rank :: team.size], batch)
    logits, _ = engine.logits(model, loader, model.backbone.input)
    return team.join(logits, len(indices))


def validate(
    model: Model,
    recipe: Recipe,
    material: Material,
    indices: npt.NDArray[np.intp],
    loss: Loss,
    engine: Engine,
    team: Team = ALONE,
    kept: CachedViews | None = None,
) -> tuple[float, float]:
    """(loss, monitored value) on the validation part."""
    logits = predict(model, material, indices, recipe.batch, engine, team, kept)
    labels = torch.from_numpy(material.labels[indices])
    val_loss = float(loss(logits.to(engine.device), labels.to(engine.device)))
    if recipe.monitor == "loss" or not np.isfinite(val_loss):
        return val_loss, val_loss
    metric = registry().get("metrics", recipe.monitor)
    p = probabilities(logits).numpy()
    outcome = Outcome(model.classes, labels.numpy(), p, decide(p, 0.5), np.arange(len(p)))
    return val_loss, metric.value(outcome)


def epoch_order(indices: npt.NDArray[np.intp], size: int, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    """The images of an epoch in their order, which depends on (seed, epoch) alone.

    An image that would make a last batch of its own waits for the next epoch: batch norm cannot train on one image.
    """
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    return order[:-1] if len(order) > size and len(order) % size == 1 else order


def direction(monitor: str) -> int:
    """1 where a model improves as `monitor` rises, −1 where it improves as it falls, as the loss does."""
    if monitor == "loss":
        return -1
    return 1 if registry().get("metrics", monitor).higher_is_better else -1


def make_optimizer(strategy: Composite, model: Model, settings: Optimizer) -> torch.optim.Optimizer:
    """The strategy's own optimizer, or the recipe's, over the trainable parameters grouped by learning rate."""
    groups = strategy.parameter_groups(model, settings.lr)
    own = strategy.optimizer(groups, settings.lr, settings.weight_decay)
    if own is not None:
        return own
    lr, decay = settings.lr, settings.weight_decay
    match settings.name:
        case "adam":
            return torch.optim.Adam(groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(groups, lr, momentum=settings.momentum, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr, momentum=settings.momentum, weight_decay=decay)


def _make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: Schedule, phase: Phase
) -> torch.optim.lr_scheduler.LRScheduler | None:
    match schedule.kind:
        case "constant":
            return None
        case "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=schedule.factor, patience=schedule.patience, threshold=0.0
            )
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=phase.epochs)
        case "exponential":
            return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=schedule.factor)


def _advance(scheduler: torch.optim.lr_scheduler.LRScheduler | None, value: float) -> None:
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(value)
    elif scheduler is not None:
        scheduler.step()


def row_fields() -> list[str]:
    """The columns of `history.csv`."""
    return [field.name for field in dataclasses.fields(EpochRow)]
