"""Kill training, pulling, putting and pushing at random moments, alone and in company, and look for what is lost.

    python benchmarks/soak.py --kills 200 [--what train pull put push] [--processes 1 2 3]

Processes that do the same thing begin together; one of them, drawn at random, is killed (kill -9) at a random moment. Those
that pull, put or push must do so all the same; one that trained ends the others of its team. Then whatever is listed anywhere is
compared with its promised bytes, the work is done again to its end, and compared with that of nobody who was killed. The Hub is
the server of the tests. Processes are forked, so that no time goes into imports. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "zoo")]

from far import CONTENT, Far  # noqa: E402
from hub_server import Hub  # noqa: E402
from kill_and_resume import WORDS, differences  # noqa: E402

Members = list[tuple[list[object], dict[str, str]]]  # the words and further variables of each process
PUBLISH = ["--license", "Apache-2.0", "--allow-stamped", "--yes"]


class Soak:
    """One folder, one Hub, and what was found."""

    def __init__(self, folder: Path, hub: Hub, seed: int):
        self.folder, self.hub, self.rng = folder, hub, random.Random(seed)
        self.far = Far(hub, folder / "far")
        self.far.publish()
        self.home = Path(os.environ["HF_HOME"])

    def begin(self, members: Members) -> list[int]:
        """Start all of them at once; their process ids. What they say is in `log-N`."""
        gate, go = os.pipe()
        pids = []
        for number, (words, variables) in enumerate(members):
            pid = os.fork()
            if pid == 0:
                os.close(go)
                code = 70
                with contextlib.suppress(BaseException):
                    os.chdir(self.folder)
                    log = os.open(f"log-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                    os.dup2(log, 1)
                    os.dup2(log, 2)
                    os.environ |= variables
                    os.read(gate, 1)
                    code = command(words)
                os._exit(code)
            pids.append(pid)
        os.close(gate)
        os.close(go)  # the end of the file is the start of all
        return pids

    def run(self, members: Members) -> list[int]:
        """All of them to their ends; their exit codes."""
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.begin(members)]

    def kill_one(self, members: Members, longest: float, team: bool) -> tuple[bool, list[int]]:
        """(whether the one that was drawn was at work, the exit codes of the others); a team is ended, as by torch's launcher."""
        pids = self.begin(members)
        time.sleep(self.rng.uniform(0, longest))
        victim = self.rng.choice(pids)
        hit = os.waitpid(victim, os.WNOHANG)[0] == 0
        if hit:
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
        others = [pid for pid in pids if pid != victim]
        for number in (signal.SIGTERM, signal.SIGKILL) if team and hit else ():
            for pid in others:
                os.kill(pid, number)  # until it is waited for, its number is nobody else's
            time.sleep(1)
        return hit, [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in others]

    def said(self) -> str:
        """The last lines of all processes."""
        return " | ".join(path.read_text()[-300:] for path in sorted(self.folder.glob("log-*")))


