"""The report in a real browser: complete, quiet, readable on a phone and in the dark."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[test]'")

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if _CHROMIUM is None:
        pytest.skip("needs a Chromium on the PATH")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield chromium
        chromium.close()


def _open(browser: Any, report: Path, width: int = 1200, scheme: str = "light") -> tuple[Any, list[str]]:
    """The page, and what went wrong while it loaded."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
    page.goto(report.as_uri())
    return page, wrong


def test_everything_is_shown_and_nothing_complains(browser: Any, tiny_report) -> None:
    page, wrong = _open(browser, tiny_report)
    assert wrong == []
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert widths
    assert all(width == 64 for width in widths)
    boxes = page.evaluate(
        "[...document.querySelectorAll('figure svg')].map(e => [e.clientWidth, e.clientHeight, e.querySelectorAll('text').length])"
    )
    assert len(boxes) == 5
    assert all(width > 250 and height > 150 and texts > 8 for width, height, texts in boxes)
    headless = page.evaluate(
        "[...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th[scope=col]')).length"
    )
    assert headless == 0
    page.close()


def test_a_phone_scrolls_tables_and_not_the_page(browser: Any, tiny_report) -> None:
    page, _ = _open(browser, tiny_report, width=360)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    wider = page.evaluate("[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length")
    assert wider > 0, "the widest table scrolls in its own container"
    broken = page.evaluate(
        """[...document.querySelectorAll('tbody th[scope=row], td:not(:last-child)')].flatMap(cell => {
            if (/\\s|-/.test(cell.textContent.trim()) || !cell.firstChild || cell.querySelector(".tag")) return []
            const range = document.createRange(); range.selectNodeContents(cell)
            const tops = new Set([...range.getClientRects()].map(box => Math.round(box.bottom)))
            return tops.size > 1 ? [cell.textContent] : []
        })"""
    )
    assert broken == [], "a word is on one line"
    captions = page.evaluate("[...document.querySelectorAll('caption')].map(e => e.getBoundingClientRect().width)")
    assert max(captions) <= 360
    page.close()


def test_the_dark_page_is_dark_and_so_are_its_figures(browser: Any, tiny_report) -> None:
    page, _ = _open(browser, tiny_report, scheme="dark")
    ground, text, label, line = page.evaluate(
        """() => {
            const rgb = (element, property) => getComputedStyle(element)[property].match(/\\d+/g).slice(0, 3).map(Number)
            const figure = document.querySelector('figure svg')
            return [rgb(document.body, 'backgroundColor'), rgb(document.body, 'color'),
                    rgb(figure.querySelector('text'), 'fill'),
                    rgb(figure.querySelector('path[style*="--series-1"]'), 'stroke')]
        }"""
    )
    assert max(ground) < 50
    assert min(text) > 200
    assert label == text
    assert max(line) > 150
    page.close()


def test_paper_is_white_even_when_the_screen_is_dark(browser: Any, tiny_report) -> None:
    page, _ = _open(browser, tiny_report, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.close()
