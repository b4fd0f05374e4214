"""Nothing that could be somebody's data gets out; and what a model needs does."""

import getpass
import shutil
import socket
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mammozoo.errors import RefusedToPublishError
from mammozoo.models.weights import write_tensors
from mammozoo.zoo.registry import catalogue, find_model
from mammozoo.zoo.screening import screen


@pytest.fixture
def clean(tmp_path) -> Path:
    folder = tmp_path / "staged"
    (folder / "figures").mkdir(parents=True)
    card = "---\nlicense: mit\n---\n# m\nSee https://doi.org/10.1/x, 3/4 of 1/2, a/b.png, </a>.\n"
    (folder / "README.md").write_text(card)
    (folder / "config.json").write_text('{"mammozoo": {"weights": "file:net.safetensors", "dataset": "busi:root=x"}}')
    write_tensors(folder / "model.safetensors", {"w": torch.ones(2)})
    Image.new("L", (4, 4)).save(folder / "figures" / "roc.png")
    screen(folder)
    return folder


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(RefusedToPublishError) as caught:
        screen(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["predictions.csv", "scan.dcm", "scan.png", "images/1.png", "model.pth", "modeling.py", "figures/scan.jpg", ".hidden",
     "run.json"],
)  # fmt: skip
def test_only_files_of_a_model(clean: Path, name: str) -> None:
    (clean / name).parent.mkdir(exist_ok=True)
    (clean / name).write_bytes(b"x")
    refused(clean, f"'{name}' is not a file of a model")


def test_other_things_under_an_allowed_name(clean: Path, tmp_path) -> None:
    (clean / "LICENSE").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 9)
    refused(clean, "'LICENSE' is a DICOM file")
    Image.new("L", (4, 4)).save(tmp_path / "scan.png")
    shutil.move(tmp_path / "scan.png", clean / "LICENSE")
    refused(clean, "'LICENSE' is a PNG image")
    shutil.move(clean / "LICENSE", tmp_path / "elsewhere")
    (clean / "LICENSE").symlink_to(tmp_path / "elsewhere")
    refused(clean, "'LICENSE' is a link")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("trained from /home/anna/data/busi", "an absolute path"),
        ("in /mnt/pacs/2024/", "an absolute path"),
        ("`/data/x.png`", "an absolute path"),
        ('"root": "C:\\\\Users\\\\anna"', "an absolute path"),
        (r"D:\scans", "an absolute path"),
        (r"\\pacs01\share\x", "an absolute path"),
        ("~/busi", "an absolute path"),
        ("file:///x", "an absolute path"),
        ("PatientName: X", "patient data"),
        ("Patient ID 17", "patient data"),
        ("tag (0010,0020)", "patient data"),
    ],
)
@pytest.mark.parametrize("file", ["README.md", "config.json"])
def test_what_a_text_must_not_hold(clean: Path, text: str, what: str, file: str) -> None:
    (clean / file).write_text(f"first\n{text}\n")
    refused(clean, f"'{file}', line 2, holds", what)


def test_tokens_metadata_and_all_findings_at_once(clean: Path) -> None:
    token = "hf_" + "aB3" * 11
    (clean / "README.md").write_text(f"log in with {token}")
    with pytest.raises(RefusedToPublishError, match="an access token") as caught:
        screen(clean)
    assert token not in str(caught.value)
    import safetensors.torch

    told = {"format": "pt", "by": "somebody"}
    safetensors.torch.save_file({"w": torch.ones(2)}, clean / "model.safetensors", metadata=told)
    refused(clean, "metadata beside the weights")
    (clean / "model.safetensors").write_bytes(b"\x80\x04pickled")
    refused(clean, "safetensors file")
    (clean / "a.csv").write_text("x")
    (clean / "README.md").write_text("/home/anna/x")
    refused(clean, "a.csv", "README.md")


def test_names_of_the_user_and_the_machine(clean: Path, monkeypatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "mmuster")
    monkeypatch.setattr(socket, "gethostname", lambda: "radio17.klinik.example")
    screen(clean)
    (clean / "README.md").write_text("by MMuster\n")
    refused(clean, "line 1", "its user (mmuster)")
    (clean / "README.md").write_text("on radio17\n")
    refused(clean, "radio17")
    (clean / "README.md").write_text("radio170 is another machine, and mmusters no user\n")
    screen(clean)
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    (clean / "README.md").write_text("the root of the mean square\n")
    screen(clean)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_what_a_figure_must_not_hold(clean: Path) -> None:
    path = clean / "figures" / "roc.png"
    plain = path.read_bytes()
    info = PngInfo()
    info.add_text("Software", "a drawing program")
    Image.new("L", (4, 4)).save(path, pnginfo=info)
    screen(clean)
    info.add_text("Author", "somebody")
    Image.new("L", (4, 4)).save(path, pnginfo=info)
    refused(clean, "text or EXIF")
    path.write_bytes(plain.replace(plain[-12:], chunk(b"eXIf", b"MM\0*") + plain[-12:]))
    refused(clean, "text or EXIF")
    path.write_bytes(plain + b"PatientName")
    refused(clean, "after the end")
    path.write_bytes(b"\xff\xd8\xff")
    refused(clean, "PNG image")


@pytest.mark.parametrize("name", [name for name, model in catalogue().items() if model.entry.base is None])
def test_the_packaged_models_pass(name: str) -> None:
    screen(find_model(name))
