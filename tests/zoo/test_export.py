"""A directory zoo: made, carried, read without a network, and not believed once something in it was changed."""

import dataclasses
import functools
import multiprocessing
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo.errors import (
    AccessError,
    ConflictError,
    IncompatibleError,
    NotFoundError,
    NotVerifiedError,
    RegistryError,
)
from mammozoo.files import sha256
from mammozoo.zoo.directory import export, put, write_entries
from mammozoo.zoo.entry import Base, FolderSource, HubSource, read_zoo
from mammozoo.zoo.registry import catalogue, find_model, listed, with_bases
from mammozoo.zoo.staging import Staged

FULL, ADAPTER = "busi-resnet9", "busi-resnet9-drs"


@pytest.fixture
def carried(tmp_path, monkeypatch) -> Path:
    """A directory zoo with an adapter and its base, in force."""
    folder = tmp_path / "stick"
    export(with_bases(listed(ADAPTER)), folder)
    monkeypatch.setenv("MAMMOZOO_ZOO", str(folder))
    return folder


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and never answers; it counts them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_what_is_in_it(carried: Path) -> None:
    files = {path.relative_to(carried).as_posix() for path in carried.rglob("*") if path.is_file()}
    assert {"zoo.yaml", "SHA256SUMS", f"models/{ADAPTER}/1.0.0/adapter.safetensors"} <= files
    sums = dict(reversed(line.split("  ")) for line in (carried / "SHA256SUMS").read_text().splitlines())  # type: ignore[misc]
    assert set(sums) == files - {"SHA256SUMS"}, "every file, and none that is not there"
    assert all(sha256(carried / name) == digest for name, digest in sums.items())
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=carried, check=True)
    assert catalogue()[FULL].zoo == carried / "zoo.yaml", "read from the stick, though the package has it too"
    assert find_model(FULL).is_relative_to(carried)
    entry = catalogue()[ADAPTER].entry
    assert sha256(find_model(ADAPTER) / "model.safetensors") == entry.full_sha256


def test_without_a_network(command, carried: Path, silent: str, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", silent)
    info = command("zoo", "info", ADAPTER, "--json").json
    assert info["folder"].startswith(str(carried)) and info["state"] == "folder"
    predicted = command("predict", "--example", "--model", ADAPTER, "--json").json
    assert predicted["model"]["sha256"] == info["full_sha256"]
    assert {m["state"] for m in command("zoo", "verify", "--json").json["models"]} == {"right"}


def test_by_the_command_line(command, tmp_path) -> None:
    answer = command("zoo", "export", ADAPTER, "--to", "stick").ok
    assert f"'{FULL}'" in answer.err and "--with-base" in answer.err
    assert [e.name for e in read_zoo(tmp_path / "stick" / "zoo.yaml").models] == [ADAPTER]
    answer = command("zoo", "export", ADAPTER, "--to", "stick", "--with-base").ok
    assert answer.out.strip() == "stick" and "--with-base" not in answer.err
    assert {e.name for e in read_zoo(tmp_path / "stick" / "zoo.yaml").models} == {ADAPTER, FULL}


def test_exporting_again_changes_nothing_nor_does_a_zoo_named_twice(carried: Path, monkeypatch) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in carried.glob("models/*/*/*")}
    export([listed(FULL)], carried)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert set(catalogue()) >= {FULL, ADAPTER}
    path = carried / "zoo.yaml"
    path.write_text(path.read_text().replace("schema: 1\n", f"schema: 1\ndefault: {FULL}  # ours\n"))
    export([listed(FULL)], carried)
    assert read_zoo(path).default == FULL and "# ours" in path.read_text()
    monkeypatch.setenv("MAMMOZOO_ZOO", f"{carried}{os.pathsep}{carried / '..' / carried.name}")
    assert catalogue()[FULL].zoo == carried / "zoo.yaml"


def test_a_file_that_was_changed(carried: Path, command) -> None:
    weights = carried / "models" / FULL / "1.0.1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for name in (FULL, ADAPTER):
        with pytest.raises(NotVerifiedError, match="Copy the zoo again"):
            find_model(name)
    answer = command("zoo", "verify", "--json")
    assert answer.code == 6
    states = {m["name"]: m["state"] for m in answer.json["models"]}
    assert states == {"ultrasound": "right", FULL: "wrong", ADAPTER: "right"}
    with pytest.raises(NotVerifiedError):
        export([listed(FULL)], carried.parent / "other")
    assert not (carried.parent / "other" / "zoo.yaml").exists()


