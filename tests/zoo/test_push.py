"""Publishing: one commit or none, read back, never over somebody else's, and nothing that is already there twice."""

import dataclasses
import os
import shutil
from typing import Any

import pytest
import yaml
from PIL import Image

from mammozoo.errors import (
    AccessError,
    ConflictError,
    MammozooError,
    NotVerifiedError,
    RefusedToPublishError,
    UnreachableError,
)
from mammozoo.zoo import push as pushing
from mammozoo.zoo.directory import entry_text, write_entries
from mammozoo.zoo.entry import HubSource, read_zoo
from mammozoo.zoo.push import push
from mammozoo.zoo.registry import packaged_zoo
from mammozoo.zoo.staging import Staged

COMMIT = HubSource(hub="lab/tiny", revision="a" * 40)


def test_one_commit_a_tag_and_no_more(hub, hub_here, model: Staged) -> None:
    pushed = push(model)
    repo = hub.repos["lab/tiny"]
    assert pushed.new and pushed.private and repo.private
    assert repo.tags == {"v1.0.0": pushed.revision} and repo.branches == {"main": pushed.revision}
    assert repo.at("v1.0.0").parent is not None and len(repo.commits) == 2
    tree = dict(repo.at("v1.0.0").tree)
    assert {n: f.data for n, f in tree.items() if n != ".gitattributes"} == {
        n: p.read_bytes() for n, p in model.files.items()
    }
    assert not any(request.token for request in hub.asked("^cdn"))
    hub.requests.clear()
    again = push(model)
    assert again == dataclasses.replace(pushed, new=False)
    assert not hub.asked("POST|PUT|DELETE"), "a second time nothing is written, and nothing is uploaded"


def test_public_only_when_told(hub, hub_here, model: Staged) -> None:
    hub.publish("lab/tiny", {})
    with pytest.raises(RefusedToPublishError, match="--public"):
        push(model)
    assert not hub.asked("POST|PUT")
    assert not push(model, private=False).private


def test_a_version_never_changes(hub, hub_here, model: Staged, staged, tiny_run, tmp_path) -> None:
    first = push(model)
    other = staged(tiny_run.path, tmp_path / "other", data_terms="others")
    hub.requests.clear()
    with pytest.raises(ConflictError, match=r"version 1\.0\.0 already"):
        push(other)
    assert not hub.asked("POST|PUT")
    second = push(staged(tiny_run.path, tmp_path / "next", data_terms="others", version="1.1.0"))
    assert hub.repos["lab/tiny"].tags == {"v1.0.0": first.revision, "v1.1.0": second.revision}


def test_of_an_older_version_go_its_own_files_and_no_others(hub, hub_here, staged, run_copy, tmp_path) -> None:
    (run_copy / "figures").mkdir()
    for name in ("roc", "both", "edited"):
        Image.new("L", (4, 4)).save(run_copy / "figures" / f"{name}.png")
    assert push(staged(run_copy, tmp_path / "one"))
    repo, foreign = (
        hub.repos["lab/tiny"],
        {"LICENSE": b"theirs", "notes.md": b"x", "figures/theirs.png": b"x", "x.safetensors": b"x"},
    )
    foreign["figures/edited.png"] = b"better"
    kept = (
        {name: file.data for name, file in repo.at("main").tree.items()} | foreign | {"README.md": b"---\n---\nedited"}
    )
    hub.publish("lab/tiny", kept, private=True)
    for name in ("roc", "edited"):
        (run_copy / "figures" / f"{name}.png").unlink()
    second = staged(run_copy, tmp_path / "two", version="1.10.0")
    hub.requests.clear()
    told: list[str] = []
    assert push(second, agreed=lambda lost: bool(told.extend(lost))) is None
    assert not hub.asked("POST|PUT") and set(told) == {"figures/roc.png", "README.md (replaced)"}
    pushed = push(second)
    assert pushed and set(repo.at(pushed.revision).tree) == {*second.files, ".gitattributes", *foreign}


