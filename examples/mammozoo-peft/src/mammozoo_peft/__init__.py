"""LoRA and IA³, as Hugging Face's `peft` builds them, as strategies for convolutional backbones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # torch and peft are imported by who uses a strategy, not by who lists them
    from mammozoo import Strategy

mammozoo_api = 1


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`peft-lora` and `peft-ia3`."""
    from mammozoo_peft.ia3 import PeftIa3
    from mammozoo_peft.lora import PeftLora

    return [PeftLora, PeftIa3]
