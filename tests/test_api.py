"""The contract with plugins does not change unnoticed: signatures against a snapshot, the page of hooks against the source."""

import importlib
import inspect
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mammozoo
from mammozoo import errors, hookspecs, testing
from mammozoo.data.splits.leakage import LeakageError

from .helpers import python

ROOT = Path(__file__).parents[1]
SNAPSHOT = (ROOT / "tests" / "api.txt").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "docs" / "api-changes.md").read_text(encoding="utf-8")
HOOKS = [name for name, hook in inspect.getmembers(hookspecs) if hasattr(hook, "mammozoo_spec")]


def load(script: str) -> ModuleType:
    """A script of docs/ as a module; the scripts import each other by their plain names."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module(script)
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("script", ["signatures", "make_hooks"])
def test_snapshot_and_page_are_those_of_the_source(script: str) -> None:
    assert python(ROOT / "docs" / f"{script}.py", "--check").ok


CHANGED = {
    "a hook's argument": ("hookspecs.py", "def run_end(run: RunDirectory)", "def run_end(run: RunDirectory, path: Path)"),
    "a method's argument": ("models/strategy.py", "def lr_scale(self, model: Model) -> M", "def lr_scale(self, net: Model) -> M"),
    "a field's type": ("data/dataset.py", "    patient: str | None = None", "    patient: int | None = None"),
    "a field that goes": ("models/backbone_spec.py", '    default_weights: str = "imagenet"\n', ""),
    "a public name": ("__init__.py", '    "HeadSpec": "mammozoo.models.head",\n', ""),
    "a name of the checks": ("testing/__init__.py", "from mammozoo.testing.check import Result as Result\n", ""),
    "what __init__ sets": ("data/dataset.py", "        self.notes: list[str] = []", "        self.remarks: list[str] = []"),
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return Path(shutil.copytree(ROOT / "src", tmp_path_factory.mktemp("checkout") / "src"))


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_signature_is_seen(source: Path, what: str) -> None:
    file, before, after = CHANGED[what]
    path = source / "mammozoo" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")
    try:
        assert load("signatures").render(source) != SNAPSHOT
    finally:
        path.write_text(text, encoding="utf-8")
    assert load("signatures").render(source) == SNAPSHOT


def test_a_difference_is_shown_and_says_what_to_do(tmp_path, capsys) -> None:
    signatures = load("signatures")
    assert signatures.keep(tmp_path / "api.txt", SNAPSHOT, ["--check"], signatures.WHAT_TO_DO) == 1
    printed = capsys.readouterr().err
    for words in ("+class Dataset:", "docs/api-changes.md", "raise `mammozoo.API`", "python docs/signatures.py"):
        assert words in printed


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_on_the_page_is_the_imported_one(name: str) -> None:
    """The page reads the source; this asks the function itself."""
    section = PAGE[PAGE.index(f"\n### {name}\n") :].partition("\n### ")[2]
    shown = re.search(r"^def (\w+)\((.*)\) -> (.+): \.\.\.$", section, re.MULTILINE)
    assert shown[1] == name
    signature = inspect.signature(getattr(hookspecs, name))
    assert shown[2] == ", ".join(f"{p.name}: {p.annotation}" for p in signature.parameters.values())
    assert shown[3] == signature.return_annotation
    assert f"| [`{name}`](#{name}) |" in PAGE and name in CHANGES
    example = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[1]
    compile(example, name, "exec")
    assert "@hookimpl" in example and f"def {name}(" in example


CHECKS = [name for name, value in vars(testing).items() if name[0] != "_" and not inspect.ismodule(value)]


@pytest.mark.parametrize("name", [*mammozoo._PUBLIC, *CHECKS])
def test_every_public_name_is_in_the_snapshot(name: str) -> None:
    assert re.search(rf"^(class |def )?{name}\b", SNAPSHOT, re.MULTILINE), name


@pytest.mark.parametrize(
    "name", ["Sample", "DatasetInfo", "Metric", "BackboneSpec", "TransformSpec", "Recipe", "EpochRow"]
)
def test_the_snapshot_has_the_fields_of_the_imported_class(name: str) -> None:
    kind = getattr(importlib.import_module(mammozoo._PUBLIC[name]), name)
    block = SNAPSHOT[re.search(rf"^class {name}\b.*:$", SNAPSHOT, re.MULTILINE).start() :].partition("\n\n")[0]  # type: ignore[union-attr]
    fields = [name for name in inspect.get_annotations(kind) if not name.startswith("_") and name != "model_config"]
    assert re.findall(r"^    (\w+):", block, re.MULTILINE) == fields


def test_the_number_and_every_link_of_the_page_lead_somewhere() -> None:
    assert SNAPSHOT.startswith(f"# Public signatures, API {mammozoo.API}.")
    assert f"\n## API {mammozoo.API}\n" in CHANGES and f"This is API {mammozoo.API}." in CHANGES
    assert set(hookspecs.SINCE) <= set(HOOKS)
    assert all(1 < number <= mammozoo.API for number in hookspecs.SINCE.values())
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
    for page in re.findall(r"\]\(([\w-]+\.md)\)", PAGE + CHANGES):
        assert (ROOT / "docs" / page).is_file(), page


def test_errors_have_their_exit_codes() -> None:
    """As docs/cli.md and scripts rely on them; a leak is a usage error."""
    kinds = (
        errors.MammozooError, LeakageError, errors.NotFoundError, errors.AccessError, errors.UnreachableError,
        errors.NotVerifiedError, errors.IncompatibleError, errors.RegistryError, errors.ConflictError,
        errors.RefusedToPublishError,
    )  # fmt: skip
    assert [kind.exit_code for kind in kinds] == list(range(1, 11))
    assert errors.UsageError.exit_code == 2
