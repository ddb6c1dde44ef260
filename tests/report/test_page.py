"""release.html in a real browser: nothing loaded, nothing complained of, accessible, at phone width and on A4."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from isthmus.report import earlier, make_release
from tests.report.conftest import TOOLS, UBI, Platform, layer, put

if TYPE_CHECKING:
    from playwright.sync_api import Browser

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium (Debian package chromium) is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_file(platform: Platform) -> Path:
    """The page of a second release, so that every part of it is there."""
    _, files = make_release(platform.plan(), platform.store, platform.asked())
    old = platform.place / "old.json"
    old.write_bytes(files["release.json"])
    put(platform.store, TOOLS, "1.0.0", [layer({"usr/bin/jq": b"newer"})])
    put(platform.store, "docker.io/library/redis", "7.0.15", [layer({"redis": b"1" * 4000}), b"not a layer"])
    platform.store.set_references([], remove=[f"{UBI}:v2"])
    _, files = make_release(platform.plan(), platform.store, platform.asked(before=earlier(old)))
    path = platform.place / "release.html"
    path.write_bytes(files["release.html"])
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_nothing_and_is_accessible(
    browser: "Browser", page_file: Path, scheme: Literal["light", "dark"]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert asked == [page_file.as_uri()]
    assert said == []
    context.close()


def test_without_scripts_at_phone_width_nothing_is_wider(browser: "Browser", page_file: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361).length"
    assert page.evaluate(wide) == 0
    context.close()


def test_it_prints_on_a4(browser: "Browser", page_file: Path, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    pdf = page.pdf(prefer_css_page_size=True, path=tmp_path / "release.pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594" in pdf or b"/MediaBox [0 0 595" in pdf
    context.close()