@pytest.mark.parametrize("config", [None, b"{}", b'{"architectures": ["Bert"]}', b"\xff", b"[]"])
def test_a_repository_of_something_else_is_left_alone(hub, hub_here, model: Staged, config: bytes | None) -> None:
    theirs = {"README.md": b"theirs", "pytorch_model.bin": b"pickle", "data/x.csv": b"1"}
    hub.publish("lab/tiny", theirs | ({} if config is None else {"config.json": config}), private=True)
    with pytest.raises(ConflictError, match="--replace"):
        push(model)
    assert not hub.asked("POST|PUT")
    told: list[str] = []
    pushed = push(model, replace=True, agreed=lambda lost: not told.extend(lost))
    assert pushed and {"pytorch_model.bin", "data/x.csv", "README.md (replaced)"} <= set(told)
    assert set(hub.repos["lab/tiny"].at(pushed.revision).tree) == {*model.files, ".gitattributes"}


def test_a_lost_race_changes_nothing(hub, hub_here, model: Staged) -> None:
    hub.publish("lab/tiny", {}, private=True)
    hub.fault("POST .*/commit/", "call", lambda: hub.publish("lab/tiny", {"theirs": b"x"}, private=True), times=1)
    with pytest.raises(ConflictError, match="meanwhile"):
        push(model)
    repo = hub.repos["lab/tiny"]
    assert "theirs" in repo.at("main").tree and "config.json" not in repo.at("main").tree and not repo.tags


def test_two_that_make_the_repository_at_once(hub, hub_here, model: Staged) -> None:
    hub.fault("POST /api/repos/create", "call", lambda: hub.publish("lab/tiny", {}, private=True), times=1)
    with pytest.raises(ConflictError, match="has just made"):
        push(model)
    assert push(model).new, "and now it goes on"


def test_an_upload_that_arrives_changed_gets_no_tag(hub, hub_here, model: Staged) -> None:
    def spoilt() -> None:
        repo = hub.repos["lab/tiny"]
        commit = repo.at("main")
        changed = {**commit.tree, "config.json": dataclasses.replace(commit.tree["config.json"], data=b"{}")}
        repo.commits[commit.id] = dataclasses.replace(commit, tree=changed)

    hub.fault("GET .*/revision/[0-9a-f]{40}", "call", spoilt, times=1)
    with pytest.raises(NotVerifiedError, match=r"another config\.json"):
        push(model)
    assert not hub.repos["lab/tiny"].tags and not hub.asked("/tag/")


@pytest.mark.parametrize(
    ("where", "kind", "value", "error"),
    [
        ("POST .*/preupload/", "status", 503, UnreachableError),
        ("POST .*/objects/batch", "status", 500, UnreachableError),
        ("PUT /upload/", "status", 403, MammozooError),
        ("POST .*/commit/", "status", 500, UnreachableError),
        ("POST .*/commit/", "drop", 0, UnreachableError),
        ("POST .*/commit/", "silent", None, UnreachableError),
    ],
)
def test_stopped_on_the_way_and_said_again(
    hub, hub_here, model: Staged, monkeypatch, where: str, kind: Any, value: Any, error: Any
) -> None:  # fmt: skip
    monkeypatch.setattr(pushing, "PATIENCE", 0.3 if kind == "silent" else pushing.PATIENCE)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits longer and longer between its tries
    hub.fault(where, kind, value)
    with pytest.raises(error) as caught:
        push(model)
    assert "hf_token" not in str(caught.value)
    assert not hub.repos["lab/tiny"].tags
    hub.faults.clear()
    pushed = push(model)
    assert hub.repos["lab/tiny"].tags == {"v1.0.0": pushed.revision}


def test_stopped_before_the_tag(hub, hub_here, model: Staged) -> None:
    hub.fault("POST .*/tag/", "status", 500, times=1)
    with pytest.raises(UnreachableError):
        push(model)
    head = hub.repos["lab/tiny"].branches["main"]
    assert push(model).revision == head, "the commit is there; only the tag was missing"


@pytest.mark.parametrize(("user", "repository"), [(None, "lab/tiny"), ("bob", "lab/tiny"), ("alice", "other/tiny")])
def test_who_may_not(hub, hub_here, model: Staged, user: str | None, repository: str) -> None:
    hub_here(user)
    about = dataclasses.replace(model.publication, repository=repository)
    with pytest.raises(AccessError):
        push(dataclasses.replace(model, publication=about))
    assert repository not in hub.repos


