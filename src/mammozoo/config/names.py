"""The syntax of names with options: `name[:argument,key=value]`, joined by `+`.

drs                       last-blocks:2            last-blocks:k=1,by=stage
drs+last-blocks:1         gap-fc:width=512         phantom:n=400,seed=1
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from mammozoo.errors import UsageError, must, nearest
from mammozoo.files import given_path

#: A seed, as every generator takes it.
Seed = Annotated[int, Field(ge=0, lt=2**32)]

_FINITE = pydantic.ConfigDict(allow_inf_nan=False)
_NAME = re.compile(r"[a-z0-9][\w./-]*", re.IGNORECASE)
_FILE = re.compile(r"((?:[A-Za-z]:[\\/])?[^:]+\.ya?ml)(:|$)(.*)")  # a data set may be named by the path of its file


def named_folder(reference: str | Path) -> Path | None:
    """The folder that a reference to a model names: a `Path`, `run:FOLDER`, or text with a separator; None for any other name.

    A bare word names a model of a zoo, so a folder that happens to lie in the working directory never takes its place.
    """
    if isinstance(reference, Path):
        return given_path(reference)
    text = reference.removeprefix("zoo:")  # a recipe has zoo:PATH for the path of a run
    if text.startswith(("hub:", "file:")):
        return None
    is_folder = text.startswith("run:") or re.match(r"[.~]|.*[/\\]", text)
    return given_path(text.removeprefix("run:")) if is_folder else None


def reference_to(folder: Path) -> str:
    """How a command names a model's folder: as its path, with a separator in it."""
    return str(folder) if len(folder.parts) > 1 else f"./{folder}"


@dataclass(frozen=True)
class Spec:
    """A parsed name and its options, as text."""

    name: str
    arguments: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        inside = ",".join([*self.arguments, *(f"{key}={value}" for key, value in self.options)])
        return f"{self.name}:{inside}" if inside else self.name


def parse(text: str) -> Spec:
    """One `name[:arguments]`; UsageError if the text has another form."""
    file = _FILE.fullmatch(text.strip())
    name, colon, inside = file.groups() if file else text.strip().partition(":")
    if not (file or _NAME.fullmatch(name)) or (colon and not inside):
        raise UsageError(f"'{text}' does not have the form name[:argument,key=value].")
    arguments, options = [], []
    for part in inside.split(",") if inside else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or (equals and not value):
            raise UsageError(f"'{text}': '{part}' is neither a value nor key=value.")
        if equals:
            options.append((key, value))
        elif options:
            raise UsageError(f"'{text}': the plain value '{key}' must stand before key=value.")
        else:
            arguments.append(key)
    return Spec(name, tuple(arguments), tuple(options))


def parse_sum(text: str) -> list[Spec]:
    """`a+b:1` as its parts."""
    return [parse(part) for part in text.split("+")]


def call(make: Callable[..., Any], spec: Spec, *given: Any) -> Any:
    """`make(*given, …)` with the options of `spec`; raises as `options`."""
    return make(*given, **options(make, spec, len(given)))


def options(make: Callable[..., Any], spec: Spec, given: int = 0) -> dict[str, Any]:
    """The options of `spec`, converted to the annotated types of `make`, of whose parameters the first `given` come from elsewhere.

    Raises:
        UsageError: an unknown or missing option, or a value of another type or out of bounds.
    """
    signature = inspect.signature(make, eval_str=True)
    named = list(signature.parameters.values())[given:]
    free = [p for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    known = {parameter.name: parameter for parameter in free}
    if len(spec.arguments) > len(free):
        takes = f"takes {', '.join(known)}" if known else "takes no options"
        raise UsageError(f"'{spec}': '{spec.name}' {takes}.")
    texts = dict(zip(known, spec.arguments, strict=False))
    for key, value in spec.options:
        if key not in known:
            takes = f" It takes {', '.join(known)}." if known else " It takes none."
            raise UsageError(f"'{spec}': '{spec.name}' has no option '{key}'.{nearest(key, known)}{takes}")
        if key in texts:
            raise UsageError(f"'{spec}': '{key}' is given twice.")
        texts[key] = value
    for key, parameter in known.items():
        if key not in texts and parameter.default is parameter.empty:
            raise UsageError(f"'{spec}': '{spec.name}' needs a value for '{key}', as in {spec.name}:{key}=….")
    values = {}
    for key, value in texts.items():
        kind = known[key].annotation
        try:
            adapter = pydantic.TypeAdapter(Any if kind is inspect.Parameter.empty else kind, config=_FINITE)
            values[key] = adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise UsageError(
                f"'{spec}': option '{key}' cannot be '{value}': it {must(error.errors()[0]['msg'])}."
            ) from None
    return values
