"""What a run carried out, in sentences: how many models it trained, which of them report, what was chosen and on what.

Derived from `run.json` and `attempts.csv`, not from the recipe, which says what was asked for. Card, report and zoo entry share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammozoo.data.splits.exclusions import LABEL_ERROR, counted
from mammozoo.errors import IncompatibleError, NotFoundError
from mammozoo.files import read_table
from mammozoo.plugins import registry

_VALIDATION = "validation "  # first word of the column of the monitored value
_PLACE = ("fit", "split", "repeat", "reports")
_MANY = 5  # values of a key that are listed one by one
_ANSWERS = {"True", "False"}  # of the column `reports`

Row = Mapping[str, str]


@dataclass(frozen=True)
class Account:
    """A complete run: `facts` is the content of its `run.json`, `rows` are those of its `attempts.csv`.

    Without rows every split has one model, and all report.
    """

    facts: Mapping[str, Any]
    rows: Sequence[Row] = ()

    @property
    def trained(self) -> int:
        """The number of trained models, without those of earlier stages."""
        return len(self.rows or self.facts["splits"])

    @property
    def reporting(self) -> list[str]:
        """The names of the fits whose predictions are scored."""
        return [row["fit"] for row in self._chosen] if self.rows else [split["name"] for split in self.facts["splits"]]

    @property
    def model(self) -> str:
        """The name of the fit whose weights are those of the run."""
        return str(self.facts["model"]["fold"])

    @property
    def own(self) -> dict[str, dict[str, Any]] | None:
        """The scores of that model alone, on its own test part; None where they are the run's, or an old run lacks them."""
        return self.facts["model"].get("scores")

    @property
    def excluded(self) -> str:
        """How many images a list left out, why, and what that means for scores; empty if there was no list."""
        reasons = self.facts.get("excluded", {})
        if not reasons:
            return ""
        text = f"{sum(reasons.values())} further images were excluded before the split: {counted(reasons)}."
        if any(LABEL_ERROR in reason for reason in reasons):
            text += " A model's disagreement chose among them, so the rest is easier, and scores are higher than on all images."
        return text

    @property
    def part(self) -> str:
        """What the run's scores are of, in few words."""
        return "test" if len(self.reporting) == 1 else f"test parts of {len(self.reporting)} models"

    @property
    def choice(self) -> str:
        """What was tried, what was chosen, and on what; empty if each test part had one model."""
        if len(self.rows) < 2:
            return ""
        parts = self._by_part()
        tried = [f"{key} {_values([row[key] for row in self.rows])}" for key in self._keys]
        axes = {
            f"points of the grid ({'; '.join(tried)})": len({self._point(row) for row in self.rows}),
            "repeats": len({row.get("repeat") for row in self.rows}),
            "inner folds": max(len({row["split"] for row in part}) for part in parts.values()),
            "folds": len(parts),
        }
        text = f"{self.trained} models were trained: {' × '.join(f'{n} {what}' for what, n in axes.items() if n > 1)}."
        failed = list(self.facts.get("failed", {}).values())
        pruned = sum(reason.startswith("pruned: ") for reason in failed)
        if len(failed) > pruned:
            text += f" {len(failed) - pruned} of them diverged, so that their points do not report."
        if pruned:
            text += f" {pruned} of them were pruned: ended early by what validation showed, and not chosen from."
        if len(self.reporting) == self.trained:
            return f"{text} All of them report."
        together = all(self._together(part) for part in parts.values())
        what = f"point with the best mean {self._monitor}" if together else f"model with the best {self._monitor}"
        if together:
            named = {name: self._point_in_words(next(filter(self._reports, part))) for name, part in parts.items()}
        else:
            named = {row["fit"]: self._point_in_words(row, "repeat") for row in self._chosen}
        chosen = ", ".join(f"{name} ({words})" if words else name for name, words in named.items())
        return f"{text} {'Of each fold the' if len(parts) > 1 else 'The'} {what} reports: {chosen}."

    @property
    def representative(self) -> str:
        """Which of several models that report gives the run its weights, and why if that can be seen; else empty."""
        if len(self.reporting) == 1:
            return ""
        best = not self.rows or self._is_best()
        why = f", the best of them by its own {self._monitor}" if best else ""
        return f"The weights are those of {self.model}{why}."

    @property
    def _chosen(self) -> list[Row]:
        return [row for row in self.rows if self._reports(row)]

    @property
    def _monitor(self) -> str:
        return next((key for row in self.rows for key in row if key.startswith(_VALIDATION)), "validation part")

    @property
    def _keys(self) -> list[str]:
        return [key for key in self.rows[0] if key not in _PLACE and not key.startswith(_VALIDATION)]

    def _by_part(self) -> dict[str, list[Row]]:
        """Test part → its rows: `fold-0/inner-1` is tested on that of `fold-0`."""
        parts: dict[str, list[Row]] = {}
        for row in self.rows:
            parts.setdefault(row["split"].partition("/")[0], []).append(row)
        return parts

    def _point(self, row: Row) -> tuple[str, ...]:
        return tuple(row[key] for key in self._keys)

    def _point_in_words(self, row: Row, *more: str) -> str:
        return ", ".join(f"{key} {row[key]}" for key in (*self._keys, *more) if key in row)

    def _together(self, part: Sequence[Row]) -> bool:
        """Whether a point reports with all of its models, which are several."""
        points = {self._point(row) for row in part if self._reports(row)}
        members = [row for row in part if self._point(row) in points]
        return len(points) == 1 < len(members) and all(map(self._reports, members))

    def _is_best(self) -> bool:
        """Whether the model of the run has the best monitored value of those that report."""
        name = self._monitor.removeprefix(_VALIDATION)
        try:
            higher = name != "loss" and registry().get("metrics", name).higher_is_better
        except NotFoundError:
            return False
        values = {row["fit"]: float(row[self._monitor]) for row in self._chosen}
        return self.model in values and values[self.model] == (max if higher else min)(values.values())

    @staticmethod
    def _reports(row: Row) -> bool:
        return row["reports"] == "True"


