"""What a run gives in Python and shows in a notebook."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from mammozoo.config.recipe import Recipe
from mammozoo.evaluation.metric import printed
from mammozoo.evaluation.run_files import read_scores
from mammozoo.evaluation.scores import Score
from mammozoo.tables import read_table


class InNotebook:
    """A complete run's scores and predictions, read from its folder when they are asked for."""

    path: Path
    recipe: Recipe
    facts: dict[str, Any]

    @property
    def scores(self) -> dict[str, Score]:
        """Every score by name, with `value`, `low`, `high` and `n`; IncompatibleError if the run is not complete."""
        return dict(read_scores(self.path))

    @property
    def predictions(self) -> Any:
        """`predictions.csv`: a pandas data frame, or a list of dictionaries of text if pandas is not installed.

        A row is an image in a part of a fold; `sample`, `part`, `label`, `decision` and `p_CLASS` are among its columns.
        """
        table = self.path / "predictions.csv"
        try:
            import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]  # no dependency of ours
        except ImportError:
            return read_table(table)
        text = dict.fromkeys(("sample", "patient", "lesion", "fold", "part", "label", "decision"), str)
        return pandas.read_csv(table, dtype=text, keep_default_na=False, na_values={"threshold": [""]})

    def _repr_html_(self) -> str:
        """The run in a notebook: its name, stamps, and the scores with their intervals."""
        name, stamps = (
            html.escape(self.recipe.name),
            "".join(f"<p>! {html.escape(s)}</p>" for s in self.facts.get("stamps", ())),
        )
        title = (
            f"<p><b>{name}</b>, {html.escape(str(self.path))}: {html.escape(str(self.facts.get('status')))}</p>{stamps}"
        )
        if self.facts.get("status") != "done":
            return title
        rows = "".join(
            f"<tr><th>{html.escape(printed(key))}</th><td>{html.escape(str(score))}</td><td>{score.n}</td></tr>"
            for key, score in self.scores.items()
        )
        return f"{title}<table><tr><th>score</th><th>value (95 % interval)</th><th>n</th></tr>{rows}</table>"
