"""Nothing that could be somebody's data gets out; and what a model needs does."""

import getpass
import re
import shutil
import socket
import struct
import zlib
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mammozoo.errors import RefusedToPublishError
from mammozoo.models.weights import write_tensors
from mammozoo.zoo.registry import catalogue, find_model, listed
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


SECRETS = {
    "GitHub": "ghp_" + "aB3" * 12, "GitHub, fine-grained": "github_pat_" + "aB3_" * 8, "GitLab": "glpat-" + "aB3-x" * 4,
    "AWS": "AKIA" + "AB12" * 4, "Google": "AIza" + "aB3-" * 9, "Slack": "xoxb-123456789012-abcdef",
    "OpenAI": "sk-proj-" + "aB3_" * 8,
    "Anthropic": "sk-ant-api03-" + "aB3" * 9, "Stripe": "sk_live_" + "aB3" * 8, "npm": "npm_" + "aB3" * 12,
    "PyPI": "pypi-AgEIcHlwaS5vcmc" + "aB3" * 9, "JSON web token": "eyJ" + "aB3" * 5 + ".eyJ" + "aB3" * 5 + ".xyz",
    "a key": "-----BEGIN OPENSSH PRIVATE KEY-----", "an address": "https://anna:s3cret@pacs.example/x",
    "Kaggle": '{"username": "x", "key": "' + "0a1b" * 8 + '"}', "W&B": "WANDB_API_KEY=" + "0a1b" * 10,
    "a header": "Authorization: Bearer " + "aB3" * 9, "a password": "db_password = hunter2hunter2",
}  # fmt: skip


@pytest.mark.parametrize("service", SECRETS)
@pytest.mark.parametrize("file", ["README.md", "config.json", "LICENSE"])
def test_tokens_of_any_service(clean: Path, service: str, file: str) -> None:
    (clean / file).write_text(f"first\n{SECRETS[service]}\n")
    with pytest.raises(RefusedToPublishError, match=f"'{file}', line 2, holds an access token") as caught:
        screen(clean)
    assert SECRETS[service] not in str(caught.value)


WORDS = "head resnet9 gap busi scratch auc threshold validation benign grey args split torch youden ultrasound cpu random dropout"


@pytest.mark.parametrize("user", WORDS.split())
def test_a_user_whose_name_is_a_word_of_ours_may_publish(user: str, monkeypatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: user)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{user}.klinik.example")
    monkeypatch.setattr(Path, "home", lambda: Path("/home") / user)
    for name in ("busi-resnet9", "busi-resnet9-drs"):
        screen(listed(name).folder)


def test_each_finding_can_be_allowed_by_its_name_and_no_other_passes_with_it(
    clean: Path, command, tiny_run, caplog
) -> None:
    text = "in /mnt/a/x\nPatient ID\nin /mnt/b/x\n" + SECRETS["GitHub"]
    (clean / "README.md").write_text(text)
    (clean / "LICENSE").write_bytes(b"\x80\x04\xff")
    (clean / "notes.txt").write_text("x")
    (clean / "figures" / "roc.png").write_bytes((clean / "figures" / "roc.png").read_bytes() + b"x")
    names: set[str] = set()
    for _ in range(9):
        with pytest.raises(RefusedToPublishError) as caught:
            screen(clean, names - {"notes.txt:file"})
        names |= set(re.findall(r"\[(\S+)\]", str(caught.value)))
    assert names == {
        "README.md:1:path", "README.md:2:patient", "README.md:3:path", "README.md:4:token", "LICENSE:format", "notes.txt:file",
        "figures/roc.png:end",
    }  # fmt: skip
    screen(clean, names)
    assert "Allowed: 'README.md', line 3" in caplog.text

    words = ("zoo", "push", tiny_run.path, "--repo", "lab/x", "--license", "MIT", "--allow-stamped", "--dry-run")
    terms = ("--data-terms", "see /mnt/terms/x")
    answer = command(*words, *terms)
    answer.refused(10, "an absolute path", "--allow")
    (name,) = re.findall(r"\[(\S+)\]", answer.err)
    assert (
        command(*words, *terms, "--allow", name).ok
        and command(*words, *terms, "--allow", "README.md:1:path").code == 10
    )


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
    for kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"tIME", b"sPLT", b"hIST", b"acTL", b"fdAT", b"prVt", b"vpAg"):
        path.write_bytes(plain.replace(plain[-12:], chunk(kind, b"PatientName\0Doe") + plain[-12:]))
        refused(clean, f"chunk '{kind.decode()}'")
    path.write_bytes(plain.replace(plain[-12:], chunk(b"gAMA", b"PatientName") + plain[-12:]))
    refused(clean, "chunk 'gAMA'")
    path.write_bytes(plain.replace(plain[-12:], chunk(b"pHYs", bytes(9)) * 2 + plain[-12:]))
    refused(clean, "chunk 'pHYs'")
    path.write_bytes(plain.replace(plain[-12:], chunk(b"tEXt", b"Software\0in /home/anna/x") + plain[-12:]))
    refused(clean, "absolute path")
    path.write_bytes(plain.replace(plain[-12:], chunk(b"IDAT", b"PatientName") + plain[-12:]))
    refused(clean, "after the end")
    pyplot.figure()
    pyplot.savefig(path, dpi=30)
    pyplot.close()
    screen(clean)
    path.write_bytes(plain + b"PatientName")
    refused(clean, "after the end")
    path.write_bytes(b"\xff\xd8\xff")
    refused(clean, "PNG image")


@pytest.mark.parametrize("name", [name for name, model in catalogue().items() if model.entry.base is None])
def test_the_packaged_models_pass(name: str) -> None:
    screen(find_model(name))
