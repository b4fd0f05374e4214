"""What a map of weights promises: it knows its own files by their names, and leaves others alone."""

from __future__ import annotations

from mammozoo.models.weight_map import WeightMap
from mammozoo.testing.check import rule
from mammozoo.testing.common import Named


class WeightMapRules(Named[WeightMap]):
    """Tried on names alone: no file of its kind need be here."""

    @rule("It is asked about every file. Return True for names that only your files have.")
    def leaves_others_alone(self) -> None:
        """It knows neither a file without names nor one of a few layers with plain names."""
        plain = (
            "conv1.weight",
            "layer1.0.conv1.weight",
            "blocks.0.attn.qkv.weight",
            "patch_embed.proj.weight",
            "fc.weight",
        )
        for names in ((), plain, tuple(f"module.{name}" for name in plain)):
            assert self.value.fits(names) is False, f"It fits {', '.join(names) or 'no names at all'}."
