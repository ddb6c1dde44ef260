"""The console in a real browser: what people do with it, that it asks nobody else, and that axe finds nothing.

With ISTHMUS_SCREENSHOTS=DIR, `test_screenshots` writes the pictures of docs/images/ there.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from tests.serve import console_site
from tests.serve.conftest import Client
from tests.serve.console_site import HOSTILE, LACKING, Site, make_site
from tests.serve.test_access import USERS

pytestmark = [pytest.mark.real, pytest.mark.slow]
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = shutil.which("chromium") or ""
REFERENCE = "reference/registry.k8s.io/pause:3.10"
PAGES = [
    "", "contents", "contents?by=component", "search?q=prom", "search?q=nothing-like-that", REFERENCE,
    "reference/isthmus.internal/packages/ubuntu-jammy-security-99aabbcc:latest", "coverage", "missing", "bundles",
    "disk", "activity", "nodes", "downloads", "nowhere",
]  # fmt: skip
SIZES = {"wide": (1360, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("console"), extra=70)


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    thread = ServerThread(site.store, MirrorMap(), Listen(ca=site.ca))
    ask_in_vain(thread.address)
    yield thread.address
    thread.stop()


def ask_in_vain(address: str) -> None:
    client = Client(address)
    name, _, tag = LACKING.rpartition(":")
    for path in [f"mirror/{name}/manifests/{tag}"] * 7 + ["library/redis/manifests/7.4?ns=docker.io"] * 3:
        client.get(f"/v2/{path}")
    while b"Still reading" in client.get("/console/").body:
        time.sleep(0.1)
    client.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A page that notes what a first-rate one never does: errors, and requests to anybody else."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.context = browser.new_context(**options)
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _route(self, route: Any) -> None:
        url = route.request.url
        if url.startswith((f"http://{self.address}/", "data:image/svg+xml")):
            route.continue_()
        else:
            self.elsewhere.append(url)
            route.abort()

    def _said(self, message: Any) -> None:
        is_expected = "status of 404" in message.text or "status of 401" in message.text
        if message.type in ("error", "warning") and not is_expected:
            self.complaints.append(message.text)

    def go(self, path: str) -> Any:
        return self.page.goto(f"http://{self.address}/console/{path}", wait_until="load")

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        assert self.elsewhere == []


@pytest.fixture
def tab(chromium: Any, address: str) -> Iterator[Tab]:
    tab = Tab(chromium, address)
    yield tab
    tab.close()


# Colours do not depend on the width: each scheme and each size once.
@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("phone", "dark")])
def test_every_page_is_accessible_fits_and_is_quiet(chromium: Any, address: str, scheme: str, size: str) -> None:
    width, height = SIZES[size]
    tab = Tab(chromium, address, color_scheme=scheme, viewport={"width": width, "height": height})
    axe = axe_module.Axe()
    for path in PAGES:
        tab.go(path)
        if path == REFERENCE:
            tab.page.locator("details summary").last.click()
        found = axe.run(tab.page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not tab.page.evaluate(too_wide), f"{path} does not fit {size}"
        assert tab.page.evaluate("document.body.dataset.owned") is None
        assert tab.page.locator("h1").count() == 1
    tab.close()


def test_search_as_one_types(tab: Tab) -> None:
    tab.go("search")
    page = tab.page
    page.locator("#q").press_sequentially("alertman", delay=20)
    playwright_api.expect(page.locator("#count")).to_have_text(re.compile(r"^\s*1 reference\s*$"))
    playwright_api.expect(page.locator("#results a.ref")).to_have_count(1)
    page.wait_for_url(re.compile("q=alertman&"))  # one letter after the other may be answered first
    page.locator("#q").fill("")
    playwright_api.expect(page.locator("#count")).to_have_text(re.compile("92 references"))
    page.locator("#host").select_option("quay.io")  # each choice asks by itself
    playwright_api.expect(page.locator("#count")).to_have_text(re.compile("4 references"))
    page.locator("#q").fill(HOSTILE)
    playwright_api.expect(page.locator("#count")).to_have_text(re.compile("Nothing found"))
    page.locator("#results a.ref").wait_for(state="detached")
    page.go_back()


def test_search_by_keys_alone(tab: Tab) -> None:
    tab.go("")
    page = tab.page
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("cert-manager")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=cert-manager")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert "cert-manager-webhook" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reference/quay.io/jetstack/cert-manager-controller*")
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).top") != "-64px"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_an_image_and_its_platform(tab: Tab) -> None:
    tab.go("contents")
    page = tab.page
    page.get_by_role("link", name="registry.k8s.io").click()
    page.get_by_role("link", name="registry.k8s.io/pause:3.10").click()
    assert page.locator("h1").inner_text().strip() == "registry.k8s.io/pause:3.10"
    page.get_by_role("button", name="Copy: containerd").click()
    playwright_api.expect(page.locator("#said")).to_have_text("Copied")
    page.get_by_role("link", name="linux/arm64").click()
    playwright_api.expect(page.get_by_role("heading", name="How it runs")).to_be_visible()
    assert "API_TOKEN" in page.content()
    assert "hunter2" not in page.content()
    with page.expect_download() as download:
        page.locator("details summary").last.click()
        page.get_by_role("link", name="Download the exact bytes").click()
    assert download.value.suggested_filename.startswith("sha256-")


def test_what_is_missing_and_the_way_there(tab: Tab) -> None:
    tab.go("")
    tab.page.get_by_role("link", name="2 things were asked for and not here").click()
    table = tab.page.get_by_role("region", name="Missing")
    playwright_api.expect(table).to_contain_text(LACKING)
    playwright_api.expect(table).to_contain_text("docker.io/library/redis:7.4")
    assert table.locator("tr", has_text="redis").locator("td").nth(2).inner_text() == "3"


def test_colours_are_kept(tab: Tab) -> None:
    tab.go("")
    button = tab.page.locator(".js-theme")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = tab.page.evaluate(ground)
    button.click()
    button.click()
    assert button.get_attribute("aria-label") == "Colours: dark"
    assert tab.page.evaluate(ground) != before
    tab.go("coverage")
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_all_can_be_read_without_scripts(chromium: Any, address: str) -> None:
    tab = Tab(chromium, address, java_script_enabled=False)
    tab.go("")
    tab.page.locator("#find").fill("prometheus")
    tab.page.locator("#find").press("Enter")
    tab.page.wait_for_url("**/search?q=prometheus")
    assert tab.page.locator("a.ref").count() == 2
    tab.page.get_by_role("button", name="Search").click()
    tab.page.locator("a.ref").first.click()
    assert tab.page.get_by_text("crictl pull quay.io/prometheus/prometheus:v2.55.1").is_visible()
    assert tab.page.locator(".copy:visible").count() == 0
    assert tab.page.locator(".js-theme:visible").count() == 0
    tab.close()


def test_a_push_is_seen_while_it_goes_on(chromium: Any, tmp_path: Path) -> None:
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen(writable=True))
    try:
        tab = Tab(chromium, thread.address)
        tab.go("activity")
        playwright_api.expect(tab.page.get_by_text("Nothing is being pushed")).to_be_visible()
        client = Client(thread.address)
        begun = client.request("POST", "/v2/team/app/blobs/uploads/")
        client.request("PATCH", begun.headers["Location"], body=b"x" * 50_000)
        playwright_api.expect(tab.page.get_by_text("Push to localhost/team/app")).to_be_visible(timeout=10_000)
        client.request("DELETE", begun.headers["Location"])
        playwright_api.expect(tab.page.get_by_text("Nothing is being pushed")).to_be_visible(timeout=10_000)
        client.close()
        tab.close()
    finally:
        thread.stop()


def test_logging_in_and_out(chromium: Any, site: Site, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(USERS)
    thread = ServerThread(site.store, MirrorMap(), Listen(auth=tmp_path / "users"))
    try:
        for scheme in ("light", "dark"):
            tab = Tab(chromium, thread.address, color_scheme=scheme)
            tab.go(REFERENCE)
            page = tab.page
            assert axe_module.Axe().run(page).violations_count == 0
            page.get_by_label("Name").fill("admin")
            page.get_by_label("Password").fill("wrong")
            page.get_by_role("button", name="Log in").click()
            playwright_api.expect(page.get_by_role("alert")).to_contain_text("not that password")
            assert axe_module.Axe().run(page).violations_count == 0
            page.get_by_label("Password").fill("secret")
            page.keyboard.press("Enter")
            page.wait_for_url(f"**/console/{REFERENCE}")
            assert page.evaluate("document.cookie") == ""
            page.get_by_role("button", name="Log out").click()
            page.wait_for_url("**/console/login?next=*")
            tab.close()
    finally:
        thread.stop()


@pytest.mark.skipif("ISTHMUS_SCREENSHOTS" not in os.environ, reason="no ISTHMUS_SCREENSHOTS")
def test_screenshots(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(os.environ["ISTHMUS_SCREENSHOTS"])
    monkeypatch.setattr(console_site, "HOSTILE", "ubuntu jammy-security")
    site = make_site(tmp_path)
    thread = ServerThread(site.store, MirrorMap(), Listen(ca=site.ca))
    try:
        ask_in_vain(thread.address)
        shots = [
            ("overview", "", "light", "wide"),
            ("overview-dark", "", "dark", "wide"),
            ("reference-dark", REFERENCE, "dark", "wide"),
            ("search", "search?q=prom", "light", "wide"),
            ("nodes", "nodes", "light", "wide"),
            ("phone", "", "light", "phone"),
        ]
        for name, path, scheme, size in shots:
            width, height = SIZES[size]
            tab = Tab(chromium, thread.address, color_scheme=scheme, viewport={"width": width, "height": height})
            tab.go(path)
            tab.page.wait_for_timeout(300)
            tab.page.screenshot(path=out / f"console-{name}.png")
            tab.close()
    finally:
        thread.stop()
