"""Signatures of model folders after OpenSSF Model Signing (OMS 1.0), with keys that people keep themselves; works offline.

    model.sig    beside the files of a model: their names and SHA-256, signed with a key on P-256, P-384 or P-521

`zoo.yaml` already pins every file; a signature says in addition who made them. Needs the extra: pip install "mammozoo[signing]".
"""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from pathlib import Path
from typing import Any

from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError
from mammozoo.zoo.entry import Signer

#: The signature's file in a model's folder.
SIGNATURE = "model.sig"
_INSTALL = 'pip install "mammozoo[signing]"'


def sign_folder(folder: Path, private_key: Path, password: str | None = None) -> Signer:
    """Sign every file in `folder` with an elliptic-curve key (PEM), and say who signed, as an entry of `zoo.yaml` holds it.

    Raises:
        NotFoundError: there is no such folder or key, or the package is not installed.
        UsageError: the key cannot be read, or is of another kind.
    """
    for path in (folder / "config.json", private_key):
        if not path.is_file():
            raise NotFoundError(f"There is no file '{path}'.")
    signing, hashing = (
        _package("model_signing.signing", NotFoundError),
        _package("model_signing.hashing", NotFoundError),
    )
    serialization = _package("cryptography.hazmat.primitives.serialization", NotFoundError)
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password.encode() if password else None)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signer = signing.Config().use_elliptic_key_signer(
            private_key=private_key, password=password.encode() if password else None
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"'{private_key}' is not a private key on P-256, P-384 or P-521 in PEM: {error}.") from None
    signer.set_hashing_config(_files_of(hashing, folder)).sign(folder, folder / SIGNATURE)
    return Signer(public_key=public.decode())


def check_signature(folder: Path, signer: Signer) -> None:
    """Raise unless `model.sig` in `folder` is the signer's, and says of every file there what it is.

    Raises:
        NotVerifiedError: there is no signature, it is somebody else's, a file was changed, added or removed, or the package that
            could tell is not installed.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        raise NotVerifiedError(f"The model in '{folder}' is not signed: it has no {SIGNATURE}. Get it again.")
    verifying = _package("model_signing.verifying", NotVerifiedError)
    hashing = _package("model_signing.hashing", NotVerifiedError)
    try:
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            key = Path(place) / "key.pem"
            key.write_text(signer.public_key, encoding="ascii")
            config = verifying.Config().use_elliptic_key_verifier(public_key=key)
            config.set_hashing_config(_files_of(hashing, folder)).verify(folder, path)
    except Exception as error:  # the package documents ValueError, and lets those of its parsers through
        raise NotVerifiedError(
            f"The signature of the model in '{folder}' does not hold: {str(error) or type(error).__name__}. Do not use the "
            "model; ask who published it."
        ) from None


def _files_of(hashing: Any, folder: Path) -> Any:
    """All files but the signature; links are followed, for in the Hub's cache every file is one."""
    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE]).set_allow_symlinks(True)


def _package(name: str, kind: type[NotFoundError] | type[NotVerifiedError]) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise kind(f"Signatures need a package that is not installed ({error}): {_INSTALL}.") from None
