"""Pulling with the real client from a Hub on this machine: what is asked, what is kept, and every way in which it fails."""

import time
from typing import Any

import pytest
from far import CONTENT, Far, refused


def test_pull_then_nothing_more(far: Far, with_hub, tmp_path) -> None:
    answer = with_hub("zoo", "pull", "far", user="alice")
    folder = far.snapshot(tmp_path / "hf")
    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT, "listed files, and no other"
    assert far.hub.asked("^api .*revision") and all(request.token for request in far.hub.asked("^api .*revision"))
    assert far.hub.asked("^cdn") and not any(request.token for request in far.hub.asked("^cdn"))
    assert not far.hub.asked("bin|modeling|agent-harnesses")
    assert not list((tmp_path / "hf").rglob("*.incomplete"))

    far.hub.requests.clear()
    assert with_hub("zoo", "pull", "far").out == answer.out
    assert far.hub.requests == [], "what is there is not asked for"
    assert "right" in with_hub("zoo", "verify", "far", "--remote").out
    assert len(far.hub.requests) == 1
    assert "pulled" in with_hub("zoo", "list").out


def test_a_reference_without_a_zoo(far: Far, with_hub, tmp_path) -> None:
    reference = f"hub:lab/far@{far.commit}"
    answer = with_hub("zoo", "pull", reference).ok
    assert "is in no zoo" in answer.err
    assert {path.name for path in far.snapshot(tmp_path / "hf").iterdir()} == set(CONTENT)
    far.hub.requests.clear()
    assert with_hub("zoo", "pull", reference, HF_HUB_OFFLINE="1").code == 0
    assert far.hub.requests == []
    (far.snapshot(tmp_path / "hf") / "config.json").write_bytes(b'{"mammozoo": 1}')
    refused(with_hub("zoo", "pull", reference, HF_HUB_OFFLINE="1"), 6, "damaged")
    assert with_hub("zoo", "pull", reference).code == 0
    refused(with_hub("zoo", "pull", "hub:lab/far@main"), 2, "full id", "40 hexadecimal digits")
    refused(with_hub("zoo", "pull", f"hub:lab/other@{far.commit}"), 4, "no public model 'lab/other'")


