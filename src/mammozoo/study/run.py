"""Carrying a frozen study out: train, choose on development data, then open each locked part, once.

Every step is written into the ledger when it is done, so a killed study goes on where it was. An opening is written down before
the first locked image is read; one that was cut off before its predictions were there is finished, and counts once.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

from mammozoo import api
from mammozoo.data.joined import open_dataset
from mammozoo.errors import ConflictError, IncompatibleError, MammozooError, NotFoundError, UsageError
from mammozoo.evaluation.compare import metric_of
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.selection import ALL, read_table
from mammozoo.evaluation.selective import MORE
from mammozoo.evaluation.thresholds import choose_threshold
from mammozoo.files import sha256, write_table
from mammozoo.models.weights import read_shapes
from mammozoo.progress import Progress
from mammozoo.study.freeze import digest_of, files_of, fixed, read_frozen, recipes_of, resolved
from mammozoo.study.ledger import Ledger, damaged, holding
from mammozoo.study.protocol import CHOSEN, DEVELOPMENT, TEST, Protocol, answering, located, read_protocol
from mammozoo.training import experiment
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.registry import answering_weights


class Study:
    """The study in a folder, as it is carried out."""

    def __init__(self, folder: Path, progress: Progress | None = None):
        self.folder, self.progress = folder.resolve(), progress or Progress()
        self.protocol, self.digest = read_protocol(folder)
        self.frozen, self.ledger = read_frozen(folder), Ledger(folder)
        frozen, now = (
            self.frozen.get("recipes", {}),
            {n: digest_of(text) for n, text in recipes_of(self.protocol, folder).items()},
        )
        #: Models whose recipe is another one than the frozen, in a file or by its defaults.
        self.other_recipes = [name for name in frozen if name in now and now[name] != frozen[name]]
        #: Models taken as they are, that are other ones than at the freezing.
        self.other_models: list[str] = []
        for name, files in self.frozen.get("models", {}).items():
            reference = self.protocol.models[name].zoo if name in self.protocol.models else None
            with contextlib.suppress(MammozooError):  # one that has gone is missed when it is wanted
                if reference and (its := files_of(reference, folder)) != files:
                    self.other_models.append(name)
                    now[name] = str(its)
        if self.other_recipes or self.other_models:
            self.digest = digest_of(f"{self.digest} {now}")

    @property
    def changed(self) -> list[str]:
        """What is not as it was frozen: keys of the protocol, and what it does not say."""
        now = self.protocol.model_dump(mode="json")
        return [
            *(key for key in now if now[key] != self.frozen["protocol"].get(key)),
            *(f"the recipe of {name}" for name in self.other_recipes),
            *(f"the model {name}" for name in self.other_models),
        ]

    @property
    def problem(self) -> str:
        """How ledger and `frozen.json` contradict themselves or each other; empty if they do not."""
        if self.ledger.problem:
            return self.ledger.problem
        known = self.ledger.of("frozen", protocol=self.frozen["protocol_sha256"])
        if not known:
            return "it does not know of the freezing"
        if known[-1]["time"] != self.frozen["date"] or known[-1].get("fixed", fixed(self.frozen)) != fixed(self.frozen):
            return "frozen.json was changed, or is of another freezing"
        return ""

    def note(self, event: str, **facts: Any) -> None:
        """Add to the ledger, unless that is its last word on the same thing."""
        said = self.ledger.of(event, **{k: v for k, v in facts.items() if k in ("recipe", "path")})
        if not said or any(said[-1].get(key) != value for key, value in facts.items()):
            self.ledger.add(event, self.digest, **facts)

    def since_deviation(self) -> list[dict[str, Any]]:
        """The events since the last deviation; all, if there was none."""
        events = self.ledger.events
        last = max((place for place, one in enumerate(events) if one["event"] == "deviation"), default=0)
        return events[last:]

    def begin(self, part: str, names: list[str]) -> None:
        """Write down that a part is opened, before it is; an opening that was cut off is gone on with."""
        said = [
            one for one in self.since_deviation() if one["event"] in ("opening", "opened") and one.get("part") == part
        ]
        if not said or said[-1]["event"] == "opened" or said[-1]["protocol"] != self.digest:
            self.ledger.add("opening", self.digest, part=part, models=names)

    def run_of(self, name: str) -> Path:
        """The folder of a model's training; another recipe has another one."""
        return self.folder / "runs" / f"{name}-{self.recipe_digest(name)}"

    def recipe_digest(self, name: str) -> str:
        """Eight digits of what a model is trained by."""
        return digest_of(resolved(self.protocol, name, self.folder))[:8]

    def train(self, name: str) -> None:
        """Train a model, or go on with its training; nothing if it is complete."""
        path, recipe = self.run_of(name), self.protocol.recipe_of(name, self.folder)
        if (path / "run.json").is_file():
            run = RunDirectory.open(path)
            told = {"requires", "pinned", "root", "exclude"}  # which a run adds, or another machine has elsewhere
            if run.recipe.model_dump(exclude=told) != recipe.model_dump(exclude=told):
                raise ConflictError(
                    f"The run '{path}' has another recipe than the protocol says. Move it away; it is then trained."
                )
            if run.facts.get("status") != "done":
                experiment.resume(path, self.progress)
        else:
            experiment.train(recipe, path, self.progress)
        facts = {"model": name, "recipe": self.recipe_digest(name), "predictions": sha256(path / "predictions.csv")}
        self.note("trained", **facts, weights=sha256(answering_weights(path)))

    def table(self, name: str, part: str) -> Path:
        """The table of a model's predictions for a part.

        Raises:
            NotFoundError: it has not come yet.
            UsageError: it is that of the development images, on which the threshold is chosen.
        """
        path = self.protocol.models[name].tables.get(part)
        if path is None or not (self.folder / path).is_file():
            wanted = f"'{self.folder / path}'" if path else f"a table '{part}' in the protocol"
            raise NotFoundError(
                f"The predictions of the model '{name}' for '{part}' are missing: there is no {wanted}."
            )
        digest, own = sha256(self.folder / path), self.protocol.models[name].tables.get(DEVELOPMENT)
        if part != DEVELOPMENT and own and (self.folder / own).is_file() and sha256(self.folder / own) == digest:
            raise UsageError(
                f"The tables of the model '{name}' for '{part}' and for '{DEVELOPMENT}' are the same file."
            )
        self.note("table", path=str(path), sha256=digest)
        return self.folder / path

    def development(self, name: str) -> Predictions:
        """A candidate's predictions of development images that it was not trained on."""
        if self.protocol.models[name].tables:
            return read_table(self.table(name, DEVELOPMENT), ALL)[0]
        part = "test" if self.protocol.choose.on == "out-of-fold" else "val"
        return read_predictions(self.run_of(name), part).of(part)

    def size(self, name: str) -> float:
        """How many numbers the network has; infinite if nobody says."""
        if self.protocol.models[name].recipe:
            return sum(map(math.prod, read_shapes(self.run_of(name) / "model.safetensors").values()))
        return self.protocol.models[name].parameters or math.inf

    def choose(self) -> str:
        """The model that the rule takes, written into the ledger with what it was chosen from."""
        made = [one for one in self.since_deviation() if one["event"] == "chosen" and one["protocol"] == self.digest]
        if made:
            return str(made[-1]["model"])
        rule, found, sizes, images = self.protocol.choose, dict[str, float](), dict[str, float](), dict[str, int]()
        for name in self.protocol.candidates:
            rows = self.development(name)
            score = score_folds(rows, more=MORE).get(rule.metric)
            if score is None or score.value is None:
                raise UsageError(
                    f"'{rule.metric}' of the model '{name}' is undefined on {rule.on} images, so nothing is chosen by it."
                )
            found[name], sizes[name], images[name] = score.value, self.size(name), len(rows)
        only = next(iter(self.protocol.models))  # of one model without development images, there is nothing to choose
        chosen = (
            only if not found else choose(found, sizes, rule.within, higher=metric_of(rule.metric).higher_is_better)
        )
        stated = {name: None if math.isinf(size) else int(size) for name, size in sizes.items()}
        self.note("chosen", model=chosen, scores=found, parameters=stated, images=images, by=rule.metric, on=rule.on)
        return chosen

    def check(self, name: str, part: str) -> None:
        """Raise for what a model and a locked part need and lack: a table, a model that can be loaded, its data set."""
        model, source = self.protocol.models[name], self.protocol.locked[part]
        if model.tables:
            self.table(name, part)
        elif source.dataset is not None:
            api.load(self.reference(name))
            open_dataset(source.dataset, located(source.root, self.folder))

    def reference(self, name: str) -> str | Path:
        """What names a model of the protocol: a trained one by its run, others as the protocol does."""
        zoo = self.protocol.models[name].zoo
        return answering(zoo, self.folder) if zoo else self.run_of(name)

    def open(self, part: str, chosen: str) -> None:
        """Score the models on a locked part and write their predictions into `opened/PART`."""
        names = [*dict.fromkeys([chosen, *compared(self.protocol, chosen)])]
        for name in names:  # what is missing is told before anything is opened
            self.check(name, part)
        self.begin(part, names)
        files, stamps, left = {}, {}, {}
        for name in names:
            self.progress.note(f"Opening '{part}' for the model '{name}'.")
            found = self.score(name, part)
            path = self.folder / "opened" / part / f"{name}.csv"
            write_table(path, found.evaluation.predictions.by_repeat()[0].rows())
            files[name], stamps[name], left[name] = sha256(path), list(found.stamps), dict(found.evaluation.left_out)
        self.ledger.add("opened", self.digest, part=part, predictions=files, stamps=stamps, left_out=left)

    def score(self, name: str, part: str) -> Any:
        """`api.evaluate` of a model on a locked part."""
        model, source = self.protocol.models[name], self.protocol.locked[part]
        if model.tables:
            cut = None
            if DEVELOPMENT in model.tables:
                rows = self.development(name)
                if rows.outcome.binary and not rows.decided_only:
                    o = rows.outcome
                    cut = repr(choose_threshold(self.protocol.threshold, o.labels, o.probabilities[:, 1]))
            return api.evaluate(self.table(name, part), threshold=cut, where=source.where)
        if source.dataset is None:
            return api.evaluate(self.run_of(name), where=source.where)
        root = located(source.root, self.folder)
        return api.evaluate(
            self.reference(name), source.dataset, root,
            classes=source.classes, where=source.where, progress=self.progress,
        )  # fmt: skip