def test_what_leads_out_of_the_zoo(carried: Path, tmp_path) -> None:
    weights = carried / "models" / FULL / "1.0.1" / "model.safetensors"
    shutil.move(weights, tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotVerifiedError, match="a link that leads out of its zoo"):
        find_model(FULL)
    rewrite(carried, FULL, source=FolderSource(path="../elsewhere"))
    with pytest.raises(RegistryError, match="leads out of its zoo"):
        find_model(FULL)


def rewrite(zoo: Path, name: str, **fields: Any) -> None:
    entry = next(e for e in read_zoo(zoo / "zoo.yaml").models if e.name == name)
    write_entries(zoo / "zoo.yaml", [entry.model_copy(update=fields)])


def test_a_base_that_is_another_or_itself(carried: Path) -> None:
    full = catalogue()[ADAPTER].entry.full_sha256
    assert full
    rewrite(carried, ADAPTER, base=Base(name=ADAPTER, sha256=full))
    with pytest.raises(RegistryError, match="an adapter of itself"):
        find_model(ADAPTER)
    rewrite(carried, ADAPTER, base=Base(name=FULL, sha256="0" * 64))
    with pytest.raises(IncompatibleError, match="with other weights"):
        find_model(ADAPTER)
    rewrite(carried, ADAPTER, base=Base(name="nobody", sha256="0" * 64))
    with pytest.raises(NotFoundError, match="'nobody', which no zoo has"):
        find_model(ADAPTER)


def test_another_model_of_that_name(carried: Path, monkeypatch) -> None:
    files = dict(catalogue()[FULL].entry.files)
    files["README.md"] = files["config.json"]
    rewrite(carried, FULL, files=files)
    with pytest.raises(ConflictError, match="their files differ"):
        catalogue()
    monkeypatch.delenv("MAMMOZOO_ZOO")
    with pytest.raises(ConflictError, match="has another model"):
        export([listed(FULL)], carried)


def test_a_place_without_a_zoo_or_without_room_for_one(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AccessError, match="Cannot write"):
        export([listed(FULL)], tmp_path / "file" / "stick")
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"MAMMOZOO_ZOO names .* no zoo\.yaml"):
        catalogue()


# ---------------------------------------------------------------- a run of one's own, without the Hub


def test_a_run_is_put_into_a_zoo_and_found_by_name(command, tiny_run, tmp_path, monkeypatch) -> None:
    words = ("zoo", "push", tiny_run.path, "--to", "ours", "--license", "Apache-2.0", "--allow-stamped")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "zoo.yaml").write_text("# kept by hand\nschema: 1\nmodels: []\n")
    assert command(*words, "--dry-run").code == 0 and not list((tmp_path / "ours").glob("models"))
    told = command(*words, "--json").json
    assert (told["repository"], told["private"], told["revision"]) == (None, None, None)
    assert told["entry"]["source"] == {"path": "models/tiny/1.0.0"}
    assert "# kept by hand" in (tmp_path / "ours" / "zoo.yaml").read_text()
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "ours", check=True)

    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path / "ours"))
    assert "--model tiny" in (tmp_path / "ours/models/tiny/1.0.0/README.md").read_text()
    by_name, by_run = (
        command("predict", "--example", "--model", model, "--json").json for model in ("tiny", tiny_run.path)
    )
    assert by_name["results"][0]["probabilities"] == by_run["results"][0]["probabilities"]
    assert command("zoo", "verify", "tiny").code == 0


def test_a_version_in_a_folder_never_changes(command, tiny_run, tmp_path) -> None:
    words = ("zoo", "push", tiny_run.path, "--to", "ours", "--license", "MIT", "--allow-stamped", "--name", "mine")
    assert command(*words).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    assert command(*words).code == 0, "the same again is no change"
    command(*words, "--data-terms", "other words").refused(9, "mine", "--version")
    assert before == {path: path.read_bytes() for path in before}
    assert command(*words, "--data-terms", "other words", "--version", "1.1.0").code == 0
    (entry,) = read_zoo(tmp_path / "ours" / "zoo.yaml").models
    assert (entry.version, entry.data_terms) == ("1.1.0", "other words")


