"""Where hostile inputs are tried: a process of its own, a folder that is new for each, and what no input may bring about."""

import contextlib
import io
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mammozoo import cli, errors
from mammozoo.errors import MammozooError

from ..helpers import Answer
from .pictures import GREY
from .readers import files

SECONDS, BYTES = 10.0, 1.5e9  # of the processor, and of memory above the start
CODES = {0, 1} | {
    kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MammozooError)
}
#: What a terminal would obey.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
#: What a library says, and Python for it.
_NOISE = re.compile(r"Traceback|\.py:\d+|Warning: |warnings\.warn|Decode: |^\s+File \"", re.MULTILINE)
_GREY = np.stack([np.roll(GREY, shift, 1) for shift in range(16)])


class House:
    """A folder `work` to try things in; a complete `run` and two `good` pictures, with answers, that nothing may change."""

    def __init__(self, folder: Path, run: Path):
        self.folder, self.run, self.work = folder, run, folder / "work"
        self.late = False
        self.good = folder / "good"
        self.good.mkdir(parents=True)
        for number in range(2):
            Image.fromarray(_GREY[number]).resize((96, 80)).save(self.good / f"{number}.png")
        self.files = files(folder / "files", run)
        (folder / "home").mkdir()
        os.environ |= {"HOME": str(folder / "home"), "MAMMOZOO_DEBUG": ""}
        sys.stdin = io.StringIO()
        for number, name in ((1, "stdout"), (2, "stderr")):  # C libraries write there, too
            os.dup2(os.open(folder / name, os.O_RDWR | os.O_CREAT), number)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        signal.signal(signal.SIGVTALRM, self._too_late)
        signal.signal(signal.SIGALRM, self._too_late)
        self.kept = self.state(folder / "good") | self.state(run)
        self.answers = {}
        answer = self.command("predict", self.good, "--model", run, "--json")
        self.answers = {Path(one["file"]).name: one["probabilities"] for one in json.loads(answer.out)["results"]}

    def _too_late(self, number: int, frame: object) -> None:
        self.late = True
        raise TimeoutError("this input takes too long")

    @contextlib.contextmanager
    def trial(self) -> Iterator[None]:
        """A new empty folder as the current one; afterwards what may not change has not."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        os.chdir(self.work)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
        before, start, self.late = _memory("VmRSS"), time.process_time(), False
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 12 * SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert not self.late, f"more than {SECONDS} s"
        assert (took := time.process_time() - start) < SECONDS, f"{took:.1f} s"
        assert (grown := _memory("VmHWM") - before) < BYTES, f"{grown / 1e9:.1f} GB"

    def copy(self, name: str = "run") -> Path:
        """A copy of the run, of links: replace its files, never write into them."""
        return Path(shutil.copytree(self.run, self.work / name, copy_function=os.link))

    def put(self, path: Path, content: bytes) -> Path:
        """Write a file anew."""
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return path

    @staticmethod
    def state(folder: Path) -> dict[Path, tuple[int, ...]]:
        """What changes when a file is written or replaced, of every file."""
        found = {path: path.lstat() for path in folder.rglob("*") if not path.is_dir()}
        return {path: (one.st_ino, one.st_size, one.st_mtime_ns) for path, one in found.items()}

    def read(self, read: Callable[[Path], object], path: Path, refusals: tuple[type[MammozooError], ...]) -> bool:
        """Whether a file is read, or refused with one paragraph, and perhaps a tree of files, indented."""
        try:
            read(path)
        except refusals as error:
            assert all(line.startswith("  ") for line in str(error).splitlines()[1:]), error
            return False
        return True

    def command(self, *words: object, codes: set[int] = CODES, writes: str = "") -> Answer:
        """`mammozoo WORDS` in this process; nothing is replaced except in a folder `writes`."""
        before = self.state(self.work) if self.work.exists() else {}
        places = [os.lseek(number, 0, os.SEEK_END) for number in (1, 2)]
        sys.argv, code = ["mammozoo", *map(str, words)], 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush(), sys.stderr.flush()
        out, err = (
            os.pread(number, 10**8, place).decode("utf-8", "backslashreplace")
            for number, place in zip((1, 2), places, strict=True)
        )
        answer, shown = Answer(code, out, err), f"{code} {words}: {out[-300:]} {err[-1500:]}"
        assert code in codes, shown + _last_crash()
        assert not _NOISE.search(err) and "Traceback" not in out, shown
        assert not (found := _CONTROLS.search(out + err)), f"{found} {shown}"
        if code > 1:
            last = next((line for line in reversed(err.splitlines()) if line.strip() and not line.startswith("  ")), "")
            assert last.startswith("mammozoo: ") or re.search(r"^Error: |^Usage: ", err, re.MULTILINE), shown
        after = self.state(self.work) if self.work.exists() else {}
        gone = {
            path
            for path, facts in before.items()
            if after.get(path) != facts and not (writes and self.work / writes in path.parents)
        }
        assert not gone, f"changed or lost: {gone} {shown}"
        return answer

    def check_kept(self) -> None:
        """Nothing outside of the folder for trials has changed."""
        assert self.state(self.good) | self.state(self.run) == self.kept

    def check_results(self, answer: Answer, *, same: bool = False) -> None:
        """Of each file `predict --json` has a label with probabilities or an error; of the `same` model the good ones' as alone."""
        results = {Path(one["file"]).name: one for one in json.loads(answer.out)["results"]}
        for one in results.values():
            p = one["probabilities"] or {}
            assert (one["error"] is None) == bool(p) == (one["label"] in p), one
            assert not p or (math.isclose(sum(p.values()), 1, abs_tol=1e-6) and min(p.values()) >= 0), one
        assert answer.code == int(any(one["error"] for one in results.values())), answer.err
        if same:
            assert {name: results[name]["probabilities"] for name in self.answers} == self.answers


