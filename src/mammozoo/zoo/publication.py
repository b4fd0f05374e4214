"""What a publication states about a model, from what the user gives and what config, data set and zoos know."""

from __future__ import annotations

import re
from typing import Literal

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import InvalidVersion, Version

from mammozoo.config.names import parse
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.models.config import ModelConfig
from mammozoo.plugins import registry
from mammozoo.zoo.card import Publication
from mammozoo.zoo.entry import NAME, REPOSITORY
from mammozoo.zoo.registry import listed


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

    Raises:
        UsageError: not a repository, name, version or SPDX licence.
        NotFoundError: no zoo has the base.
    """
    if repository and not re.match(REPOSITORY, repository):
        raise UsageError(f"'{repository}' is not a repository: say --repo ORG/NAME.")
    if not re.match(NAME, name):
        raise UsageError(f"'{name}' cannot name a model: small letters, digits, dots and dashes. Say --name.")
    try:
        Version(version)
    except InvalidVersion:
        raise UsageError(f"'{version}' is not a version, such as 1.0.0.") from None
    if license:
        try:
            license = str(canonicalize_license_expression(license))
        except InvalidLicenseExpression:
            raise UsageError(
                f"'{license}' is not an SPDX licence, such as Apache-2.0 or CC-BY-NC-4.0; a licence of your own is "
                "LicenseRef-NAME."
            ) from None
    weights = config.training.weights
    started_from = weights.removeprefix("zoo:") if weights.startswith("zoo:") else ""
    base = (base or started_from) if kind == "adapter" else ""
    source = listed(base).from_hub if base else None
    terms = data_terms or _terms_of(config.training.dataset)
    return Publication(name, version, license, terms, repository, kind, base, source.hub if source else "")


def _terms_of(dataset: str) -> str:
    """The licence that a data set's plugin states; empty if it is not installed."""
    try:
        info = registry().get("datasets", parse(dataset).name).info
    except NotFoundError:
        return ""
    return f"{info.license} ({info.url})" if info.license and info.url else str(info.license)
