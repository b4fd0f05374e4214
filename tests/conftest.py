"""Fixtures that many tests share: a run trained once, optional local data, the command line in two ways."""

import atexit
import contextlib
import functools
import importlib.metadata
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the network by accident
os.environ["OMP_NUM_THREADS"] = "1"  # tiny networks gain nothing from threads, and neighbours lose much
os.environ["MAMMOZOO_CACHE"] = tempfile.mkdtemp(prefix="mammozoo-tests-")  # nobody's own cache is touched
os.environ["MAMMOZOO_PLUGINS"] = ""  # what else is installed on this machine is not under test
# The card is for the tests in tests/gpu; under pytest-xdist it has been hidden before.
os.environ.setdefault("MAMMOZOO_TEST_CARD", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a card gives other bytes than the processor does

import torch
from PIL import Image

from mammozoo import cli, plugins
from mammozoo.config.loading import load
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory

from .helpers import Answer, python

torch.set_num_threads(1)
atexit.register(shutil.rmtree, os.environ["MAMMOZOO_CACHE"], ignore_errors=True)

#: A recipe that trains in two seconds.
TINY = {
    "dataset": "phantom:n=60",
    "backbone": "test_resnet",
    "weights": "random",
    "size": 64,
    "epochs": 1,
    "augment": ["hflip"],
}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One small complete run; read it, never change it."""
    return train(load(None, TINY), tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The flags of a training of two seconds."""
    words = "--dataset phantom:n=60 --backbone test_resnet --weights random --epochs 1 --device cpu --no-report"
    return [*words.split(), "--set", "size=64", "--set", "augment=[hflip]"]


@pytest.fixture(scope="session")
def local_data() -> Path:
    """The folder of optional local data: real images and weights."""
    folder = os.environ.get("MAMMOZOO_TEST_DATA")
    if not folder or not (Path(folder) / "data" / "busi").is_dir():
        pytest.skip("needs real images: set MAMMOZOO_TEST_DATA to a folder with data/busi and weights/")
    return Path(folder)


@pytest.fixture
def mammozoo(tmp_path: Path) -> Callable[..., Answer]:
    """The command line in a process of its own, in an empty folder."""

    return functools.partial(python, "-m", "mammozoo", cwd=tmp_path)


Command = Callable[..., Answer]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`mammozoo.cli.main` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["mammozoo", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> torch.Generator:
    """The generator of a graphics card that is not there."""
    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "manual_seed", generator.manual_seed)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generator.get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generator.set_state(state))
    return generator


@pytest.fixture(scope="session")
def pip_install() -> Callable[..., Path]:
    """Builds and installs packages by pip, without a network and into a folder of their own, to be put on `PYTHONPATH`."""

    def install(site: Path, *packages: Path) -> Path:
        words = "-m pip install --quiet --disable-pip-version-check --no-deps --no-index --upgrade --no-build-isolation"
        assert python(*words.split(), "--target", site, *packages).ok
        return site

    return install


class Shelf:
    """Folders that look to Python like installed distributions."""

    def __init__(self, folder: Path):
        self.folder = folder

    def install(
        self, name: str, source: str, version: str = "1.2", module: str | None = None, entry: str | None = None
    ) -> None:
        """The distribution `name` with one module, which is the plugin of the same name (or as the lines `entry` say)."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        module = module or name.replace("-", "_")
        (info / "entry_points.txt").write_text(f"[mammozoo]\n{entry or f'{name} = {module}'}\n")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))

    def remove(self, name: str) -> None:
        """Uninstall the distribution `name`; its module is forgotten."""
        module = name.replace("-", "_")
        for info in self.folder.glob(f"{module}-*.dist-info"):
            shutil.rmtree(info)
        (self.folder / f"{module}.py").unlink()
        sys.modules.pop(module, None)

    def entries(self) -> list[importlib.metadata.EntryPoint]:
        """What `importlib.metadata` finds on the shelf."""
        found = importlib.metadata.distributions(path=[str(self.folder)])
        return sorted((entry for dist in found for entry in dist.entry_points), key=lambda e: (e.name, e.value))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """An empty shelf on `sys.path`; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Shelf(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def run_copy(tiny_run: RunDirectory, tmp_path: Path) -> Path:
    """A copy of `tiny_run` that a test may change."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "copy"))


@pytest.fixture
def from_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Loads a plugin from its source, as `--plugin` does; gives its name."""

    def install(source: str, name: str = "made_here") -> str:
        file = tmp_path / f"{name}.py"
        file.write_text(textwrap.dedent(source))
        monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(file))
        plugins.registry.cache_clear()
        return name

    yield install
    plugins.registry.cache_clear()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The first eight phantoms of `tiny_run` as PNG files, in a folder `pictures`."""
    dataset = plugins.registry().get("datasets", "phantom")(None, n=60)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for sample in dataset.samples()[:8]:
        Image.fromarray(dataset.read(sample)).save(folder / f"{sample.image}.png")
    return folder


@pytest.fixture
def fresh() -> Iterator[Callable[[], plugins.Registry]]:
    """`plugins.registry` asked anew; afterwards the usual one comes back."""

    def ask() -> plugins.Registry:
        plugins.registry.cache_clear()
        return plugins.registry()

    yield ask
    plugins.registry.cache_clear()
