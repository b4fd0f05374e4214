"""Every number of a recipe has a lower and an upper bound beside its field; what is out of them is refused before data are read."""

import inspect
import types
import typing
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import annotated_types
import pydantic
import pytest

from mammozoo.config.loading import load
from mammozoo.config.names import Spec, options
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Optimizer, Phase, Schedule, SplitSettings, Stage
from mammozoo.errors import UsageError
from mammozoo.plugins import registry

HOSTILE = (-1, -(2**63), 2**63, 2**64, 10**31, float("inf"), float("-inf"), float("nan"), 1e-320, -0.5, 1e308)


def numbers(annotation: Any, around: tuple[Any, ...] = ()) -> list[tuple[type, tuple[Any, ...]]]:
    """(int or float, what is said of it) for every number in a type."""
    if get_origin(annotation) is Annotated:
        inner, *said = get_args(annotation)
        return numbers(inner, (*around, *said))
    if annotation in (int, float):
        return [(annotation, around)]
    if get_origin(annotation) in (typing.Union, types.UnionType, tuple):
        return [found for part in get_args(annotation) if part is not ... for found in numbers(part, around)]
    return []


def bounds(said: tuple[Any, ...]) -> set[str]:
    metadata = [m for one in said for m in (one.metadata if isinstance(one, pydantic.fields.FieldInfo) else [one])]
    low = any(isinstance(m, annotated_types.Ge | annotated_types.Gt) for m in metadata)
    high = any(isinstance(m, annotated_types.Le | annotated_types.Lt) for m in metadata)
    return {name for name, there in (("low", low), ("high", high)) if there}


@pytest.mark.parametrize("section", [Recipe, SplitSettings, Optimizer, Phase, Schedule, Stage])
def test_every_number_is_bounded_beside_its_field(section: type[pydantic.BaseModel]) -> None:
    hints = typing.get_type_hints(section, include_extras=True)
    found = {name: numbers(hints[name]) for name in section.model_fields}
    assert any(found.values())
    assert {name for name, kinds in found.items() for _, said in kinds if bounds(said) != {"low", "high"}} == set()


WHOLE = (
    "seed",
    "epochs",
    "batch",
    "size",
    "patience",
    "repeats",
    "workers",
    "split.folds",
    "split.inner",
    "split.seed",
)
SHARES = ("abstain", "split.test", "split.val", "optimizer.lr", "schedule.factor")
NUMBERS = (*WHOLE, *SHARES, "optimizer.beta1", "optimizer.momentum", "optimizer.weight_decay", "schedule.patience")


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_numbers_are_refused_by_name(key: str, value: float) -> None:
    least = {"dataset": "phantom:n=60", "backbone": "test_resnet"}
    if (value == 1e-320 and key not in SHARES) or (value in (2**63, 2**64) and key == "optimizer.lr"):
        return  # as good as 0, which those may be; and a rate may be absurd
    with pytest.raises(UsageError, match=key.rpartition(".")[2]):
        load(None, least | {key: value})


@pytest.mark.parametrize(
    "more",
    [
        {"seed": 2**32 - 1, "repeats": 2},
        {"split.seed": 2**32 - 1},
        {"grid": {"optimizer.lr": [1e-3] * 200, "epochs": [1] * 200}},
        {"grid": {"epochs": [1, 2]}, "repeats": 9_999},
    ],
)
def test_numbers_that_are_too_large_together(more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"seed|grid"):
        load(None, {"dataset": "phantom:n=60", "backbone": "test_resnet"} | more)


def test_the_options_of_heads_strategies_and_data_sets_refuse_hostile_numbers() -> None:
    tried = 0
    for kind, given in (("heads", 4), ("strategies", 0), ("datasets", 1)):
        for name, item in registry().items(kind).items():
            make = getattr(item.value, "build", item.value)
            for parameter in [*inspect.signature(make, eval_str=True).parameters.values()][given:]:
                if numbers(parameter.annotation):
                    tried += 1
                    for value in ("nan", "inf", "-inf"):
                        with pytest.raises(UsageError, match=parameter.name):
                            options(make, Spec(name, (), ((parameter.name, value),)), given)
    assert tried > 10


SEEDS = ("--seed -1", "--seed 1767225600123", f"--seed {2**63}", "--set split.seed=-1", f"--set split.seed={2**32}", "--lr inf",
         "--set head=gap:dropout=2", "--dataset phantom:n=60,seed=-1", "--set split.val=1e-320")  # fmt: skip


@pytest.mark.parametrize("words", SEEDS)
def test_a_run_with_a_number_out_of_bounds_reads_nothing_and_leaves_nothing(
    words: str, command, tiny: list[str], tmp_path: Path
) -> None:
    answer = command("train", *tiny, *words.split(), "--out", "run")
    answer.refused(2)
    assert "reading images" not in answer.err and not (tmp_path / "run").exists()


def test_the_largest_seeds_train(command, tiny: list[str]) -> None:
    assert command("train", *tiny, "--seed", 2**32 - 1, "--set", f"split.seed={2**32 - 3}", "--dry-run").code == 0
