"""rehearsal.html in a real browser: nothing loaded, nothing complained of, accessible, at phone width and on A4.

With ISTHMUS_SCREENSHOTS=DIR the pictures of docs/images/ are written there.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from isthmus.rehearse.page import rehearsal_page
from isthmus.rehearse.result import Egress, Failure, RehearsalResult

if TYPE_CHECKING:
    from playwright.sync_api import Browser

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
SHOTS = os.environ.get("ISTHMUS_SCREENSHOTS")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium (Debian package chromium) is not installed"),
]

RESULT = RehearsalResult(
    pulled=142,
    fetched=37,
    started=139,
    failed=(
        Failure(
            "registry.k8s.io/ingress-nginx/kube-webhook-certgen:v1.5.2@sha256:e8825994b7a2c7497375a9b945f386506c"
            "a6a3eda80b89b74ef2db743f66a5ea",
            "ctr: failed to resolve reference: registry.air-gapped.internal/mirror/registry.k8s.io"
            "/ingress-nginx/kube-webhook-certgen: not found",
        ),
        Failure("https://artifacts.opensearch.org/releases/repository-s3-2.19.4.zip", "the server answers 404"),
    ),
    egress=(
        Egress("download.falco.org", 443, "tcp", "docker.io/falcosecurity/falco-driver-loader:0.41.3", "curl", 4),
        Egress("2001:db8::7", 4317, "tcp", "ghcr.io/example/collector:1", "<script>alert(1)</script>", 1),
        Egress("telemetry.example.com", 53, "dns", "quay.io/example/api:2", "api", 2, "disable"),
    ),
    notes=(
        "pulled by crictl and the CRI plugin through the generated hosts.toml",
        "quay.io/example/base:1 did not start: exec: no command specified",
    ),
    seconds=171.4,
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["open", "complete", "cluster"])
def page_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    complete = RehearsalResult(pulled=142, fetched=37, seconds=61.0, on_cluster=request.param == "cluster")
    result = RESULT if request.param == "open" else complete
    path = tmp_path / f"{request.param}.html"
    path.write_text(rehearsal_page(result, "welkin"))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_nothing_and_is_accessible(
    browser: "Browser", page_file: Path, scheme: Literal["light", "dark"]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert asked == [page_file.as_uri()]
    assert said == []
    if SHOTS and scheme == "light" and page_file.stem == "open":
        page.screenshot(path=Path(SHOTS) / "rehearsal.png", full_page=True)
    context.close()


def test_at_phone_width_nothing_is_wider(browser: "Browser", page_file: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361).length"
    assert page.evaluate(wide) == 0
    if SHOTS and page_file.stem == "open":
        page.screenshot(path=Path(SHOTS) / "rehearsal-phone.png", full_page=True)
    context.close()


def test_it_prints_on_a4(browser: "Browser", page_file: Path, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    printed = page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    context.close()
