"""Which distributions provide what a recipe or model names, and what to install if they are missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shlex
from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from mammozoo.errors import IncompatibleError

OWN = "mammozoo"


def requirements_of(plugins: Mapping[str, str]) -> tuple[str, ...]:
    """`tail-lab>=3.1` for each of these distributions (name → version), except our own and files given by `--plugin`."""
    found = []
    for name, version in plugins.items():
        if name != OWN:
            with contextlib.suppress(ValueError):  # a file has no version
                found.append(checked(f"{name}>={Version(version).public}"))
    return tuple(found)


def checked(text: str) -> str:
    """A requirement in the form that pip takes: a distribution and, optionally, its versions.

    Raises:
        ValueError: it has another form, or names an address to load from.
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"'{text}' is not a requirement such as mammozoo-peft>=0.2: {reason}") from None
    if requirement.url is not None or requirement.marker is not None:
        raise ValueError(f"'{text}': name a distribution and its versions alone, such as mammozoo-peft>=0.2")
    return str(requirement)


def check_requirements(requires: Iterable[str], who: str) -> None:
    """Raise IncompatibleError if a distribution that `who` requires is not installed in such a version; it says what to install."""
    for text in requires:
        requirement = Requirement(text)
        version = installed_version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found = "which is not installed" if version is None else f"and {version} is installed"
            remedy = f"Run: pip install {shlex.quote(text)}"
            if requirement.name.lower() == "mammozoo":  # a package index may have somebody else's under this name
                remedy = "Install a checkout or a wheel of that version"
            raise IncompatibleError(f"{who} needs {text}, {found}. {remedy}")


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None if it is not installed or its metadata are damaged."""
    try:
        return importlib.metadata.version(distribution) or None
    except (importlib.metadata.PackageNotFoundError, ValueError, TypeError, KeyError, OSError):
        return None


def installed_distributions() -> dict[str, str]:
    """Name → version of every installed distribution whose metadata can be read."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        try:
            name, version = one.name, one.version
        except (KeyError, TypeError, ValueError, OSError):  # no METADATA, or one that cannot be read
            continue
        if name and version:
            found.setdefault(name, version)
    return found
