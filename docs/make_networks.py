"""Write plugins/mammozoo_basics/networks.csv: parameters, input and licence of every network that the libraries list.

python docs/make_networks.py [--check] [NAME …]     names: only these are compared, by --check

Networks are built on torch's meta device, which holds no numbers; it takes minutes. The first line names the versions.
"""

from __future__ import annotations

import logging
import sys
from importlib import metadata
from pathlib import Path

import timm
import torch
from generated import keep

from mammozoo_basics.catalogue import NETWORKS, VERSIONED, Catalogue

HEADER = "name,parameters,size,weights,licence"


def row(name: str) -> str:
    """One line of the table; a network that cannot be built has its name alone."""
    spec = Catalogue().find(name)
    assert spec is not None
    try:
        with torch.device("meta"):
            net = spec.build()
    except Exception as error:  # whatever a library's own code raises on this device
        logging.warning("%s: %s", name, error)
        return f"{name},,,,"
    height, width = net.input.size
    size = str(height) if height == width else f"{height}x{width}"
    own = None if "/" in name else timm.get_pretrained_cfg(name)
    weights = "hub" if getattr(own, "hf_hub_id", None) else ""
    licence = str(getattr(own, "license", None) or "") if weights else ""
    return f"{name},{sum(p.numel() for p in net.parameters())},{size},{weights},{licence}"


def main(arguments: list[str]) -> int:
    """Write or compare; 1 if a comparison fails."""
    versions = "# without classifiers; " + ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONED)
    if names := [word for word in arguments if not word.startswith("-")]:
        there = NETWORKS.read_text(encoding="utf-8").splitlines()
        if there[0] != versions or (wrong := [line for line in map(row, names) if line not in there]):
            sys.stderr.write(f"{NETWORKS.name} differs: {there[0] if there[0] != versions else wrong}\n")
            return 1
        return 0
    lines = [versions, HEADER, *(row(spec.name) for spec in Catalogue())]
    return keep(Path(NETWORKS), "\n".join(lines) + "\n", arguments, "Run: python docs/make_networks.py\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
