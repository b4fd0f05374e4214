"""`python -m mammozoo_transformers FOLDER [--licence NAME] [--revision COMMIT]`: pin the files of a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mammozoo.errors import MammozooError

from mammozoo_transformers.pins import pin


def main() -> int:
    """Write `mammozoo.yaml`, and say where; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mammozoo_transformers", description="Pin the files of a model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--licence", help="of the weights; by default what README.md says")
    parser.add_argument("--revision", default="", help="the commit on the Hub")
    given = parser.parse_args()
    try:
        path = pin(given.folder, given.licence, given.revision)
    except MammozooError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Wrote {path}:\n{path.read_text(encoding='utf-8')}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
