"""A model on the tests' Hub and a zoo that lists it. Its weights are no weights: pulling looks at bytes only."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hub_server import Hub

CONTENT = {"config.json": b'{"mammozoo": {}}', "model.safetensors": bytes(range(256)) * 8000, "README.md": b"# far\n"}
UNLISTED = {"pytorch_model.bin": b"\x80\x04.", "modeling.py": b"raise SystemExit\n"}


@dataclass
class Far:
    """The model `far` of `lab/far`, listed by the directory zoo `folder`."""

    hub: Hub
    folder: Path
    entry: dict[str, Any] = field(default_factory=dict)

    def publish(self, content: dict[str, bytes] = CONTENT, **how: bool) -> None:
        commit = self.hub.publish("lab/far", content | UNLISTED, tag="v1", **how)
        self.entry = entry("far", content, {"hub": "lab/far", "revision": commit})
        self.write()

    def write(self, **fields: Any) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "zoo.yaml").write_text(yaml.safe_dump({"schema": 1, "models": [self.entry | fields]}))

    @property
    def commit(self) -> str:
        return str(self.entry["source"]["revision"])

    def snapshot(self, home: Path) -> Path:
        return home / "hub" / "models--lab--far" / "snapshots" / self.commit


def refused(answer: Any, code: int, *words: str) -> None:
    """One message with these words, and nothing on stdout."""
    answer.refused(code, *words)
    assert answer.out == ""


def entry(name: str, content: dict[str, bytes], source: dict[str, str]) -> dict[str, Any]:
    """An entry of a zoo, with the hashes of these files."""
    files = {file: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for file, data in content.items()}
    terms = dict.fromkeys(("summary", "license", "data_terms", "intended_use"), "x")
    return {"name": name, "version": "1", "source": source, "files": files, **terms}
