"""What a predictor promises: it takes models of its own format alone, says what they are, and answers each image by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from mammozoo.models.config import CONFIG, ModelConfig
from mammozoo.models.predictor import Foreign, PredictorSpec
from mammozoo.testing.check import NotChecked, needs, rule
from mammozoo.testing.common import Named, noise


class PredictorRules(Named[PredictorSpec]):
    """Tried on the model at the path that was given as the root."""

    @rule("It is asked about every path that is no model of ours. Look at the suffix or the config, and return False.")
    def leaves_others_alone(self) -> None:
        """`fits` says no to a text, an empty folder, and folders with the config of another program or a damaged one."""
        with tempfile.TemporaryDirectory() as place:
            for name, content in {
                "note.txt": "",
                "empty/": "",
                f"other/{CONFIG}": "{}",
                f"bad/{CONFIG}": "\0[",
            }.items():
                path = Path(place) / name
                (path if name.endswith("/") else path.parent).mkdir(exist_ok=True)
                if not name.endswith("/"):
                    path.write_text(content)
                for one in {path, path.parent} - {Path(place)}:
                    assert self.value.fits(one) is False, (
                        f"It takes '{one.relative_to(place)}', which holds {content!r}."
                    )

    @rule(
        "Users must know if they may use it. Let the config state classes, input and licence ('not stated' is valid)."
    )
    def says_what_it_is(self) -> None:
        """`build` gives a network, and a config with a licence."""
        assert self._built()[1].licence, "The config states no licence."

    @needs(says_what_it_is)
    @rule("An answer must not change by the day or its neighbours. Build in evaluation mode.")
    def answers_each_alone(self) -> None:
        """Noise gives finite logits, one of each class, alone as in a batch."""
        model, config = self._built()
        images = noise(3, config.input.channels, *config.input.size)
        with torch.inference_mode():
            together, alone = model(images), torch.cat([model(one[None]) for one in images])
        assert bool(torch.isfinite(together).all()), "The logits are not finite."
        assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4), "An image alone has other logits than in a batch."

    def _built(self) -> tuple[Foreign, ModelConfig]:
        if self.settings.root is None or not self.value.fits(self.settings.root):
            raise NotChecked("It needs a model that it takes: give its path with --root (in pytest: root=...).")
        network, config = self.value.build(self.settings.root)
        return Foreign(network, config), config
