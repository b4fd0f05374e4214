"""`zoo.yaml` as it is read: strict YAML, strict fields, and the line of what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mammozoo.errors import RegistryError
from mammozoo.zoo.entry import Entry, FolderSource, HubSource, PackageSource, read_zoo

HASH, COMMIT = "0" * 64, "a" * 40
SMALL: dict[str, Any] = {
    "name": "one", "version": "1.0", "summary": "s", "source": {"path": "models/one"},
    "files": {"config.json": {"sha256": HASH, "size": 1}, "model.safetensors": {"sha256": HASH, "size": 41}},
    "license": "apache-2.0", "data_terms": "none", "intended_use": "research only",
}  # fmt: skip


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "zoo.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RegistryError) as caught:
        read_zoo(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def changed(**fields: Any) -> str:
    return yaml.safe_dump({"schema": 1, "models": [SMALL | fields]}, sort_keys=False)


def with_file(name: str = "config.json", hash: str = HASH, size: int = 1) -> dict[str, Any]:
    """The files of an entry, and one of this name, hash and size."""
    return {"files": SMALL["files"] | {name: {"sha256": hash, "size": size}}}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"package": "p", "path": "x"}, PackageSource),
        ({"hub": "lab/m.o-d_el", "revision": COMMIT}, HubSource),
        ({"path": "x"}, FolderSource),
    ],
)
def test_a_small_entry_is_enough_from_three_kinds_of_source(source: dict[str, str], kind: type) -> None:
    entry = Entry.model_validate(SMALL | {"source": source})
    assert isinstance(entry.source, kind)
    assert entry.size == 42
    assert (entry.classes, entry.base, entry.withdrawn) == ((), None, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: 1\nmodels: []\nmodels: []\n", "line 3: the key 'models' twice"),
        ("schema: 1\na: &a [x]\nmodels: *a\n", "line 3: an alias"),
        ("schema: 1\nmodels:\n  - {<<: {name: x}}\n", "line 3: a merge key"),
        ("schema: 1\nmodels: [\n", "line 3"),
        ("schema: 1\nmodels: !!python/name:os.system\n", "line 2"),
        ("", "not a valid zoo"),
        ("[]", "not a valid zoo"),
        ("schema: 1", "models"),
        ("models: []", "schema"),
        ("[" * 5000, "nest"),
        ("schema: 7\nmodels: []\n", "schema 7; this mammozoo reads 1"),
        ("#" * (5 * 2**20), "longer than 4 MiB"),
        ("\xff\xfe\x01", "cannot be read"),
    ],
)
def test_yaml_that_is_not_plain(tmp_path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": 1.0}, "line 4: models.0.version"),
        ({"name": "Upper Case"}, "models.0.name"),
        ({"colour": "blue"}, "models.0.colour"),
        ({"source": {"package": "os.path", "path": "x"}}, "package"),
        ({"files": SMALL["files"] | {"config.json": {"sha256": HASH}}}, "models.0.files.config.json.size"),
        ({"name": "../x"}, "models.0.name"),
        ({"source": {"hub": "lab/model", "revision": "v1.0"}}, "models.0.source.hub.revision"),
        ({"source": {"hub": "https://x/y", "revision": COMMIT}}, "models.0.source.hub"),
        ({"source": {"url": "https://example.org/x"}}, "models.0.source"),
        (with_file(hash=HASH[1:]), "models.0.files.config.json.sha256"),
        (with_file(size=-1), "models.0.files.config.json.size"),
        (with_file("modeling.py"), "modeling.py"),
        ({"source": {"hub": "lab/model", "revision": COMMIT, "path": "x"}}, "models.0.source.hub.path"),
        (with_file("../x.safetensors"), "../x.safetensors"),
        ({"files": {"config.json": SMALL["files"]["config.json"]}}, "model.safetensors is missing"),
        ({"base": {"name": "b", "sha256": HASH}, "full_sha256": HASH}, "adapter.safetensors is missing"),
        ({"full_sha256": HASH}, "belong together"),
        ({"requires": "new ones"}, "range of versions"),
        ({"evaluation": [{"dataset": "d", "n": 3, "scores": {"auc": {"value": float("nan")}}}]}, "scores.auc.value"),
        ({"signer": {"public_key": "mine"}}, "models.0.signer"),
        *(
            ({"name": name}, "line 3: models.0.name")
            for name in ("con", "nul.1", "com1", "lpt9.model", "model.", "aux")
        ),
        *(({"version": version}, "line 4: models.0.version") for version in ("NUL", "1.0.", "Aux.1")),
        *((with_file(file), file) for file in ("figures/con.png", "prn.safetensors")),
    ],
)
def test_fields_that_are_refused(tmp_path, fields: dict[str, Any], words: str) -> None:
    message = refused(tmp_path, changed(**fields))
    assert words in message and "line " in message


def test_the_line_is_that_of_the_value(tmp_path) -> None:
    text = changed()
    line = 1 + text.splitlines().index("      size: 41")
    said = refused(tmp_path, text.replace("size: 41", "size: -1"))
    assert f"line {line}: models.0.files.model.safetensors.size" in said
