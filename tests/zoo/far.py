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
        self.entry = {
            "name": "far", "version": "1", "summary": "a test", "source": {"hub": "lab/far", "revision": commit},
            "files": promised(content), "license": "x", "data_terms": "x", "intended_use": "research only",
        }  # fmt: skip
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


def promised(content: dict[str, bytes]) -> dict[str, Any]:
    return {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in content.items()}