@pytest.fixture(scope="module")
def of_the_run(staged, tiny_run, tmp_path_factory) -> Callable[..., Staged]:
    """The small run's model, staged under a name, in a version, and with a card of its own for each `terms`."""

    @functools.cache
    def make(name: str, version: str = "1.0.0", terms: str = "none") -> Staged:
        out = tmp_path_factory.mktemp("staged") / "model"
        return staged(tiny_run.path, out, name=name, version=version, data_terms=terms, repository="")

    return make


def test_four_at_once_lose_no_entry(of_the_run, tmp_path) -> None:
    """Into a directory zoo, and into a zoo.yaml that lists models of the Hub."""
    context = multiprocessing.get_context("fork")
    together, names = context.Barrier(4, timeout=60), [f"m{number}" for number in range(4)]
    model = of_the_run("m")

    def work(name: str) -> None:
        mine = dataclasses.replace(model, publication=dataclasses.replace(model.publication, name=name))
        source = HubSource(hub="lab/tiny", revision="a" * 40)
        for turn in range(3):
            together.wait()
            put(
                dataclasses.replace(mine, publication=dataclasses.replace(mine.publication, name=f"{name}-{turn}")),
                tmp_path,
            )
            write_entries(tmp_path / "hub.yaml", [mine.entry(source).model_copy(update={"name": f"{name}-{turn}"})])

    four = [context.Process(target=work, args=(name,)) for name in names]
    for process in four:
        process.start()
    for process in four:
        process.join(60)
    assert [process.exitcode for process in four] == [0] * 4
    expected = {f"{name}-{turn}" for name in names for turn in range(3)}
    for file in ("zoo.yaml", "hub.yaml"):
        assert {entry.name for entry in read_zoo(tmp_path / file).models} == expected
    sums = (tmp_path / "SHA256SUMS").read_text()
    assert sha256(tmp_path / "zoo.yaml") in sums and all(f"models/{name}/" in sums for name in expected)
    assert not list(tmp_path.glob(".*")), "no lock stays"


def test_a_version_stays_as_it_was_put_also_after_a_later_one(of_the_run, tmp_path, monkeypatch) -> None:
    first, second = put(of_the_run("m"), tmp_path), put(of_the_run("m", "1.10.0", "second"), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert put(of_the_run("m"), tmp_path) == first, "it is there: nothing to do"
    for other in (of_the_run("m", "1.0.0", "changed"), of_the_run("m", "1.9.0")):
        with pytest.raises(ConflictError, match="--version"):
            put(other, tmp_path)
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert listed("m").entry == second
    with pytest.raises(ConflictError, match=r"later than 1\.0\.0"):
        write_entries(tmp_path / "zoo.yaml", [first])
    # An older version has files and no entry, and an export takes no notice of its name.
    (tmp_path / "zoo.yaml").write_text("schema: 1\nmodels: []\n")
    with monkeypatch.context() as patch:
        patch.setenv("MAMMOZOO_ZOO", str(tmp_path / "other"))
        put(of_the_run("m", "1.0.0", "changed"), tmp_path / "other")
        with pytest.raises(ConflictError, match="other content"):
            export([listed("m")], tmp_path)
    assert before.items() - {(tmp_path / "zoo.yaml", before[tmp_path / "zoo.yaml"])} <= {
        (path, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--repo ORG/NAME"),
        (["--to", "ours", "--repo", "lab/tiny"], "--to FOLDER"),
        (["--to", "ours", "--public"], "--public"),
        (["--to", "ours", "--zoo", "zoo.yaml"], "--zoo"),
        (["--to", "ours", "--as", "backbone", "--license", "MIT", "--allow-stamped"], "backbone"),
    ],
)
def test_one_place_and_only_what_belongs_there(command, tiny_run, tmp_path, words: list[str], said: str) -> None:
    command("zoo", "push", tiny_run.path, *words).refused(2, said)
    assert not (tmp_path / "ours").exists()