def choose(scores: dict[str, float], sizes: dict[str, float], within: float, *, higher: bool = True) -> str:
    """The best score; of those within `within` of it the smallest network, of equal ones the better, then the first."""
    sign = 1 if higher else -1
    best = max(sign * value for value in scores.values())
    near = [name for name in scores if best - sign * scores[name] <= within + 1e-12]
    return min(near, key=lambda name: (sizes[name] if within else 0, -sign * scores[name]))


def carry_out(folder: Path, deviate: str | None = None, progress: Progress | None = None) -> None:
    """Carry out the study in `folder`, or what is left of it.

    Args:
        deviate: why the protocol was changed after freezing, or why what has been opened is opened again; the report says so.

    Raises:
        UsageError: it is not frozen, or the protocol cannot be carried out.
        ConflictError: the protocol changed, or opened predictions are not those that were written, and no reason is given; or
            another process carries it out.
        NotFoundError: a table has not come yet.
    """
    with holding(folder):
        _carry_out(Study(folder, progress), deviate)


def _carry_out(study: Study, deviate: str | None) -> None:
    ledger, folder, frozen = study.ledger, study.folder, study.frozen
    if study.problem:
        raise IncompatibleError(f"The ledger of the study at '{folder}' was changed: {study.problem}. The study stops.")
    if study.digest != frozen["protocol_sha256"] and not deviate and not ledger.of("deviation", protocol=study.digest):
        raise ConflictError(
            f"The protocol of the study at '{folder}' changed after it was frozen on {frozen['date'][:10]}"
            f"{': ' * bool(study.changed)}{', '.join(study.changed)}. Restore it, or continue with "
            "--deviate REASON; the report begins with it."
        )
    if deviate and not ledger.of("deviation", reason=deviate, protocol=study.digest):
        ledger.add("deviation", study.digest, reason=deviate)
    closed = _closed(study, deviate)
    if TEST in closed and study.protocol.locked[TEST].dataset is None:
        study.begin(TEST, list(study.protocol.candidates))  # a run scores its own test part when it is trained
    for name, model in study.protocol.models.items():
        if model.recipe:
            study.train(name)
    chosen = study.choose()
    for part in closed:
        study.open(part, chosen)


def _closed(study: Study, deviate: str | None) -> list[str]:
    """The locked parts that are to be opened; ConflictError if one has been opened before, and no reason is given."""
    closed = []
    for part in study.protocol.locked:
        since = study.since_deviation()
        here = [event for event in since if event["event"] == "opened" and event.get("part") == part]
        if here and here[-1]["protocol"] == study.digest and not damaged(study.folder, here[-1]):
            continue
        place = study.folder / "opened" / part
        known = study.ledger.of("opening", part=part)
        if not deviate and (study.ledger.of("opened", part=part) or (place.exists() and not known)):
            raise ConflictError(
                f"The part '{part}' of the study at '{study.folder}' has been opened, and its predictions or the protocol changed "
                "since then. A second opening needs --deviate REASON; the report begins with it."
            )
        closed.append(part)
    return closed


def compared(protocol: Protocol, chosen: str) -> tuple[str, ...]:
    """The two models of the primary comparison, or the chosen one."""
    return tuple(chosen if name == CHOSEN else name for name in protocol.primary.compare or (CHOSEN,))
