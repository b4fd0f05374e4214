"""Weights that are not mammozoo's: one safetensors file of a commit on the Hub, its hash pinned, its licence shown."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mammozoo.errors import IncompatibleError, MammozooError, UsageError
from mammozoo.models.config import read_content
from mammozoo.zoo.card import terms_in
from mammozoo.zoo.entry import COMMIT, REPOSITORY
from mammozoo.zoo.hub import endpoint, fetch
from mammozoo.zoo.registry import find_model

log = logging.getLogger(__name__)
_FORM = "hub:ORG/NAME@COMMIT:FILE.safetensors"


def is_file(reference: str) -> bool:
    """Whether a reference names one file of a commit."""
    return reference.startswith("hub:") and ":" in reference.removeprefix("hub:")


def find_weights(reference: str | Path) -> Path:
    """What a training starts from: the folder of a model as `find_model` has it, or the file that `hub:ORG/NAME@COMMIT:FILE` names.

    Of a commit with another library's `config.json` it is its `model.safetensors`.
    """
    name = str(reference)
    if is_file(name):
        return pull_weights(name)
    folder = find_model(reference)
    if name.startswith("hub:") and not _is_ours(folder):
        return pull_weights(f"{name}:model.safetensors")
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        read_content(folder)
    except IncompatibleError:
        return False
    return True


def pull_weights(reference: str) -> Path:
    """The file that `hub:ORG/NAME@COMMIT:FILE` names; no request if it is here already. Its licence is logged as a warning.

    Raises:
        UsageError: another form, a branch or tag, or a file that is not safetensors.
        UnreachableError, AccessError, NotFoundError, NotVerifiedError: as `hub.fetch`.
    """
    repository, revision, file = _parts(reference)
    path = fetch(repository, file, revision)
    log.warning(
        "'%s' is not in a zoo. Licence of its weights: %s.", reference, licence(reference) or _unknown(repository)
    )
    return path


def described(reference: str) -> str:
    """The same weights for a card: repository, commit, file and licence."""
    repository, revision, file = _parts(reference)
    return f"{file} of {repository}@{revision}, licence {licence(reference) or 'not stated'}"


def licence(reference: str) -> str:
    """What the commit's README.md says of its licence; empty if it says nothing or cannot be had."""
    repository, revision, _ = _parts(reference)
    try:
        return terms_in(fetch(repository, "README.md", revision).read_text(encoding="utf-8", errors="replace"))
    except MammozooError:
        return ""


def _unknown(repository: str) -> str:
    return f"not stated there; ask its authors before you pass on what you train from them ({endpoint()}/{repository})"


def _parts(reference: str) -> tuple[str, str, str]:
    model, _, file = reference.removeprefix("hub:").partition(":")
    repository, _, revision = model.partition("@")
    if not (re.fullmatch(REPOSITORY, repository) and re.fullmatch(COMMIT, revision)):
        raise UsageError(
            f"'{reference}' is not {_FORM}, where COMMIT is the full id (40 hexadecimal digits). Tags and branches can be moved; "
            f"{endpoint()}/ORG/NAME/commits/main lists the ids."
        )
    if not re.fullmatch(r"[\w./-]+\.safetensors", file) or ".." in file or file.startswith("/"):
        raise UsageError(
            f"'{reference}': '{file}' is not the path of a .safetensors file in the repository. Others may be pickles, which can "
            "run code."
        )
    return repository, revision, file