def generated(house: House, rng: random.Random, *kinds: str) -> tuple[str, Path]:
    """One of these kinds, and a file of it in the folder for trials."""
    kind = rng.choice(kinds)
    name, content = house.files[kind].generate(rng)
    return kind, house.put(house.work / Path(name).name, content)


def one_file(house: House, rng: random.Random, *kinds: str) -> None:
    """A file of one of these kinds is read or refused, in the place where it belongs."""
    kind = house.files[rng.choice(kinds)]
    name, content = kind.generate(rng)
    path = house.folder / "files" / name
    before = path.read_bytes() if path.exists() else None
    try:
        house.read(kind.read, house.put(path, content), kind.refusals)
    finally:
        path.unlink() if before is None else path.write_bytes(before)


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def _last_crash() -> str:
    """The traceback of the last bug."""
    files = sorted(Path(os.environ["MAMMOZOO_CACHE"]).glob("crash-*.txt"), key=lambda path: path.stat().st_mtime_ns)
    return "\n" + files[-1].read_text()[-2500:] if files else ""


def inhabit(
    folder: Path,
    run: Path,
    kind: Callable[[House, random.Random], None],
    name: str,
    numbers: range,
    seed: str,
    found: Path,
) -> None:
    """Try inputs one after the other; write a line of JSON into `found` before each, and one for what went wrong."""
    house = House(folder, run)
    with found.open("a") as log:
        for number in numbers:
            log.write(json.dumps({"number": number}) + "\n")
            log.flush()
            try:
                with house.trial():
                    kind(house, random.Random(f"{seed} {name} {number}"))
                house.check_kept()
            except BaseException:
                log.write(json.dumps({"number": number, "wrong": traceback.format_exc()[-6000:]}) + "\n")
                log.flush()
        os.chdir("/")
        log.write(json.dumps({"done": len(numbers), "seconds": round(time.process_time(), 1)}) + "\n")
