"""The packages of examples/: installed as a user installs them, they keep the contract, pass their tests and train."""

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .helpers import Answer
from .helpers import python as run_python

EXAMPLES = Path(__file__).parents[1] / "examples"
#: Package → plugin.
PACKAGES = {f"mammozoo-{name}": name for name in ("example", "peft", "transformers", "optuna")}
HAS_PEFT = importlib.util.find_spec("peft") is not None


def needing(library: str, package: str) -> object:
    """The package as a parameter, skipped without the library that it is for."""
    lacking = importlib.util.find_spec(library) is None
    return pytest.param(
        package, marks=pytest.mark.skipif(lacking, reason=f"needs the library {library}: pip install {library}")
    )


Python = Callable[..., Answer]


@pytest.fixture(scope="module")
def python(pip_install, tmp_path_factory) -> Python:
    """`python WORDS` in an empty folder, with all packages installed into a folder of their own."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    pip_install(site, *(EXAMPLES / package for package in PACKAGES))
    here = {"PYTHONPATH": str(site), "MAMMOZOO_PLUGINS": ",".join(PACKAGES.values())}
    return functools.partial(run_python, cwd=folder, **here)


@pytest.mark.parametrize(
    "package", ["mammozoo-example", *(needing(name, f"mammozoo-{name}") for name in ("peft", "transformers", "optuna"))]
)
def test_its_own_tests_pass(package: str, python: Python) -> None:
    """Those of the contract too, with the options that a user gets by default."""
    words = ["-q", "-p", "no:cacheprovider", "-k", "not with_options and not other_networks"]
    done = python("-m", "pytest", *words, EXAMPLES / package)
    assert "skipped" not in done.ok.out, "every check of the contract can be made"


def test_everything_in_one_training(python: Python, tmp_path) -> None:
    strategy = "peft-ia3+example-norms" if HAS_PEFT else "example-norms"
    done = python(
        "-m", "mammozoo", "train", "--dataset", "example-shapes:patients=20", "--backbone", "example-net", "--weights", "random",
        "--head", "example-max:dropout=0.1", "--strategy", strategy, "--epochs", 1, "--device", "cpu", "--no-report",
        "--set", "monitor=example-youden", "--set", "augment=[example-speckle]", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.ok
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    brought = {"mammozoo-example", "mammozoo-peft"} if HAS_PEFT else {"mammozoo-example"}
    assert brought <= facts["plugins"].keys()
    assert "example-youden" in facts["scores"]
