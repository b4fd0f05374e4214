"""The pages about writing plugins do what they say: their files are written, their commands run, their output compared."""

import importlib
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mammozoo import plugins
from mammozoo.plugins import registry

from .helpers import python

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
Install = Callable[..., Path]


class Reader:
    """Somebody who follows a page from top to bottom, in an empty folder."""

    def __init__(self, folder: Path, command: Any, install: Install):
        self.folder, self.site = folder, folder / "site"
        self.command, self.install = command, install
        self.files: dict[str, str] = {}
        self.lines_run: dict[Path, set[int]] = {}

    def follow(self, page: str) -> None:
        """Write each file and run each command, in the order in which they stand there."""
        for language, title, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
            if title:
                self.files[title] = text
                (self.folder / title).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / title).write_text(text, encoding="utf-8")
            elif language == "console":
                for typed in text.split("$ ")[1:]:
                    line, _, shown = typed.partition("\n")
                    same(self.run(shlex.split(line)), shown, line)

    def run(self, words: list[str]) -> str:
        """What a command prints."""
        start_anew()
        if words[:3] == ["pip", "install", "-e"]:
            self.install(self.site, self.folder / words[3])
            return ""
        if words[:2] == ["python", "-m"]:
            return python(*words[1:]).out
        assert words[0] == "mammozoo"
        with self.watched(words[1] == "train" and "--epochs" not in words):  # tracing makes a command many times slower
            answer = self.command(*words[1:])
        assert "Traceback" not in answer.err
        return str(answer.err + answer.out)

    @contextmanager
    def watched(self, watch: bool) -> Iterator[None]:
        """Note which lines of installed files run meanwhile."""
        before = sys.gettrace()

        def each_line(frame: types.FrameType, event: str, _: Any) -> Any:
            self.lines_run.setdefault(Path(frame.f_code.co_filename), set()).add(frame.f_lineno)
            return each_line

        def each_call(frame: types.FrameType, event: str, argument: Any) -> Any:
            return each_line(frame, event, argument) if frame.f_code.co_filename.startswith(str(self.site)) else None

        if watch:
            sys.settrace(each_call)
        try:
            yield
        finally:
            sys.settrace(before)


def same(printed: str, shown: str, command: str) -> None:
    """All that is shown was printed, apart from numbers and spaces; without `…`, nothing else was."""
    have, want = words_of(printed), words_of(shown)
    for line in want:
        assert line == "…" or line in have, f"{command}\ndid not print\n{line}\nbut\n{printed}"
    if "…" not in want:
        assert sorted(have) == sorted(want), command  # a terminal shows the two streams as one


def words_of(text: str) -> list[str]:
    lines = (re.sub(r"[+-]?\d+(\.\d+)?", "0", " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if line]


def start_anew() -> None:
    """As in a new process: nothing is known of plugins."""
    registry.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith(("mammozoo_norms", "mammozoo_file_"))]:
        del sys.modules[name]


@pytest.fixture
def reader(tmp_path, command, pip_install, monkeypatch) -> Iterator[Reader]:
    monkeypatch.setenv("MAMMOZOO_PLUGINS", "norms")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", "")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield Reader(tmp_path, command, pip_install)
    start_anew()


def lines_with_code(file: Path) -> set[int]:
    """The lines of a module that can run, of all its functions."""
    found: set[int] = set()
    waiting = [compile(file.read_text(encoding="utf-8"), str(file), "exec")]
    while waiting:
        code = waiting.pop()
        found |= {line for _, _, line in code.co_lines() if line}
        waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return found


def test_the_tutorial_leads_to_a_strategy_and_the_next_page_to_a_zoo(reader: Reader) -> None:
    reader.follow("writing-a-plugin.md")
    own = [line for text in reader.files.values() for line in text.splitlines() if line.strip()]
    assert len(own) < 50
    assert f"four files and {len(own)} lines" in (DOCS / "writing-a-plugin.md").read_text(encoding="utf-8")
    assert len(reader.files) == 4
    for module in (reader.site / "mammozoo_norms").glob("*.py"):
        missing = lines_with_code(module) - reader.lines_run[module]
        assert not missing, f"{module.name}: lines {sorted(missing)} never ran"

    reader.follow("plugin-start.md")
    reader.follow("publishing-a-plugin.md")
    assert (reader.site / "mammozoo_norms" / "zoo" / "models").is_dir(), "the wheel has the model"


def test_one_of_each_kind(reader: Reader) -> None:
    phantom = registry().get("datasets", "phantom")(n=60)
    for number, sample in enumerate(phantom.samples()):
        file = reader.folder / f"images/patient-{number // 2:04d}/{sample.label}_{number % 2}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.read(sample)).save(file)
    reader.follow("plugin-kinds.md")
    assert len((reader.folder / "diary.csv").read_text(encoding="utf-8").splitlines()) == 1

    modules = [Path(name).stem for name in reader.files if name.endswith(".py")]
    assert len(modules) == 12
    for module in modules:
        files = [
            word
            for name in ("hospital", "tinynet", "maximum", "speckle", "gmean")
            for word in ("--plugin", f"{name}.py")
        ]
        mine = [] if f"{module}.py" in files else ["--plugin", f"{module}.py"]
        start_anew()
        assert reader.command(*files, *mine, "plugins", "check", module, "--root", "images").ok
    assert plugins.registry is registry
