"""What the tests' Hub keeps and says: users, repositories with their commits, requests and answers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

#: Who there is: token → user, organisation → members.
TOKENS = {"hf_token-of-alice-0123456789": "alice", "hf_token-of-bob-0123456789": "bob"}
ORGANISATIONS = {"lab": {"alice"}, "other": {"bob"}}
_LARGE = (".safetensors", ".bin", ".pt", ".onnx")


class RefusalError(Exception):
    """An answer that is an error, as the Hub words it: `X-Error-Code` is what the client goes by."""

    def __init__(self, status: int, message: str, code: str = "", **more: Any):
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more


@dataclass(frozen=True)
class Request:
    """A request that came in. `token` tells whether it carried one, never which."""

    port: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    token: bool

    def __str__(self) -> str:
        return f"{self.port} {self.method} {self.path}"


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, content: Any, status: int = 200) -> Self:
        return cls(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Stored:
    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        content = self.pointer if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    def sibling(self, path: str) -> dict[str, Any]:
        lfs = {"lfs": {"sha256": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}}
        return {"rfilename": path, "size": len(self.data), "blobId": self.oid, **(lfs if self.large else {})}


def is_large(path: str, sample: bytes) -> bool:
    return path.endswith(_LARGE) or b"\0" in sample


@dataclass(frozen=True)
class Commit:
    id: str
    parent: str | None
    title: str
    tree: Mapping[str, Stored]


@dataclass
class Repo:
    """A model repository; it starts with one commit that holds `.gitattributes`."""

    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = {".gitattributes": Stored(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)}
        self.commit("main", "initial commit", first)

    def commit(self, branch: str, title: str, tree: Mapping[str, Stored]) -> str:
        parent = self.branches.get(branch)
        content = json.dumps([parent, title, sorted((path, file.oid) for path, file in tree.items())])
        made = Commit(hashlib.sha1(content.encode()).hexdigest(), parent, title, dict(tree))
        self.commits[made.id] = made
        self.branches[branch] = made.id
        return made.id

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit id names."""
        name = self.branches.get(revision) or self.tags.get(revision) or revision
        if name not in self.commits:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[name]

    def file(self, revision: str, path: str) -> tuple[Commit, Stored]:
        commit = self.at(revision)
        if path not in commit.tree:
            raise RefusalError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.id})
        return commit, commit.tree[path]

    def may_write(self, user: str | None) -> bool:
        owner = self.id.split("/")[0]
        return user is not None and (user == owner or user in ORGANISATIONS.get(owner, set()))

    def info(self, revision: str, blobs: bool) -> dict[str, Any]:
        """As `GET /api/models/{id}` tells it."""
        commit = self.at(revision)
        return {
            "id": self.id, "modelId": self.id, "author": self.id.split("/")[0], "sha": commit.id,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
            "private": self.private, "gated": "manual" if self.gated else False, "disabled": False,
            "tags": [], "downloads": 0, "likes": 0,
            "siblings": [
                file.sibling(path) if blobs else {"rfilename": path} for path, file in sorted(commit.tree.items())
            ],
        }  # fmt: skip
