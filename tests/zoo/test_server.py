"""The tests' own Hub: the real client believes it, and its faults are the ones that they say they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub

Client = Callable[..., Any]


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Run lines that use `hf` (huggingface_hub) and `api` (its HfApi); what they leave in `result`."""

    def run(code: str, user: str | None = "alice") -> Any:
        script = (
            f"import json, huggingface_hub as hf\napi = hf.HfApi()\n{textwrap.dedent(code)}\nprint(json.dumps(result))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | hub.environment(tmp_path / "hf", user),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    return run


FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 20}


def test_a_round_trip_with_the_real_client(hub: Hub, client: Client) -> None:
    told = client(
        """
        hf.create_repo("lab/m", private=True)
        head = api.model_info("lab/m").sha
        operations = [hf.CommitOperationAdd("a.safetensors", b"large" * 99), hf.CommitOperationAdd("b.txt", b"small")]
        made = api.create_commit("lab/m", operations, commit_message="x", parent_commit=head)
        api.create_tag("lab/m", tag="v1", revision=made.oid)
        again = [hf.CommitOperationAdd("a.safetensors", b"large" * 99), hf.CommitOperationAdd("b.txt", b"small")]
        second = api.create_commit("lab/m", again, commit_message="x")
        info = api.model_info("lab/m", revision="v1", files_metadata=True)
        folder = hf.snapshot_download("lab/m", revision=made.oid)
        read = {p: open(folder + "/" + p, "rb").read().decode() for p in ("a.safetensors", "b.txt")}
        result = {
            "same": [made.oid, second.oid, info.sha], "private": info.private, "read": read,
            "tree": sorted(f.path for f in api.list_repo_tree("lab/m")),
            "lfs": {f.rfilename: f.lfs.sha256 for f in info.siblings if f.lfs}, "me": api.whoami()["name"],
            "tags": [(t.name, t.target_commit) for t in api.list_repo_refs("lab/m").tags],
        }
        """
    )
    assert len(set(told["same"])) == 1, "nothing new is no new commit"
    assert told["private"] and told["me"] == "alice"
    assert told["read"] == {"a.safetensors": "large" * 99, "b.txt": "small"}
    assert told["tree"] == [".gitattributes", "a.safetensors", "b.txt"]
    assert list(told["lfs"]) == ["a.safetensors"] and told["lfs"]["a.safetensors"] in hub.blobs
    assert told["tags"] == [["v1", told["same"][0]]]
    assert hub.asked("cdn PUT") and hub.asked("cdn GET") and not any(r.token for r in hub.asked("^cdn"))


FAILS = """
def fails(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [(None, ["RepositoryNotFoundError", 401]), ("bob", ["RepositoryNotFoundError", 404]), ("alice", None)],
)
def test_who_sees_a_private_model(hub: Hub, client: Client, user: str | None, expected: Any) -> None:
    hub.publish("lab/m", FILES, private=True)
    assert client(FAILS + "result = fails(lambda: api.model_info('lab/m'))", user) == expected


def test_the_clients_exceptions(hub: Hub, client: Client) -> None:
    hub.publish("lab/m", FILES)
    hub.publish("lab/gated", FILES, gated=True)
    told = client(
        FAILS
        + """
one = [hf.CommitOperationAdd("b.txt", b"small")]
stale = "0" * 40
result = {
    "gated": fails(lambda: hf.hf_hub_download("lab/gated", "config.json")),
    "file": fails(lambda: hf.hf_hub_download("lab/m", "nothing")),
    "revision": fails(lambda: api.model_info("lab/m", revision="v9")),
    "write": fails(lambda: api.create_commit("lab/m", one, commit_message="x")),
    "create": fails(lambda: hf.create_repo("lab/new")),
    "token": fails(lambda: api.model_info("lab/m", token="hf_wrong")),
}
""",
        "bob",
    )
    assert told == {
        "gated": ["GatedRepoError", 403], "file": ["RemoteEntryNotFoundError", 404], "revision": ["RevisionNotFoundError", 404],
        "write": ["HfHubHTTPError", 403], "create": ["HfHubHTTPError", 403], "token": ["HfHubHTTPError", 401],
    }  # fmt: skip


def test_a_stale_parent(hub: Hub, client: Client) -> None:
    hub.publish("lab/m", FILES)
    code = "add = [hf.CommitOperationAdd('b.txt', b'x')]\n"
    code += "result = fails(lambda: api.create_commit('lab/m', add, commit_message='x', parent_commit='0' * 40))"
    assert client(FAILS + code) == ["HfHubHTTPError", 412]


def test_faults_are_what_they_say(hub: Hub, client: Client) -> None:
    hub.publish("lab/m", FILES)
    hub.fault("GET /blob/", "corrupt", times=1)
    hub.fault("GET /blob/", "drop", 1000, times=1)
    read = "result = list(open(hf.hf_hub_download('lab/m', 'model.safetensors', force_download=True), 'rb').read())"
    # The drop makes the client ask for the rest or for all of it again; the flipped bit it does not notice.
    content = bytes(client(read))
    assert len(content) == len(FILES["model.safetensors"])
    assert len(hub.asked("cdn GET")) >= 2
    hub.heal()
    assert bytes(client(read)) == FILES["model.safetensors"]
    hub.fault("/api/models/lab/m", "status", 500, times=1)
    assert client(FAILS + "result = fails(lambda: api.model_info('lab/m'))") == ["HfHubHTTPError", 500]
    hub.fault("/api/models/lab/m", "silent", times=1)
    assert client(FAILS + "result = fails(lambda: api.model_info('lab/m', timeout=0.5))") == ["ReadTimeout", None]
    hub.fault("/api/models/lab/m", "call", lambda: hub.publish("lab/m", {"new": b""}), times=1)
    assert "new" in client("result = [f.rfilename for f in api.model_info('lab/m').siblings]")
    hub.stop()
    assert client(FAILS + "result = fails(lambda: api.model_info('lab/m'))")[0] == "ConnectError"
