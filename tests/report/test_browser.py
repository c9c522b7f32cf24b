"""Chromium opens the pages from disk: no error, no request, no serious fault of accessibility.

Runs where the extra `browser` and a Chromium are: `make test-browser`.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.report.examples import clash, retrieved, write_comparison, write_run
from tunesmith.report.comparison_page import comparison_page
from tunesmith.report.conflicts_page import conflicts_page
from tunesmith.report.rag_page import rag_page
from tunesmith.report.run_page import run_page
from tunesmith.runs.history import read_records

playwright = pytest.importorskip("playwright.sync_api")
axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as started:
        loaded = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield loaded
        loaded.close()


def run_html(path: Path, language: str) -> str:
    return run_page(read_records(write_run(path / "run")), language=language)


def comparison_html(path: Path, language: str) -> str:
    return comparison_page(write_comparison(path / "all"), language=language)


def conflicts_html(_: Path, language: str) -> str:
    return conflicts_page(clash(), language=language)


def rag_html(_: Path, language: str) -> str:
    return rag_page(retrieved(), name="handbook", language=language)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("make", [run_html, comparison_html, conflicts_html, rag_html])
def test_a_page_opens_from_disk(
    browser: object,
    tmp_path: Path,
    make: Callable[[Path, str], str],
    language: str,
    scheme: str,
) -> None:
    file = tmp_path / "report.html"
    file.write_text(make(tmp_path, language), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)  # type: ignore[attr-defined]
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    found = axe_module.Axe().run(page).response["violations"]
    page.close()
    assert [each for each in told if each != file.as_uri() and not each.startswith("data:")] == []
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, serious


def test_rows_are_searched_and_filtered(browser: object, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(run_html(tmp_path, "en"), encoding="utf-8")
    page = browser.new_page()  # type: ignore[attr-defined]
    page.goto(file.as_uri())
    page.fill("#search", "한국어")
    assert page.locator(".row:visible").count() == 1
    page.select_option("#group", "better")
    assert page.locator(".row:visible").count() == 0
    assert page.text_content("#count") == "No row matches."
    page.fill("#search", "")
    assert page.locator(".row:visible").count() == 1
    page.close()
