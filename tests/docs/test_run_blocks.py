"""Every page with commands is run by `run_blocks.py`, or says why not."""

from .blocks import ROOT
from .run_blocks import PAGES, PAGES_LEFT_OUT, lines

#: What authors of plugins and papers read: their tests run the packages, and the recipes.
ELSEWHERE = ("papers/", "writing-a-plugin", "plugin-", "testing-plugins", "publishing-a-plugin", "api-changes", "cli")


def test_every_page_for_readers_is_run_or_says_why_not() -> None:
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    asked = {page for page in pages if not page.startswith(ELSEWHERE) and list(lines(page))}
    run = {*PAGES, *PAGES_LEFT_OUT}
    assert asked - run == set()
    assert {page for page in run if not list(lines(page))} == set()
