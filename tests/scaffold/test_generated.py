"""A package of each kind, written, installed by pip, tested, listed, checked and trained with, as its user would do it."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mammozoo.scaffold import KINDS, Package, write

from ..helpers import python as run_python

#: Several command lines in one process: importing torch takes longer than all of them.
SEVERAL = """
import json, sys
from mammozoo import cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["mammozoo", *words]
    try:
        code = cli.main() or 0
    except SystemExit as end:
        code = end.code or 0
    print(f"\\0{code}\\0")
"""
TELLING = {
    "dataset": "paths-are-there", "backbone": "shapes-are-as-promised", "strategy": "composes-with-frozen",
    "metric": "direction-is-right",
}  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Package]:
    parent = tmp_path_factory.mktemp("packages")
    return {kind: write(f"own-{kind}", kind, parent) for kind in KINDS}


@pytest.fixture(scope="module")
def there(packages: dict[str, Package], pip_install, tmp_path_factory) -> dict[str, str]:
    site = tmp_path_factory.mktemp("site")
    pip_install(site, *(package.folder for package in packages.values()))
    return {"PYTHONPATH": str(site), "MAMMOZOO_PLUGINS": ",".join(p.names.name for p in packages.values())}


@pytest.fixture(scope="module")
def pictures(packages: dict[str, Package], there: dict[str, str], tmp_path_factory) -> Path:
    """What the data set's own script draws."""
    folder = tmp_path_factory.mktemp("pictures")
    python(there, packages["dataset"].folder / "tests/pictures.py", folder)
    return folder


@pytest.fixture(scope="module")
def own_tests(packages: dict[str, Package], there: dict[str, str], tmp_path_factory) -> dict[str, list[ET.Element]]:
    """Kind → every test that its package brings, as pytest reports it."""
    report = tmp_path_factory.mktemp("report") / "junit.xml"
    folders = [package.folder / "tests" for package in packages.values()]
    python(there, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *folders)
    cases = list(ET.parse(report).getroot().iter("testcase"))
    return {kind: [case for case in cases if f"test_own_{kind}" in case.get("classname", "")] for kind in packages}


@pytest.fixture(scope="module")
def answers(there: dict[str, str], pictures) -> Mapping[tuple[str, ...], tuple[int, Any]]:
    """Command → exit code and JSON of all that is asked below."""
    lines: list[tuple[str, ...]] = [("list", KINDS[kind].plural) for kind in KINDS]
    lines += [("plugins", "check", f"own-{kind}") for kind in KINDS] + [("plugins", "list")]
    words = [[*line, "--json"] + ["--root", str(pictures)] * (line[-1] == "own-dataset") for line in lines]
    *texts, _ = python(there, "-c", SEVERAL, json.dumps(words)).split("\0")
    found = zip(texts[::2], texts[1::2], strict=True)
    return {line: (int(code), json.loads(text)) for line, (text, code) in zip(lines, found, strict=True)}


def python(environment: dict[str, str], *words: object) -> str:
    """Standard output of a Python process with this environment; it must end well."""
    return run_python(*words, **environment).ok.out


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_it_is_listed_and_keeps_the_contract(kind, own_tests, answers) -> None:
    cases = own_tests[kind]
    names = [case.get("name", "") for case in cases]
    contract = [name for name in names if name.startswith("test_contract[")]
    assert any(name.endswith(f"own-{kind}-{TELLING[kind]}]") for name in contract)
    assert len(names) >= len(contract) + 2, "it has tests of its own too"
    assert [case.get("name") for case in cases if len(case)] == [], "none failed, none was skipped"
    code, content = answers["list", KINDS[kind].plural]
    (item,) = (item for item in content["items"] if item["plugin"] == f"own-{kind}")
    assert code == 0
    assert (item["name"], item["distribution"], item["version"]) == (f"own-{kind}", f"mammozoo-own-{kind}", "0.1.0")
    assert item["summary"]
    (plugin,) = (plugin for plugin in answers["plugins", "list"][1]["items"] if plugin["name"] == f"own-{kind}")
    assert plugin["state"] == "loaded"
    assert {kind: names for kind, names in plugin["adds"].items() if names} == {KINDS[kind].plural: [f"own-{kind}"]}
    code, content = answers["plugins", "check", f"own-{kind}"]
    states = Counter(item["state"] for item in content["items"])
    assert (code, content["failed"], set(states)) == (0, 0, {"passed"}), content
    assert TELLING[kind] in {item["check"] for item in content["items"]}


def test_all_of_them_in_one_training(mammozoo, there: dict[str, str], pictures, tmp_path) -> None:
    """`drs` beside the strategy tries the places that the backbone offers for layers."""
    done = mammozoo(
        "train", "--dataset", "own-dataset", "--root", pictures, "--backbone", "own-backbone:width=4", "--strategy",
        "own-strategy:rate=2+drs", "--epochs", 1, "--set", "augment=[]", "--set", "monitor=own-metric", "--device", "cpu",
        "--no-report", "--out", "run", "--json", **there,
    )  # fmt: skip
    scores = done.ok.json["scores"]
    product = scores["sensitivity"]["value"] * scores["specificity"]["value"]
    assert scores["own-metric"]["value"] == pytest.approx(product**0.5)
    config = json.loads((tmp_path / "run" / "config.json").read_text())["mammozoo"]
    assert (config["backbone"], config["strategy"]) == ("own-backbone:width=4", "own-strategy:rate=2+drs")
    for kind in ("dataset", "backbone", "strategy"):  # a score is no part of the model
        assert config["plugins"][f"mammozoo-own-{kind}"] == "0.1.0"
