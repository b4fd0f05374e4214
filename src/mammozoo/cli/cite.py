"""`mammozoo cite`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo.cli.output import say

EXAMPLES = """
mammozoo cite runs/first > run.bib
"""


def cite(run: Path = typer.Argument(..., help="Run folder.")) -> None:
    """Print BibTeX entries to cite in a paper that uses a run: the tool, the method, the data and the weights."""
    from mammozoo.reproduction.cite import bibtex

    say(bibtex(run), nl=False)
