"""The routes of the tests' Hub: which request gets which answer."""

import base64
import hashlib
import json
import re
import secrets
from typing import Any
from urllib.parse import unquote

from hub_store import Answer, RefusalError, Repo, Request, Stored, is_large

Hub = Any  # hub_server's, which imports this module


def cdn(hub: Hub, request: Request, body: bytes) -> Answer:
    if request.token:
        raise RefusalError(400, "Only one auth mechanism allowed")
    kind, sha = request.path.strip("/").split("/")
    if kind == "blob" and sha in hub.blobs:
        return Answer(hub.blobs[sha], headers={"Accept-Ranges": "bytes", "ETag": f'"{sha}"'})
    if kind == "upload" and request.method == "PUT":
        word = request.query.get("grant", [""])[0]
        if word not in hub.grants:
            raise RefusalError(403, "no grant")
        if hashlib.sha256(body).hexdigest() != sha:
            raise RefusalError(400, "the SHA-256 differs")
        hub.grants.discard(word)
        hub.blobs[sha] = body
        return Answer()
    raise RefusalError(404, "no such blob")


def api(hub: Hub, request: Request, body: bytes, user: str | None) -> Answer:
    """Everything else. Paths are matched before they are unquoted: a revision may hold a slash."""
    path, method = request.path, request.method
    if path == "/api/validate-yaml":
        return Answer.json({"errors": [], "warnings": []})
    if path == "/api/repos/create":
        return _create(hub, json.loads(body), user)
    if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/(batch|verify)", path):
        return _lfs(hub, _writable(hub, found[1], user), found[2], json.loads(body))
    if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        return _resolve(hub, _visible(hub, found[1], user), unquote(found[2]), unquote(found[3]), user)
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/([a-z-]+)(?:/(.+))?)?", path):
        return _model(hub, found[1], found[2] or "revision", unquote(found[3] or "main"), request, body, user)
    raise RefusalError(404, f"no route for {method} {path}")


def _visible(hub: Hub, name: str, user: str | None) -> Repo:
    repo = hub.repos.get(name)
    if repo is None or (repo.private and not repo.may_write(user)):
        raise RefusalError(404 if user else 401, "Repository not found", "RepoNotFound")
    return repo


def _writable(hub: Hub, name: str, user: str | None) -> Repo:
    repo = _visible(hub, name, user)
    if not repo.may_write(user):
        raise RefusalError(403 if user else 401, "You don't have the rights to write to this repository")
    return repo


def _create(hub: Hub, content: dict[str, Any], user: str | None) -> Answer:
    if user is None:
        raise RefusalError(401, "Invalid username or password.")
    repo = Repo(f"{content.get('organization') or user}/{content['name']}")
    if not repo.may_write(user):
        raise RefusalError(403, "You don't have the rights to create a model under this namespace")
    url = {"url": f"{hub.endpoint}/{repo.id}"}
    with hub.lock:
        if repo.id in hub.repos:
            return Answer.json({"error": "You already created this model repo", **url}, 409)
        repo.private = content.get("visibility") == "private" or bool(content.get("private"))
        hub.repos[repo.id] = repo
    return Answer.json(url)


def _lfs(hub: Hub, repo: Repo, verb: str, content: dict[str, Any]) -> Answer:
    if verb == "verify":
        if len(hub.blobs.get(content["oid"], b"")) != content["size"]:
            raise RefusalError(404, "no such object")
        return Answer.json({})
    objects: list[dict[str, Any]] = []
    for asked in content["objects"]:
        answer: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in hub.blobs:
            hub.grants.add(word := secrets.token_hex(8))  # lets one upload through without a token
            upload = f"{hub.cdn}/upload/{asked['oid']}?grant={word}"
            check = f"{hub.endpoint}/{repo.id}.git/info/lfs/objects/verify"
            answer["actions"] = {"upload": {"href": upload}, "verify": {"href": check}}
        objects.append(answer)
    return Answer.json({"transfer": "basic", "objects": objects})


def _resolve(hub: Hub, repo: Repo, revision: str, path: str, user: str | None) -> Answer:
    if repo.gated and not repo.may_write(user):
        raise RefusalError(403 if user else 401, f"Access to model {repo.id} is restricted", "GatedRepo")
    commit, file = repo.file(revision, path)
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    if not file.large:
        return Answer(file.data, headers=headers)
    headers |= {"Location": f"{hub.cdn}/blob/{file.sha256}", "X-Linked-Etag": f'"{file.sha256}"'}
    del headers["Accept-Ranges"]
    return Answer(status=302, headers=headers | {"X-Linked-Size": str(len(file.data))})


def _model(hub: Hub, name: str, verb: str, rest: str, request: Request, body: bytes, user: str | None) -> Answer:
    if request.method in ("GET", "HEAD"):
        return _read(_visible(hub, name, user), verb, rest, request)
    repo = _writable(hub, name, user)
    content = {} if verb == "commit" or not body else json.loads(body)
    if verb == "preupload":
        return _preupload(repo, rest, content)
    if verb == "commit":
        return _commit(hub, repo, rest, [json.loads(line) for line in body.splitlines() if line.strip()])
    if verb == "tag":
        if content["tag"] in repo.tags:
            raise RefusalError(409, "Tag reference exists already")
        repo.tags[content["tag"]] = repo.at(rest).id
        return Answer.json({})
    raise RefusalError(404, f"no route for {request.method} {request.path}")


def _read(repo: Repo, verb: str, rest: str, request: Request) -> Answer:
    if verb == "revision":
        return Answer.json(repo.info(rest, "blobs" in request.query))
    if verb == "refs":
        listed = {
            kind: [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": sha} for n, sha in refs.items()]
            for kind, refs in (("heads", repo.branches), ("tags", repo.tags))
        }
        return Answer.json({"branches": listed["heads"], "tags": listed["tags"], "converts": []})
    raise RefusalError(404, f"no route for {request.method} {request.path}")


def _preupload(repo: Repo, branch: str, content: dict[str, Any]) -> Answer:
    tree = repo.at(branch).tree
    answers = []
    for file in content["files"]:
        large = is_large(file["path"], base64.b64decode(file["sample"]))
        answer = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if held := tree.get(file["path"]):
            answer["oid"] = held.sha256 if held.large else held.oid
        answers.append(answer)
    return Answer.json({"files": answers})


def _commit(hub: Hub, repo: Repo, branch: str, lines: list[dict[str, Any]]) -> Answer:
    if branch not in repo.branches:
        raise RefusalError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    (header,) = (line["value"] for line in lines if line["key"] == "header")
    with hub.lock:
        if header.get("parentCommit") not in (None, repo.branches[branch]):
            raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.at(branch).tree)
        for key, value in ((line["key"], line["value"]) for line in lines):
            if key == "file":
                tree[value["path"]] = Stored(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in hub.blobs:
                    raise RefusalError(400, f"LFS object {value['oid']} does not exist")
                tree[value["path"]] = Stored(hub.blobs[value["oid"]], True)
            elif key == "deletedFile":
                tree.pop(value["path"], None)
        commit = repo.commit(branch, header["summary"], tree)
    return Answer.json({"commitOid": commit, "commitUrl": f"{hub.endpoint}/{repo.id}/commit/{commit}"})