def _values(cells: Sequence[str]) -> str:
    """The different values of a key; of many numbers, as a search samples them, their range."""
    different = list(dict.fromkeys(cells))
    if len(different) > _MANY:
        try:
            low, high = min(different, key=float), max(different, key=float)
        except ValueError:
            return " or ".join(different)
        return f"{len(different)} values from {float(low):.3g} to {float(high):.3g}"
    return " or ".join(different)


def read_account(folder: Path, facts: Mapping[str, Any]) -> Account:
    """The account of the complete run in `folder`.

    Raises:
        IncompatibleError: its `run.json` or `attempts.csv` is damaged, or they are of different runs.
    """
    path = folder / "attempts.csv"
    account = Account(facts, read_table(path) if path.is_file() else ())
    try:
        names, model = [str(split["name"]) for split in facts["splits"]], account.model
    except KeyError as error:
        raise IncompatibleError(f"'{folder / 'run.json'}' is not that of a complete run: it lacks {error}.") from None
    if path.is_file() and not _are_fits(account, names, model):
        raise IncompatibleError(f"'{path}' is not the table of this run's fits: it is damaged or was changed.")
    return account


def _are_fits(account: Account, splits: Sequence[str], model: str) -> bool:
    """Whether the rows are of as many fits of each split, named as `fit_specs` does, and that of the run's model reports."""
    each = len(account.rows) // len(splits)
    numbered = any(row.get("fit") != row.get("split") for row in account.rows)
    expected = [(name, f"{name}/{number:03d}" if numbered else name) for name in splits for number in range(each)]
    try:
        known = sorted((row["split"], row["fit"]) for row in account.rows) == sorted(expected)
        monitored = [float(row[account._monitor]) for row in account.rows]
        return (
            known
            and bool(monitored)
            and {row["reports"] for row in account.rows} <= _ANSWERS
            and model in account.reporting
        )
    except (KeyError, ValueError):
        return False
