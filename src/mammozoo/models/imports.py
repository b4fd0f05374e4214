"""timm and torchvision imported without torch._dynamo, which takes as long as torch itself and which only torch.compile needs."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_DYNAMO, _UTILS = "torch._dynamo", "torch._dynamo.utils"


@contextmanager
def without_dynamo() -> Iterator[None]:
    """A block of imports whose modules get torch._dynamo when they first need it.

    torchvision takes one function from torch._dynamo.utils, and timm marks a few functions as not to be compiled; either
    imports the compiler, though both are used only where something is compiled.
    """
    if _DYNAMO in sys.modules:
        yield
        return
    mark = torch.compiler.disable
    sys.modules[_UTILS] = _Utils(_UTILS)
    torch.compiler.disable = _marked_later(mark)
    try:
        yield
    finally:
        torch.compiler.disable = mark
        if isinstance(sys.modules.get(_UTILS), _Utils):
            del sys.modules[_UTILS]


class _Utils(ModuleType):
    """In the place of torch._dynamo.utils, until a name is asked for that has to be there at once."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """What torch._dynamo says."""
        return importlib.import_module(_UTILS).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # importlib's own questions
            raise AttributeError(name)
        if sys.modules.get(_UTILS) is self:
            del sys.modules[_UTILS]
        return getattr(importlib.import_module(_UTILS), name)


def _marked_later(mark: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compiler.disable`, which leaves a function as it is until something is compiled."""

    def disable(function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        if function is None or _DYNAMO in sys.modules:
            return mark(function, *args, **kwargs)

        @functools.wraps(function)
        def marked(*given: Any, **named: Any) -> Any:
            called = mark(function, *args, **kwargs) if _DYNAMO in sys.modules else function
            return called(*given, **named)

        return marked

    return disable