@pytest.mark.parametrize(("kind", "value"), [("corrupt", None), ("stall", 10**6), ("drop", 10**6)])
def test_one_fault_is_got_over(far: Far, with_hub, tmp_path, kind: str, value: int | None) -> None:
    far.hub.fault("GET /blob/", kind, value, times=1)
    answer = with_hub("zoo", "pull", "far", HF_HUB_DOWNLOAD_TIMEOUT="1").ok
    assert ("arrived damaged" in answer.err) == (kind == "corrupt")
    assert (far.snapshot(tmp_path / "hf") / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


def test_damaged_twice(far: Far, with_hub, tmp_path) -> None:
    far.hub.fault("GET /blob/", "corrupt")
    refused(with_hub("zoo", "pull", "far"), 6, "damaged twice", "Nothing of it was kept")
    assert not list((tmp_path / "hf").rglob("model.safetensors"))
    assert len(far.hub.asked("^cdn GET")) == 2
    far.hub.faults.clear()
    assert with_hub("zoo", "pull", "far").code == 0


def test_bit_rot_in_the_cache_and_remove(far: Far, with_hub, tmp_path) -> None:
    assert with_hub("zoo", "pull", "far").code == 0
    weights = far.snapshot(tmp_path / "hf") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused(with_hub("zoo", "pull", "far", HF_HUB_OFFLINE="1"), 6, "HF_HUB_OFFLINE is set")
    assert "mammozoo zoo pull far" in with_hub("zoo", "verify", "far").err
    assert with_hub("zoo", "pull", "far").code == 0
    assert weights.read_bytes() == CONTENT["model.safetensors"]
    assert with_hub("zoo", "pull", "far").code == 0
    assert "far: 2.05 MB freed" in with_hub("zoo", "rm", "far").err
    assert not list((tmp_path / "hf" / "hub").rglob("blobs/*"))
    assert "was not there" in with_hub("zoo", "rm", "far").err
    refused(with_hub("zoo", "rm", "busi-resnet9"), 2, "comes with package mammozoo_resnet9")


def test_nothing_is_downloaded_unasked_or_where_nobody_listens(far: Far, with_hub) -> None:
    refused(with_hub("predict", "--example", "--model", "far"), 3, "mammozoo zoo pull far")
    assert far.hub.requests == []
    far.hub.stop()
    refused(with_hub("zoo", "pull", "far"), 5, far.hub.endpoint, "efused")


Fault = tuple[str, str, Any]
#: What the Hub does, as whom it is asked, the exit code, and words of the message.
FAILURES: dict[str, tuple[list[Fault], dict[str, str | None], int, tuple[str, ...]]] = {
    "never answers": ([(".", "silent", None)], {}, 5, ("nothing within 5 seconds", "HF_HUB_OFFLINE=1")),
    "never answers about the file": ([("HEAD .*/resolve/", "silent", None)], {}, 5, ("nothing within 5 seconds",)),
    "503": ([("/api/models/", "status", 503)], {}, 5, ("it answered 503",)),
    "429": ([("/api/models/", "status", 429)], {}, 5, ("it answered 429",)),
    "500 on the weights": ([("GET /blob/", "status", 500)], {}, 5, ("'model.safetensors' of 'lab/far'", "500")),
    "403": ([("/api/models/", "status", 403)], {}, 4, ("403",)),
    "a token that is none": ([], {"HF_TOKEN": "hf_nobodys"}, 4, ("HF_TOKEN", "401", "public models need none")),
    "a proxy that eats headers": ([("HEAD .*/resolve/", "strip", "X-Repo-Commit")], {}, 5, ("did not give",)),
    "dropped for ever": ([("GET /blob/", "drop", 1000)], {}, 5, ("'model.safetensors' of 'lab/far'",)),
    "offline": ([], {"HF_HUB_OFFLINE": "1"}, 5, ("HF_HUB_OFFLINE is set", "zoo export", "MAMMOZOO_ZOO")),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_failures(far: Far, with_hub, tmp_path, case: str) -> None:
    faults, more, code, words = FAILURES[case]
    for pattern, kind, value in faults:
        far.hub.fault(pattern, kind, value)  # type: ignore[arg-type]
    started = time.monotonic()
    refused(with_hub("zoo", "pull", "far", **more), code, *words)
    assert time.monotonic() - started < 40
    assert not (far.snapshot(tmp_path / "hf") / "model.safetensors").exists()
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("how", "user", "code", "words"),
    [
        ({"private": True}, None, 4, "If it is private, log in first"),
        ({"private": True}, "bob", 3, "that your token may see"),
        ({"gated": True}, None, 4, "asks for access first"),
        ({"gated": True}, "bob", 4, "asks for access first"),
    ],
)
def test_not_for_everybody(far, with_hub, how: dict[str, bool], user: str | None, code: int, words: str) -> None:
    far.publish(**how)
    refused(with_hub("zoo", "pull", "far", user=user), code, words, "lab/far")


def test_what_the_hub_has_is_another_thing(far: Far, with_hub, tmp_path) -> None:
    other = far.entry["files"] | {"model.safetensors": {"sha256": "0" * 64, "size": len(CONTENT["model.safetensors"])}}
    far.write(files=other)
    refused(with_hub("zoo", "pull", "far"), 6, "differs from the file that the zoo lists", "Nothing was downloaded")
    assert not far.hub.asked("resolve|blob"), "seen before anything was downloaded"
    far.write(files=far.entry["files"] | {"LICENSE": {"sha256": "0" * 64, "size": 1}})
    refused(with_hub("zoo", "pull", "far"), 3, "no file 'LICENSE'")
    far.write(source={"hub": "lab/far", "revision": "b" * 40})
    refused(with_hub("zoo", "pull", "far"), 3, "has no commit", "rewritten")
    far.write(withdrawn="it was trained on test images")
    refused(with_hub("zoo", "pull", "far"), 3, "withdrawn: it was trained on test images")
    answer = with_hub("zoo", "pull", f"hub:lab/far@{far.commit}")
    refused(answer, 3, "withdrawn: it was trained on test images")
    far.write(requires=">=99")
    refused(with_hub("zoo", "pull", "far"), 7, "needs mammozoo >=99")
    refused(with_hub("zoo", "pull", "fra"), 3, "Did you mean 'far'?")
