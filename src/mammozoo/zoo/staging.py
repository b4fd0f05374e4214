"""Stage a model for publication: its files in a folder of their own, checked, and its entry for a `zoo.yaml`."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import InvalidVersion, Version

from mammozoo import __version__
from mammozoo.data.joined import info_of
from mammozoo.errors import (
    ConflictError,
    NotFoundError,
    NotVerifiedError,
    RefusedToPublishError,
    UsageError,
)
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.run_files import read_facts
from mammozoo.evaluation.scores import OVERFITTING
from mammozoo.files import sha256, write_bytes, write_json, write_text
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.models.factory import refuse_ensemble
from mammozoo.zoo import entry as zoo
from mammozoo.zoo.account import Account, read_account
from mammozoo.zoo.adapter import read_adapter, split
from mammozoo.zoo.card import Publication, publish_card
from mammozoo.zoo.elsewhere import Elsewhere
from mammozoo.zoo.registry import listed
from mammozoo.zoo.screening import screen


@dataclass(frozen=True)
class Staged:
    """A model as it will be published; `folder` holds its files and nothing else."""

    folder: Path
    publication: Publication
    config: ModelConfig
    account: Account | None = None  #: None without a run
    elsewhere: Sequence[Elsewhere] = ()

    @property
    def files(self) -> dict[str, Path]:
        """Path in the repository or folder → path on this machine."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def entry(self, source: zoo.HubSource | zoo.FolderSource, summary: str = "") -> zoo.Entry | None:
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
        return zoo.Entry(
            name=publication.name,
            version=publication.version,
            summary=summary or about,
            source=source,
            files={name: zoo.File(sha256=sha256(path), size=path.stat().st_size) for name, path in self.files.items()},
            license=publication.license,
            data_terms=publication.data_terms,
            intended_use=config.intended_use,
            requires=f">={__version__}",
            classes=config.classes,
            input_size=config.input.size,
            threshold=zoo.Cut(name=config.threshold, **threshold.model_dump()) if threshold else None,
            training=zoo.EntryTraining(**training.model_dump(include={"dataset", "images", "split_sha256"})),
            evaluation=tuple(self._evaluations()),
            stamps=config.stamps,
            base=zoo.Base(**adapter.base.model_dump()) if adapter else None,
            full_sha256=adapter.full_sha256 if adapter else None,
        )

    def _evaluations(self) -> Iterator[zoo.EntryEvaluation]:
        """That of the model alone first, then that of a run whose scores are of several models."""
        dataset, account = self.config.training.dataset, self.account
        if account and account.own:
            yield _evaluation(dataset, account.own)
        part = "test parts of other models" if self.config.scores_of else "test"
        yield _evaluation(dataset, self.config.scores, account.part if account else part)
        yield from (one.entry() for one in self.elsewhere)


def _evaluation(dataset: str, scores: Mapping[str, Mapping[str, Any]], part: str = "test") -> zoo.EntryEvaluation:
    """Scores of the test images; those of single classes, and the measures of overfitting, are left out."""
    chosen = {name: score for name, score in scores.items() if "[" not in name and name not in OVERFITTING}
    n = max(score["n"] or 0 for score in chosen.values())  # a sensitivity has that of its class
    rows = {
        name: zoo.Score(
            **{key: score[key] for key in ("value", "low", "high")}, n=None if score["n"] == n else score["n"]
        )
        for name, score in chosen.items()
    }
    return zoo.EntryEvaluation(dataset=dataset, part=part, n=n, scores=rows)


def taken(place: Path | str, about: Publication | zoo.Entry) -> ConflictError:
    """The refusal to publish a version to a place that has it with other content."""
    what = f"'{place}' has '{about.name}' in version {about.version} already, with other content"
    return ConflictError(f"{what}; nothing was changed. A version never changes: choose another --version.")


def complete(
    config: ModelConfig,
    *,
    name: str,
    version: str,
    repository: str = "",
    license: str = "",
    data_terms: str = "",
    kind: Literal["full", "adapter", "backbone"] = "full",
    base: str = "",
) -> Publication:
    """The publication of a model. Data terms are by default the data set's, an adapter's base the model it started from.

    Raises UsageError for a wrong repository, name, version or licence, NotFoundError if no zoo has the base.
    """
    if repository and not re.fullmatch(zoo.REPOSITORY, repository):
        raise UsageError(f"'{repository}' is not a repository: give --repo ORG/NAME.")
    if not re.fullmatch(zoo.NAME, name) or not zoo.is_portable(name):
        allowed = "small letters, digits, dots and dashes, and no name that Windows reserves"
        raise UsageError(f"'{name}' cannot name a model: {allowed}. Give --name.")
    try:
        if (
            not re.fullmatch(zoo.VERSION, str(Version(version)))
            or version != version.strip()
            or not zoo.is_portable(version)
        ):
            raise InvalidVersion
        license = str(canonicalize_license_expression(license)) if license else ""
    except InvalidVersion:
        raise UsageError(f"'{version}' is not a version, such as 1.0.0.") from None
    except InvalidLicenseExpression:
        own = "a licence of your own is LicenseRef-NAME"
        raise UsageError(f"'{license}' is not an SPDX licence, such as Apache-2.0 or CC-BY-NC-4.0; {own}.") from None
    weights = config.training.weights
    started_from = weights.removeprefix("zoo:") if weights.startswith("zoo:") else ""
    base = (base or started_from) if kind == "adapter" else ""
    source = listed(base).from_hub if base else None
    terms = data_terms or _terms_of(config.training.dataset)
    return Publication(name, version, license, terms, repository, kind, base, source.hub if source else "")


