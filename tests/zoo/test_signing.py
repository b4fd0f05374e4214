"""Signatures with keys of one's own: made, checked, and refused when anything is not as it was signed."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError
from mammozoo.zoo.entry import Signer
from mammozoo.zoo.signing import SIGNATURE, check_signature, sign_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name in ("config.json", "model.safetensors", "README.md"):
        (made / name).write_text(f"the {name}")
    return made


def key(path: Path, curve: str = "SECP256R1", password: bytes | None = None) -> Path:
    """A new private key in PEM."""
    pytest.importorskip("model_signing", reason='needs pip install "mammozoo[signing]"')
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made = ec.generate_private_key(getattr(ec, curve)())
    path.write_bytes(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return path


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_signed_and_checked_wherever_it_lies(curve: str, folder: Path, tmp_path) -> None:
    signer = sign_folder(folder, key(tmp_path / "key.pem", curve))
    check_signature(folder, signer)
    check_signature(shutil.copytree(folder, tmp_path / "another-name"), signer)
    assert Signer.model_validate(signer.model_dump()) == signer, "an entry of zoo.yaml can hold it"
    assert "PRIVATE" not in signer.public_key + (folder / SIGNATURE).read_text()
    sign_folder(folder, key(tmp_path / "key.pem", curve))
    with pytest.raises(NotVerifiedError):
        check_signature(folder, signer)


def test_links_as_in_the_cache_of_the_hub(folder: Path, tmp_path) -> None:
    signer = sign_folder(folder, key(tmp_path / "key.pem"))
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in folder.iterdir():
        (snapshot / path.name).symlink_to(path)
    check_signature(snapshot, signer)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a changed file": lambda folder: (folder / "model.safetensors").write_text("other weights"),
    "a file more": lambda folder: (folder / "modeling.py").write_text("import os"),
    "a file less": lambda folder: (folder / "README.md").unlink(),
    "two files exchanged": lambda folder: [
        (folder / "x").write_bytes((folder / "README.md").read_bytes()),
        shutil.move(folder / "model.safetensors", folder / "README.md"),
        shutil.move(folder / "x", folder / "model.safetensors"),
    ],
    "no signature": lambda folder: (folder / SIGNATURE).unlink(),
    "an empty signature": lambda folder: (folder / SIGNATURE).write_text(""),
    "no JSON": lambda folder: (folder / SIGNATURE).write_text("-----BEGIN"),
    "other JSON": lambda folder: (folder / SIGNATURE).write_text("{}"),
    "not even text": lambda folder: (folder / SIGNATURE).write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_not_signed_is_refused(what: str, folder: Path, tmp_path, capfd) -> None:
    signer = sign_folder(folder, key(tmp_path / "key.pem"))
    CHANGES[what](folder)
    with pytest.raises(NotVerifiedError, match=r"is not signed|does not hold") as caught:
        check_signature(folder, signer)
    assert str(folder) in str(caught.value)
    assert capfd.readouterr().out == "", "standard output may be somebody's JSON"


def test_somebody_elses_signature(folder: Path, tmp_path) -> None:
    ours = sign_folder(folder, key(tmp_path / "ours.pem"))
    sign_folder(folder, key(tmp_path / "theirs.pem"))
    with pytest.raises(NotVerifiedError, match="does not hold"):
        check_signature(folder, ours)


def test_a_key_with_a_password(folder: Path, tmp_path) -> None:
    path = key(tmp_path / "key.pem", password=b"secret")
    check_signature(folder, sign_folder(folder, path, "secret"))
    for wrong in (None, "guess"):
        with pytest.raises(UsageError, match="not a private key") as caught:
            sign_folder(folder, path, wrong)
        assert "guess" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(content: str, folder: Path, tmp_path) -> None:
    key(tmp_path / "unused.pem")
    (tmp_path / "key.pem").write_text(content)
    with pytest.raises(UsageError, match="not a private key"):
        sign_folder(folder, tmp_path / "key.pem")
    with pytest.raises(NotFoundError):
        sign_folder(folder, tmp_path / "absent.pem")
    with pytest.raises(NotFoundError):
        sign_folder(tmp_path / "absent", tmp_path / "key.pem")


def test_a_key_of_a_curve_that_the_standard_leaves_out(folder: Path, tmp_path) -> None:
    with pytest.raises(UsageError, match="P-256"):
        sign_folder(folder, key(tmp_path / "key.pem", "SECP256K1"))


def test_without_the_package_nothing_passes_as_signed(folder: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for part in ("signing", "verifying", "hashing"):
        monkeypatch.setitem(sys.modules, f"model_signing.{part}", None)
    (folder / SIGNATURE).write_text("{}")
    signer = Signer(public_key="-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(NotVerifiedError, match=r'pip install "mammozoo\[signing\]"'):
        check_signature(folder, signer)
    (tmp_path / "key.pem").write_text("x")
    with pytest.raises(NotFoundError, match=r"mammozoo\[signing\]"):
        sign_folder(folder, tmp_path / "key.pem")
