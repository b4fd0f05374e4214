"""Stage a model for publication: its files in a folder of their own, checked, and its entry for a `zoo.yaml`."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammozoo import __version__
from mammozoo.errors import IncompatibleError, NotVerifiedError, RefusedToPublishError, UsageError
from mammozoo.files import read_table, sha256, write_bytes, write_json, write_text
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.zoo.adapter import read_adapter, split
from mammozoo.zoo.card import Publication, publish_card
from mammozoo.zoo.entry import Base, Cut, Entry, EntryEvaluation, EntryTraining, File, FolderSource, HubSource, Score
from mammozoo.zoo.screening import screen


@dataclass(frozen=True)
class Staged:
    """A model as it will be published; `folder` holds its files and nothing else."""

    folder: Path
    publication: Publication
    config: ModelConfig

    @property
    def files(self) -> dict[str, Path]:
        """Path in the repository or folder → path on this machine."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def entry(self, source: HubSource | FolderSource, summary: str = "") -> Entry | None:
        """Its entry in a `zoo.yaml`, with the numbers of its config; None for a backbone, which cannot predict."""
        config, publication, training = self.config, self.publication, self.config.training
        if publication.kind == "backbone":
            return None
        adapter = read_adapter(self.folder) if publication.kind == "adapter" else None
        threshold = config.thresholds.get(config.threshold)
        height, width = config.input.size
        about = (
            f"{', '.join(config.classes[:-1])} or {config.classes[-1]}; {config.backbone} at {height}x{width}, strategy "
            f"{config.strategy}, trained on {training.dataset}"
        )
        # Scores of single classes, and of another part than the test images, which has another n, are left out.
        n = next(int(score["n"]) for score in config.scores.values() if score["n"] is not None)
        scores = {
            name: Score(value=score["value"], low=score["low"], high=score["high"])
            for name, score in config.scores.items()
            if "[" not in name and score["n"] == n
        }
        return Entry(
            name=publication.name,
            version=publication.version,
            summary=summary or about,
            source=source,
            files={name: File(sha256=sha256(path), size=path.stat().st_size) for name, path in self.files.items()},
            license=publication.license,
            data_terms=publication.data_terms,
            intended_use=config.intended_use,
            requires=f">={__version__}",
            classes=config.classes,
            input_size=config.input.size,
            threshold=Cut(name=config.threshold, **threshold.model_dump()) if threshold else None,
            training=EntryTraining(
                dataset=training.dataset, images=training.images, split_sha256=training.split_sha256
            ),
            evaluation=(EntryEvaluation(dataset=training.dataset, n=n, scores=scores),),
            stamps=config.stamps,
            base=Base(name=adapter.base.name, sha256=adapter.base.sha256) if adapter else None,
            full_sha256=adapter.full_sha256 if adapter else None,
        )


def stage(
    source: Path, publication: Publication, out: Path, *, base: Path | None = None, allow_stamped: bool = False
) -> Staged:
    """Write the files to publish of the run (or the model) in `source` to the new folder `out`.

    `base` is the folder of an adapter's base.

    Raises:
        RefusedToPublishError: it must not be published as it is; the message lists every reason.
        NotFoundError, IncompatibleError, NotVerifiedError, UsageError: there is no sound model, or none of this kind.
    """
    config = read_config(source)
    facts = _facts(source)
    if problems := [*_gaps(config, publication), *([] if facts is None else _contradictions(source, config, facts))]:
        raise RefusedToPublishError(f"'{source}' is not published: {'; '.join(problems)}.")
    if config.stamps and not allow_stamped:
        raise RefusedToPublishError(
            f"'{source}' carries the stamp '{config.stamps[0]}' and is not published. With --allow-stamped its card and its entry "
            "carry the stamp too."
        )
    config = config.model_copy(update={"name": publication.name})
    own = source / "README.md"
    card = publish_card(config, facts, own.read_text(encoding="utf-8") if own.is_file() else "", publication)
    whole = out.parent / f"{out.name}-whole" if publication.kind == "adapter" else out
    _write_weights(source, config, publication, whole)
    write_text(whole / "README.md", card)
    if publication.kind == "adapter":
        if base is None:
            raise UsageError(
                f"An adapter needs a base, and '{source}' started from {config.training.weights}. Name it: --base NAME."
            )
        split(whole, base, out, base_name=publication.base)
        shutil.rmtree(whole)
    for figure in sorted((source / "figures").glob("*.png")):
        write_bytes(out / "figures" / figure.name, figure.read_bytes())
    screen(out)
    return Staged(out, publication, config)


def _facts(source: Path) -> dict[str, Any] | None:
    """The content of `run.json`; None if `source` is a model and not a run."""
    try:
        facts: dict[str, Any] = json.loads((source / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IncompatibleError(f"'{source / 'run.json'}' cannot be read: {error}.") from None
    return facts


def _gaps(config: ModelConfig, publication: Publication) -> list[str]:
    """What a published model needs and this one lacks."""
    scored = any(score.get("value") is not None for score in config.scores.values())
    return [
        *([] if publication.license else ["it has no licence; give one with --license, such as Apache-2.0"]),
        *([] if publication.data_terms else ["the terms of its data are missing; give --data-terms"]),
        *([] if scored else ["it has no scores"]),
        *([] if config.training.split_sha256 else ["it does not say by which split it was scored"]),
    ]


def _contradictions(source: Path, config: ModelConfig, facts: dict[str, Any]) -> list[str]:
    """Where a run contradicts its model's config: the config was edited, or the run is not complete."""
    problems = []
    if facts.get("status") != "done":
        problems.append(f"its run is not complete ({facts.get('status')})")
    if facts.get("scores") != config.scores:
        problems.append("the scores in its config.json are not those of its run")
    if facts.get("model", {}).get("sha256") != sha256(source / "model.safetensors"):
        problems.append("its weights are not those that its run ended with")
    if missing := [stamp for stamp in facts.get("stamps", []) if stamp not in config.stamps]:
        problems.append(f"its run has the stamp '{missing[0]}', and its config.json does not")
    if (crossing := _crossing(source / "predictions.csv")) and not any("leak" in stamp for stamp in config.stamps):
        problems.append(
            f"its split leaks ({crossing} groups of images that belong together are in two parts), and no stamp says so"
        )
    return problems


def _crossing(predictions: Path) -> int:
    """The number of groups with images in two parts of one fold."""
    if not predictions.is_file():
        return 0
    parts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in read_table(predictions):
        parts[row["fold"], row["group"]].add(row["part"])
    return len({group for (_, group), names in parts.items() if len(names) > 1})


def _write_weights(source: Path, config: ModelConfig, publication: Publication, out: Path) -> None:
    """Write `model.safetensors` anew, so that it holds nothing but the tensors, and `config.json`."""
    from mammozoo.models.weights import read_tensors, refuse_non_finite, write_tensors
    from mammozoo.zoo.timm_layout import timm_config, timm_state

    tensors = read_tensors(source / "model.safetensors")
    try:
        refuse_non_finite(tensors, source / "model.safetensors")
    except NotVerifiedError as error:
        raise RefusedToPublishError(str(error)) from None
    content = config.to_json()
    if publication.kind == "backbone":
        tensors = timm_state(config.backbone, tensors)
        content = timm_config(config.backbone, publication.license) | content
    write_tensors(out / "model.safetensors", tensors)
    write_json(out / "config.json", content)