def _terms_of(dataset: str) -> str:
    """The licence that a data set's plugin states; empty if it is not installed."""
    try:
        info = info_of(dataset)
    except NotFoundError:
        return ""
    return f"{info.license} ({info.url})" if info.license and info.url else str(info.license)


def stage(
    source: Path,
    publication: Publication,
    out: Path,
    *,
    base: Path | None = None,
    allow_stamped: bool = False,
    allow: Collection[str] = (),
    elsewhere: Sequence[Elsewhere] = (),
    limits: str = "",
) -> Staged:
    """Write the files to publish of the run (or the model) in `source` to the new folder `out`; `base` is an adapter's base.

    `allow` holds the names of findings of `screen` that may be published. The card shows the scores `elsewhere`, and what the model
    must not be used for, `limits`.

    Raises:
        RefusedToPublishError: it must not be published as it is; the message lists every reason.
        NotFoundError, IncompatibleError, NotVerifiedError, UsageError: there is no sound model, or none of this kind.
    """
    config = read_config(source)
    if publication.kind == "adapter":
        refuse_ensemble(config, "become an adapter")
    facts = read_facts(source) if (source / "run.json").exists() else None  # a model has none
    if problems := _problems(source, config, publication, facts):
        raise RefusedToPublishError(f"'{source}' is not published: {'; '.join(problems)}.")
    if config.stamps and not allow_stamped:
        raise RefusedToPublishError(
            f"'{source}' carries the stamp '{config.stamps[0]}' and is not published. With --allow-stamped its card and its entry "
            "carry the stamp too."
        )
    config = config.model_copy(update={"name": publication.name})
    account = None if facts is None else read_account(source, facts)
    own = source / "README.md"
    card = publish_card(
        config, account, own.read_text(encoding="utf-8") if own.is_file() else "", publication, elsewhere, limits
    )
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
    screen(out, allow)
    return Staged(out, publication, config, account, elsewhere)


def _problems(source: Path, config: ModelConfig, publication: Publication, facts: dict[str, Any] | None) -> list[str]:
    """What a published model needs and this one lacks, and where its run contradicts its config.

    The config was edited then, or the run is not complete.
    """
    problems = {
        "it has no licence; give one with --license, such as Apache-2.0": not publication.license,
        "the terms of its data are missing; give --data-terms": not publication.data_terms,
        "it has no scores": all(score.get("value") is None for score in config.scores.values()),
        "it does not say by which split it was scored": not config.training.split_sha256,
    }
    if facts is not None:
        missing = [stamp for stamp in facts.get("stamps", []) if stamp not in config.stamps]
        crossing = _crossing(source)
        weights = facts.get("model", {}).get("sha256")
        problems |= {
            f"its run is not complete ({facts.get('status')})": facts.get("status") != "done",
            "the scores in its config.json are not those of its run": facts.get("scores") != config.scores,
            "its weights are not those that its run ended with": weights != sha256(source / "model.safetensors"),
            f"its run has the stamp '{', '.join(missing)}', and its config.json does not": bool(missing),
            f"its split leaks ({crossing} groups of images that belong together are in two parts), and no stamp says so": (
                crossing > 0 and not any("leak" in stamp for stamp in config.stamps)
            ),
        }
    return [text for text, holds in problems.items() if holds]


def _crossing(source: Path) -> int:
    """The number of groups with images in two parts of one fold."""
    if not (source / "predictions.csv").is_file():
        return 0
    rows, parts = read_predictions(source), defaultdict[tuple[str, int], set[str]](set)
    for fold, group, part in zip(rows.folds.tolist(), rows.outcome.groups.tolist(), rows.parts.tolist(), strict=True):
        parts[fold, group].add(part)
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
        refuse_ensemble(config, "be published as a backbone")
        tensors = timm_state(config.backbone, tensors)
        content = timm_config(config.backbone, publication.license) | content
    write_tensors(out / "model.safetensors", tensors)
    write_json(out / "config.json", content)