def test_an_unknown_token_and_a_hub_out_of_reach(hub, hub_here, model: Staged, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_wrong0123456789012345")
        with pytest.raises(AccessError, match="HF_TOKEN") as caught:
            push(model)
    assert "hf_wrong" not in str(caught.value)
    hub.stop()
    with pytest.raises(UnreachableError, match="did not give 'lab/tiny'"):
        push(model)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        push(model)


# ---------------------------------------------------------------- the entry in a zoo


def test_an_entry_is_written_and_replaced_in_the_packaged_zoo_too(model: Staged, tmp_path) -> None:
    path, first = tmp_path / "zoo.yaml", model.entry(COMMIT)
    write_entries(path, [first])
    assert read_zoo(path).models == (first,)
    path.write_text("# ours\n" + path.read_text() + "# the end\n")
    other = first.model_copy(update={"name": "other"})
    write_entries(path, [other])
    second = first.model_copy(update={"version": "2.0.0", "summary": "a: b # c"})
    write_entries(path, [second])
    assert read_zoo(path).models == (second, other)
    lines = path.read_text().splitlines()
    assert lines[0] == "# ours" and "# the end" in lines
    assert yaml.safe_load(entry_text(first))[0]["name"] == "tiny"
    shutil.copy(packaged_zoo(), path)
    before = path.read_text()
    write_entries(path, [first])
    assert path.read_text().startswith(before.rstrip("\n")) and read_zoo(path).models[-1] == first


# ---------------------------------------------------------------- the command


def test_dry_run_asks_no_server_and_the_entry_comes_out(command, hub, hub_here, tiny_run, tmp_path) -> None:
    answer = command(
        "zoo", "push", tiny_run.path, "--repo", "lab/tiny", "--license", "apache-2.0", "--allow-stamped", "--dry-run"
    ).ok
    for word in ("lab/tiny, private, tag v1.0.0", "model.safetensors", "license: apache-2.0", "Research only"):
        assert word in answer.out
    assert "Nothing was sent" in answer.err and not hub.requests
    words = ("zoo", "push", tiny_run.path, "--repo", "lab/tiny", "--license", "MIT", "--allow-stamped", "--yes")
    told = command(*words, "--json").json
    assert told["revision"] == hub.repos["lab/tiny"].tags["v1.0.0"] and told["private"]
    assert told["entry"]["source"] == {"hub": "lab/tiny", "revision": told["revision"]}
    hub.publish("lab/theirs", {"README.md": b"x", "theirs.bin": b"x"}, private=True)
    elsewhere = [word if word != "lab/tiny" else "lab/theirs" for word in words]
    command(*elsewhere).refused(9, "lab/theirs", "--replace")
    assert "deleted or replaced there: theirs.bin, README.md" in command(*elsewhere, "--replace").ok.err
    answer = command(*words, "--zoo", tmp_path / "mine.yaml").ok
    assert "Already there" in answer.err
    (entry,) = read_zoo(tmp_path / "mine.yaml").models
    assert entry.model_dump(mode="json", exclude_defaults=True) == told["entry"]
    assert os.environ["HF_TOKEN"] not in answer.out + answer.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--license", "Apache-2.0", "--allow-stamped"], 2, "--yes"),
        (["--yes", "--allow-stamped"], 10, "--license"),
        (["--yes", "--allow-stamped", "--license", "mine"], 2, "SPDX"),
        (["--yes", "--license", "Apache-2.0"], 10, "--allow-stamped"),
        (["--yes", "--license", "MIT", "--name", "A B"], 2, "--name"),
        (["--yes", "--license", "MIT", "--name", "nul.1"], 2, "Windows reserves"),
        *((["--yes", "--license", "MIT", "--version", version], 2, "version") for version in ("first", "1!2", " 1.0")),
        (["--yes", "--license", "MIT", "--as", "adapter", "--allow-stamped"], 2, "--base NAME"),
        (["--yes", "--repo", "tiny"], 2, "--repo ORG/NAME"),
    ],
)
def test_the_command_refuses(command, hub, hub_here, tiny_run, words: Any, code: int, said: str) -> None:
    command("zoo", "push", tiny_run.path, "--repo", "lab/tiny", *words).refused(code, said)
    assert not hub.requests
