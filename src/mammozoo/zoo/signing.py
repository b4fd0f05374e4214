"""Signatures of model folders by OpenSSF Model Signing (OMS 1.0), with keys of your own; works offline.

    model.sig    beside the files of a model: their names and SHA-256, signed with a key on P-256, P-384 or P-521

`zoo.yaml` already pins every file; a signature also tells who made them. Needs the extra: pip install "mammozoo[signing]".
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError
from mammozoo.zoo.entry import Signer

#: The signature's file in a model's folder.
SIGNATURE = "model.sig"


def sign_folder(folder: Path, private_key: Path, password: str | None = None) -> Signer:
    """Sign every file in `folder` with an elliptic-curve key (PEM); returns the signer, for the model's entry in a `zoo.yaml`.

    Raises:
        NotFoundError: there is no such folder or key, or the package is not installed.
        UsageError: the key cannot be read, or is of another kind.
    """
    for path in (folder / "config.json", private_key):
        if not path.is_file():
            raise NotFoundError(f"There is no file '{path}'.")
    try:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
        from model_signing import signing
    except ImportError as error:
        raise NotFoundError(_not_installed(error)) from None
    secret = password.encode() if password else None
    try:
        key = load_pem_private_key(private_key.read_bytes(), secret).public_key()
        public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"'{private_key}' is not a private key on P-256, P-384 or P-521 in PEM: {error}.") from None
    signer.set_hashing_config(_all_files(folder)).sign(folder, folder / SIGNATURE)
    return Signer(public_key=public.decode())


def check_signature(folder: Path, signer: Signer) -> None:
    """Raise NotVerifiedError unless `model.sig` in `folder` is the signer's and holds for every file there.

    It is also raised if the package that checks it is not installed.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        raise NotVerifiedError(f"The model in '{folder}' is not signed: it has no {SIGNATURE}. Get it again.")
    try:
        from model_signing import verifying
    except ImportError as error:
        raise NotVerifiedError(_not_installed(error)) from None
    try:
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            key = Path(place) / "key.pem"
            key.write_text(signer.public_key, encoding="ascii")
            config = verifying.Config().use_elliptic_key_verifier(public_key=key)
            config.set_hashing_config(_all_files(folder)).verify(folder, path)
    except Exception as error:  # the package documents ValueError, but lets errors of its parsers through
        what = f"The signature of the model in '{folder}' does not hold: {str(error) or type(error).__name__}"
        raise NotVerifiedError(f"{what}. Do not use the model; ask who published it.") from None


def _all_files(folder: Path) -> Any:
    """All files but the signature; links are followed, because in the Hub's cache every file is one."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE]).set_allow_symlinks(True)


def _not_installed(error: ImportError) -> str:
    return f'Signatures need a package that is not installed ({error}): pip install "mammozoo[signing]".'
