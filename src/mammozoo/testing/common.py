"""The rules for every kind of thing, a name for recipes and options for flags, and what the rules of several kinds share."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import torch
from torch import nn

from mammozoo.config.names import call
from mammozoo.data.dataset import Dataset
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly
from mammozoo.models.head import HeadSpec
from mammozoo.models.randomness import seeded
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins.provided import is_writable
from mammozoo.testing.check import NotChecked, Rules, S, rule
from mammozoo.testing.sandbox import offline

#: Advice of several kinds.
GRADIENT = (
    "A parameter without a gradient is counted, stored, and never used. Drop layers that `forward` does not call."
)
PICKLE = "Processes that share the work get it as a pickle. Define what it holds at the top of a module; use no lambda."
RELOAD = "A model is a safetensors file and a config; nothing else travels. Keep all state in registered parameters and buffers."

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class Named(Rules[S]):
    """What everything with a name promises."""

    @rule("Recipes name it, lists show it. Use letters, digits, '.', '_' and '-', and write a summary or docstring.")
    def has_name_and_summary(self) -> None:
        """The name can be written in a recipe, and there is a line that says what it is."""
        value, name = self.value, self.spec.name
        assert is_writable(self.kind, name), f"The name '{name}' cannot be written in a recipe."
        if isinstance(value, Path):
            return
        summary = getattr(getattr(value, "info", value), "title", None) or getattr(value, "summary", None)
        if isinstance(value, type):  # the docstring of a spec is that of its class
            summary = summary or value.__doc__
        assert summary and str(summary).strip(), "It has neither a summary nor a docstring."


class WithOptions(Named[S]):
    """What everything with options promises."""

    @rule("Options come as text and are converted by type. Annotate each, as in `def __init__(self, k: int = 1)`.")
    def options_have_types(self) -> None:
        """Every option of a class or of `build` has a type, and one to which text can be converted."""
        value: Any = self.value
        make: Callable[..., Any] = value if isinstance(value, type) else value.build
        arguments = 4 if isinstance(value, HeadSpec) else int(isinstance(value, type) and issubclass(value, Dataset))
        for option in list(inspect.signature(make, eval_str=True).parameters.values())[arguments:]:
            if option.kind in (option.VAR_KEYWORD, option.VAR_POSITIONAL):
                continue
            assert option.annotation is not option.empty, f"The option '{option.name}' has no type."
            try:
                pydantic.TypeAdapter(option.annotation)
            except pydantic.PydanticSchemaGenerationError:
                raise AssertionError(f"No text can become the option '{option.name}', a {option.annotation}.") from None

    def _make(self, make: Callable[..., T], *arguments: Any, seed: int = 0) -> T:
        """`make(*arguments, …)` with the thing's options, from this seed of torch; skips if it refuses them."""
        try:
            with seeded(seed):
                made: T = call(make, self.spec, *arguments)
        except UsageError as error:
            remedy = f"Give others with --with {self.spec.name}:OPTION=… (in pytest: specs=[...])."
            raise NotChecked(f"It does not go with these options: {error} {remedy}") from error
        except IncompatibleError as error:
            raise NotChecked(f"It refuses this: {error}") from error
        return made


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def no_connection(what: str) -> Iterator[None]:
    """Fail if the code inside tries to connect to anything."""
    with offline() as attempts:
        yield
    assert not attempts, f"{what} tried to connect to {attempts[0]}."


def check_gradients(module: nn.Module) -> None:
    """Fail if a parameter got no gradient in the last backward pass."""
    missing = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert not missing, f"{len(missing)} parameters get no gradient, '{missing[0]}' the first."


def through_file(source: nn.Module, target: M) -> M:
    """`target` with the weights of `source`, written and read."""
    with tempfile.TemporaryDirectory() as folder:
        load_exactly(target, read_tensors(write_tensors(Path(folder) / "model.safetensors", source.state_dict())))
    return target