def command(words: Sequence[object]) -> int:
    """`mammozoo WORDS` in this process; its exit code."""
    from mammozoo import cli

    sys.argv = ["mammozoo", *map(str, words)]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def train(soak: Soak, size: int) -> Iterator[tuple[Members, bool, Callable[[], list[str]]]]:
    """A team of `size` at one run, which is killed up to five times and resumed."""

    def team(words: list[object]) -> Members:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        places = [
            {"RANK": str(n), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            for n in range(size)
        ]
        return [(words, place if size > 1 else {}) for place in places]

    words = [*WORDS, "--batch", 12]
    whole, run = soak.folder / f"whole-{size}", soak.folder / "run"
    if any(soak.run(team(["train", *words, "--out", whole]))):
        raise RuntimeError(soak.said())

    def check() -> list[str]:
        if not (run / "run.json").exists():
            return []
        if '"done"' not in (run / "run.json").read_text() and any(
            soak.run(team(["train", "--resume", run, "--no-report"]))
        ):
            return [f"not resumed: {soak.said()}"]
        wrong = differences(run, whole)
        return wrong + [path.name for path in run.rglob(".*.tmp")]

    while True:
        shutil.rmtree(run, ignore_errors=True)
        for number in range(5):
            begun = (run / "run.json").exists()
            if begun and '"done"' in (run / "run.json").read_text():
                break
            # Every complete file of a run is readable at any moment; only the last kill of a run is followed by its end.
            yield (
                team(["train", "--resume", run, "--no-report"] if begun else ["train", *words, "--out", run]),
                False,
                (check if number == 4 else lambda: _unreadable(run)),
            )
        if (run / "run.json").exists() and (wrong := check()):
            raise RuntimeError(f"a run that was killed differs: {wrong}")


def _unreadable(run: Path) -> list[str]:
    from safetensors import safe_open

    wrong = []
    for path in run.rglob("*.*"):
        if path.suffix not in (".json", ".safetensors") or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            else:
                with safe_open(path, "pt"):
                    pass
        except Exception as error:
            wrong.append(f"{path.name}: {error}")
    return wrong


def pull(soak: Soak, size: int) -> Iterator[tuple[Members, bool, Callable[[], list[str]]]]:
    """All of them pull one model into one cache."""
    members: Members = [(["zoo", "pull", "far"], {"MAMMOZOO_ZOO": str(soak.far.folder)})] * size
    snapshot = soak.far.snapshot(soak.home)

    def check() -> list[str]:
        wrong = [f"half written: {path.name}" for path in snapshot.glob("*") if path.read_bytes() != CONTENT[path.name]]
        if any(soak.run(members[:1])) or {path.name for path in snapshot.iterdir()} != CONTENT.keys():
            wrong.append(f"not pulled again: {soak.said()}")
        if any(soak.run([(["zoo", "clean"], {})])) or list(soak.home.rglob("*.incomplete")):
            wrong.append("left behind: a part of a download")
        return wrong

    while True:
        shutil.rmtree(soak.home / "hub", ignore_errors=True)
        yield members, True, check


def put(soak: Soak, size: int) -> Iterator[tuple[Members, bool, Callable[[], list[str]]]]:
    """Each puts a model of another name into one directory zoo, which grows."""
    from mammozoo.files import sha256
    from mammozoo.zoo.entry import FolderSource, read_zoo

    zoo, names = soak.folder / f"zoo-{size}", list[str]()

    def members(new: list[str]) -> Members:
        return [(["zoo", "push", soak.folder / "model", "--to", zoo, "--name", name, *PUBLISH], {}) for name in new]

    def check() -> list[str]:
        wrong = [f"not put again: {soak.said()}"] if any(soak.run(members(names[-size:]))) else []
        listed = {entry.name: entry for entry in read_zoo(zoo / "zoo.yaml").models}
        wrong += [f"lost: {name}" for name in names if name not in listed]
        for entry in listed.values():
            assert isinstance(entry.source, FolderSource)
            folder = entry.source.folder(zoo / "zoo.yaml")
            wrong += [
                f"half written: {entry.name}/{n}"
                for n, file in entry.files.items()
                if sha256(folder / n) != file.sha256
            ]
        sums = (zoo / "SHA256SUMS").read_text().split()
        return wrong + ([] if sums[0] == sha256(zoo / "zoo.yaml") else ["SHA256SUMS is not of this zoo.yaml"])

    while True:
        names += [f"m{len(names) + n}" for n in range(size)]
        yield members(names[-size:]), True, check


def push(soak: Soak, size: int) -> Iterator[tuple[Members, bool, Callable[[], list[str]]]]:
    """All of them push one version to one repository."""
    number = 0

    def check() -> list[str]:
        repository, tag = f"lab/pushed-{size}-{number}", "v1.0.0"
        wrong = [f"not pushed again: {soak.said()}"] if any(soak.run(members[:1])) else []
        repo = soak.hub.repos[repository]
        tree = repo.at(tag).tree if tag in repo.tags else {}
        weights = (soak.folder / "model" / "model.safetensors").read_bytes()
        if (
            not {"README.md", "config.json", "model.safetensors"} <= tree.keys()
            or tree["model.safetensors"].data != weights
        ):
            wrong.append(f"half published: {sorted(tree)}")
        return wrong

    while True:
        number += 1
        words = [
            "zoo",
            "push",
            soak.folder / "model",
            "--repo",
            f"lab/pushed-{size}-{number}",
            "--name",
            "pushed",
            *PUBLISH,
        ]
        members: Members = [(words, {})] * size
        yield members, True, check


def main() -> int:
    """Exit code 1 if anything was lost, half written or not as it would have been."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--what", nargs="+", default=["train", "pull", "put", "push"])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder, hub = Path(tempfile.mkdtemp()), Hub()
    os.environ |= hub.environment(folder / "hf", "alice") | {
        "OMP_NUM_THREADS": "1",
        "MAMMOZOO_CACHE": str(folder / "cache"),
    }
    os.environ["HF_HUB_OFFLINE"] = "0"
    import albumentations  # noqa: F401 - what commands import is imported once
    import huggingface_hub
    import sklearn.metrics  # noqa: F401
    import timm  # noqa: F401

    import mammozoo.training.experiment  # noqa: F401

    assert hub.endpoint == huggingface_hub.constants.ENDPOINT
    soak = Soak(folder, hub, given.seed)
    words = "train --dataset phantom:n=60 --backbone test_resnet --weights random --device cpu --no-report --epochs 1 --out model"
    least: list[object] = [*words.split(), "--set", "size=64"]
    if any(soak.run([(least, {})])):
        raise RuntimeError(soak.said())
    cells = [(what, size) for what in given.what for size in given.processes]
    works: dict[str, Any] = {"train": train, "pull": pull, "put": put, "push": push}
    print(
        "| what | processes | kills | tries | others failed | lost or half written |\n|---|---|---|---|---|---|",
        flush=True,
    )
    bad = 0
    for number, (what, size) in enumerate(cells):
        wanted = given.kills // len(cells) + (number < given.kills % len(cells))
        count: Counter[str] = Counter()
        rounds = works[what](soak, size)
        longest = 3.0 if what == "train" else 0.0
        while count["kills"] < wanted:
            members, go_on, check = next(rounds)
            if not longest:  # how long it takes when nobody is killed
                begin = time.monotonic()
                soak.run(members)
                longest = time.monotonic() - begin
                wrong: list[str] = check()
            else:
                hit, codes = soak.kill_one(members, longest, team=not go_on)
                count["tries"] += 1
                count["kills"] += hit
                # Of several that push one version at once, one that loses says so, and nothing of the other's is changed.
                if go_on and set(codes) - ({0, 9} if what == "push" else {0}):
                    count["failed"] += 1
                    print(f"  {what}, {size}: another one failed: {codes} {soak.said()}", flush=True)
                wrong = check()
            if wrong:
                count["wrong"] += 1
                print(f"  {what}, {size}: {wrong}", flush=True)
        bad += count["failed"] + count["wrong"]
        print(
            f"| {what} | {size} | {count['kills']} | {count['tries']} | {count['failed']} | {count['wrong']} |",
            flush=True,
        )
    hub.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
