"""The input of a model checks itself."""

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.config import read_config

WRONG: list[dict[str, Any]] = [
    {"size": (0, 64)}, {"size": (64, 5000)}, {"size": (-1, -1)}, {"channels": 0}, {"channels": 1},
    {"std": (0.2, 0.2, 0.0)}, {"std": (0.2, 0.2, -0.2)}, {"std": (1e-300,) * 3}, {"std": (0.2, 0.2)}, {"mean": (0.5,) * 4},
    {"mean": (float("nan"),) * 3}, {"std": (float("inf"),) * 3},
]  # fmt: skip


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_numbers_that_no_network_could_use_are_refused(changes: dict[str, Any]) -> None:
    assert Input(size=(64, 64)).channels == 3
    with pytest.raises(pydantic.ValidationError):
        Input(**{"size": (64, 64)} | changes)


@pytest.mark.parametrize(
    "step", ["lesion:size=100000", "lesion:pixels=-1", "lesion:margin=inf", "clahe:tiles=0", "resize:100000"]
)
def test_options_of_steps_have_bounds(step: str) -> None:
    with pytest.raises(UsageError, match=step.split(":")[0]):
        Input(size=(64, 64), preprocess=(step,)).preparer()


def test_a_model_with_such_an_input_or_temperature_is_not_loaded(tiny_run, tmp_path: Path) -> None:
    content = json.loads((tiny_run.path / "config.json").read_text())
    own = content["mammozoo"]
    for section, field, value in (
        ("input", "std", [0, 0, 0]),
        ("input", "mean", [0.5]),
        ("calibration", "temperature", 1e-308),
    ):
        changed = own | {section: (own[section] or {"chosen_on": "val"}) | {field: value}}
        (tmp_path / "config.json").write_text(json.dumps(content | {"mammozoo": changed}))
        with pytest.raises(IncompatibleError, match=section):
            read_config(tmp_path)
