"""The platform's report in a browser: nothing loaded, nothing complained of, accessible, on a phone and on A4.

With ISTHMUS_SCREENSHOTS=DIR the pictures of the documentation are written there.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from isthmus.report.platform import write
from tests.report import example

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or ""

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM, reason="chromium (Debian package chromium) is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    patch = pytest.MonkeyPatch()
    patch.setenv("SOURCE_DATE_EPOCH", "1795514400")
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(write(example.report(), "html"))
    patch.undo()
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_nothing_and_is_accessible(
    browser: Any, page_file: Path, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    results = axe_module.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert asked == [page_file.as_uri()]
    assert said == []
    context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_at_phone_width_nothing_is_wider_and_every_section_is_reached(
    browser: Any, page_file: Path, *, scripts: bool
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=scripts)
    page = context.new_page()
    page.goto(page_file.as_uri())
    if scripts:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361).length"
        assert page.evaluate(wide) == 0
    for link in page.locator("nav.toc a").all():
        target = link.get_attribute("href").removeprefix("#")
        assert page.locator(f'[id="{target}"]').is_visible()
    context.close()


def test_it_prints_on_a4_with_everything_opened(browser: Any, page_file: Path, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    pdf = page.pdf(prefer_css_page_size=True, path=tmp_path / "report.pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594" in pdf or b"/MediaBox [0 0 595" in pdf
    context.close()


@pytest.mark.skipif("ISTHMUS_SCREENSHOTS" not in os.environ, reason="ISTHMUS_SCREENSHOTS=DIR writes the pictures")
def test_screenshots(browser: Any, page_file: Path) -> None:
    out = Path(os.environ["ISTHMUS_SCREENSHOTS"])
    for name, width, scheme, select in (
        ("report-top", 1120, "light", None),
        ("report-dark", 1120, "dark", None),
        ("report-phone", 390, "light", None),
        ("report-crossings", 1120, "light", "section[aria-labelledby=crossings]"),
        ("report-items", 1120, "light", "section[aria-labelledby=items]"),
    ):
        height = 844 if width < 500 else 1000
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.goto(page_file.as_uri())
        path = str(out / f"{name}.png")
        if select is None:
            page.screenshot(path=path)
        else:
            box = page.locator(select).bounding_box()
            clip = {**box, "height": min(900, box["height"])}
            page.screenshot(path=path, clip=clip, full_page=True)
        context.close()
