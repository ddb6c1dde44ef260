"""The console's pages as answers: every route, its headers, what hostile content becomes, paging, freshness."""

import io
import json
import re
import tarfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from isthmus.bundle.history import FILE, received_bundles
from isthmus.bundle.waiting import NotedProgress
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread
from isthmus.site.containerd import containerd_files
from isthmus.store import Store
from tests.serve.conftest import Answer, Client
from tests.serve.console_site import HOSTILE, IMAGES, LACKING, Site, make_site

PAGES = [
    "/console/",
    "/console/contents",
    "/console/contents?by=component",
    "/console/search",
    "/console/search?q=prometheus&kind=image&host=quay.io",
    f"/console/search?q={quote(HOSTILE)}&host={quote(HOSTILE)}&component={quote(HOSTILE)}",
    "/console/reference/registry.k8s.io/pause:3.10",
    "/console/reference/localhost/team/shop:2024.11",
    "/console/reference/isthmus.internal/charts/ingress-nginx:4.11.3",
    "/console/reference/isthmus.internal/packages/ubuntu-jammy-security-99aabbcc:latest",
    "/console/bundles",
    "/console/coverage",
    "/console/coverage?only=lacking",
    "/console/missing",
    "/console/disk",
    "/console/activity",
    "/console/activity/now",
    "/console/nodes",
    "/console/downloads",
    "/console/nowhere",
    "/console/login/nowhere",
    f"/console/reference/{quote(HOSTILE)}",
]
FILES = ["ca.pem", "isthmus.lock", "install-containerd.sh", "containerd-certs.d.tar", "hosts/quay.io/hosts.toml"]


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("console"), extra=120)


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[ServerThread]:
    thread = ServerThread(site.store, MirrorMap(), Listen(ca=site.ca))
    client = Client(thread.address)
    for _ in range(3):
        client.get(f"/v2/mirror/{LACKING.rpartition(':')[0]}/manifests/{LACKING.rpartition(':')[2]}")
    wait_complete(client)
    client.close()
    yield thread
    thread.stop()


def wait_complete(client: Client) -> None:
    for _ in range(200):
        if b"Still reading" not in client.get("/console/contents").body:
            return
        time.sleep(0.05)
    raise AssertionError("the store is never read to its end")


def text_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body[:300]
    return answer.body.decode()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_what_browsers_may_do_with_it_and_runs_nothing_of_others(
    client: Client, path: str
) -> None:
    answer = client.get(path, Accept="text/html")
    assert answer.status == (
        404 if "nowhere" in path or (path.endswith(quote(HOSTILE)) and "search" not in path) else 200
    )
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "HX-Request" in answer.headers["Vary"]
    for tag, attributes in Tags(answer.body.decode()).found:
        assert tag not in ("style", "iframe", "object", "embed", "base", "img")
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "hx-on")]
        if tag == "script":
            assert attributes["src"].startswith("/console/static/")
        for name in ("href", "src", "action", "hx-get"):
            assert not re.match(r"(?i)\s*(javascript|data|https?|//)", attributes.get(name, ""))


def test_what_is_hostile_is_shown_as_text(client: Client) -> None:
    page = text_of(client.get("/console/reference/registry.k8s.io/pause:3.10"))
    assert "&lt;script&gt;" in page
    assert "<script>document" not in page
    child = re.search(r'href="(/console/reference/[^"]+digest=[^"]+)"', page)
    assert child is not None
    below = text_of(client.get(child[1]))
    assert below.count("&lt;script&gt;") >= 3  # a label, a key, and a step of the history
    assert "API_TOKEN" in below
    assert "hunter2" not in below  # values of the environment may be secrets


def test_the_first_page_is_the_console_and_the_registry_stays_as_it_was(client: Client) -> None:
    assert client.get("/").headers["Location"] == "/console/"
    assert client.get("/console").status == 303
    assert client.get("/v2/").json == {}
    assert client.get("/v2/").headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert client.get("/v2/nope/manifests/x").code == "NAME_UNKNOWN"
    assert client.request("POST", "/console/").status == 405
    assert client.head("/console/").status == 200


def test_the_overview_says_what_is_wrong(client: Client) -> None:
    page = text_of(client.get("/console/"))
    assert re.search(r"[12]&nbsp;things? w(as|ere) asked for and not here", page)
    assert "1 of 20&nbsp;references in the lock not held" in page
    assert "1 of 3&nbsp;perishable things older than allowed" in page
    assert "136&nbsp;images" in page
    assert "welkin-hotfix" in page


def test_contents_by_host_and_component(client: Client) -> None:
    page = text_of(client.get("/console/contents"))
    assert "registry.example.org" in page
    page = text_of(client.get("/console/contents?by=component"))
    for name in (
        "ingress-nginx/ingress-nginx",
        "Kubernetes v1.31.4",
        "namespace web",
        "Kubespray",
        "not in the lock",
    ):
        assert name in page


def test_search_finds_by_name_kind_and_component_and_pages(client: Client) -> None:
    names = re.findall(
        r'class="ref" href="/console/reference/([^"]+)"', text_of(client.get("/console/search?q=prometheus"))
    )
    assert names == ["quay.io/prometheus/prometheus:v2.55.1", "quay.io/prometheus/alertmanager:v0.27.0"]
    assert "repository-s3-2.19.4.zip" in text_of(client.get("/console/search?kind=file"))
    assert "velero" in text_of(client.get("/console/search?component=velero%2Fvelero"))
    assert "Nothing here fits" in text_of(client.get("/console/search?q=nothing-of-that-name"))
    seen: set[str] = set()
    for number in ("1", "2", "3", "99", "-1", "x"):
        page = text_of(client.get(f"/console/search?host=registry.example.org&page={number}"))
        found = re.findall(r'class="ref" href="([^"]+)"', page)
        assert len(found) in (20, 50)
        seen.update(found)
    assert len(seen) == 120
    assert "host=registry.example.org&amp;page=2" in text_of(
        client.get("/console/search?host=registry.example.org")
    )


def test_htmx_gets_the_results_alone(client: Client) -> None:
    page = text_of(client.get("/console/search?q=pause", HX_Request="true"))
    assert "<html" not in page
    assert 'id="count"' in page
    assert "pause" in page
    assert "<html" in text_of(
        client.get("/console/search?q=pause", HX_Request="true", HX_History_Restore_Request="true")
    )


def test_a_reference(client: Client, site: Site) -> None:
    page = text_of(client.get("/console/reference/registry.k8s.io/pause:3.10"))
    for text in (
        "crictl pull registry.k8s.io/pause:3.10",
        "--hosts-dir /etc/containerd/certs.d registry.k8s.io/pause:3.10",
        "/mirror/registry.k8s.io/pause:3.10",
        "linux/arm64",
        "Signature",
        "SBOM",
        "Attestation",
        "kubespray:kubespray roles/x pod_infra_image",
    ):
        assert text in page
    with Store.open(site.store) as store:
        manifest = store.manifest("registry.k8s.io/pause", "3.10")
    raw = client.get("/console/manifest/registry.k8s.io/pause:3.10")
    assert raw.body == manifest.raw
    assert raw.headers["Content-Disposition"].startswith("attachment")
    child = client.get(f"/console/manifest/registry.k8s.io/pause:3.10?digest={manifest.manifests[0].digest}")
    assert Digest.of(child.body) == manifest.manifests[0].digest
    own = text_of(client.get("/console/reference/localhost/team/shop:2024.11"))
    assert "/team/shop:2024.11" in own
    assert "mirror/localhost" not in own
    chart = text_of(client.get("/console/reference/isthmus.internal/charts/ingress-nginx:4.11.3"))
    assert "/mirror/isthmus.internal/charts/ingress-nginx --version 4.11.3" in chart


@pytest.mark.parametrize(
    "path",
    [
        "registry.k8s.io/pause:9",
        "registry.k8s.io/pause:3.10?digest=x",
        f"registry.k8s.io/pause:3.10?digest=sha256:{'0' * 64}",
        "..%2f..%2fetc/passwd",
        "%ff%00",
    ],
)
def test_what_is_not_there_is_a_page_with_404(client: Client, path: str) -> None:
    assert client.get(f"/console/reference/{path}").status == 404
    assert client.get(f"/console/manifest/{path}").status == 404


def test_coverage_bundles_and_missing(client: Client) -> None:
    page = text_of(client.get("/console/coverage?only=lacking"))
    assert "19 of 20 held" in page
    assert LACKING in page
    assert "pause" not in page
    page = text_of(client.get("/console/bundles"))
    assert "c0ffee0011223344" in page
    assert page.index("welkin-hotfix") < page.index("expires 2025-06-30")
    assert "unsigned" in page
    page = text_of(client.get("/console/missing"))
    assert LACKING in page
    assert "127.0.0.1" in page
    assert client.get("/missing").json["missing"][0]["by"] == "127.0.0.1"


def test_node_files_are_those_that_configure_writes(client: Client) -> None:
    from isthmus.oci import Reference

    archive = client.get("/console/downloads/containerd-certs.d.tar").body
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]
    images = [
        Reference.parse(name) for name in (*IMAGES, "registry.example.org/x:1") if not name.startswith("localhost")
    ]
    expected = {
        file.path: file.content for file in containerd_files(images, MirrorMap(), f"http://{client.address}")
    }
    assert members == expected
    single = client.get("/console/downloads/hosts/quay.io/hosts.toml")
    assert single.body == expected["quay.io/hosts.toml"]
    assert client.get("/console/downloads/hosts/evil.example/hosts.toml").status == 404


def test_the_script_puts_the_files_there(client: Client, tmp_path: Path) -> None:
    import subprocess

    script = tmp_path / "install.sh"
    script.write_bytes(client.get("/console/downloads/install-containerd.sh").body)
    for _ in range(2):
        subprocess.run(["sh", script, tmp_path / "certs.d"], check=True, capture_output=True)
    written = (tmp_path / "certs.d" / "quay.io" / "hosts.toml").read_bytes()
    assert written == client.get("/console/downloads/hosts/quay.io/hosts.toml").body


def test_a_strange_host_header_does_not_get_into_files(client: Client) -> None:
    for host in ("x'; rm -rf /", "a b", 'evil"<b>', "x`id`"):
        body = client.get("/console/downloads/install-containerd.sh", Host=host).body.decode()
        assert "http://registry.example/v2" in body
        assert host not in body


def test_downloads(client: Client, site: Site) -> None:
    page = text_of(client.get("/console/downloads"))
    for name in ("ca.pem", "isthmus.lock", "release-2024-11.html", "sbom.cdx.json"):
        assert name in page
    for name in FILES:
        answer = client.get(f"/console/downloads/{name}")
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].startswith("attachment")
    ca = client.get("/console/downloads/ca.pem").body
    assert ca.startswith(b"-----BEGIN CERTIFICATE")
    assert b"PRIVATE" not in ca  # though the file that was given has one
    assert client.get("/console/downloads/isthmus.lock").body == site.lock.read_bytes()
    report = client.get("/console/downloads/reports/release-2024-11.html")
    assert report.headers["Content-Disposition"] == 'attachment; filename="release-2024-11.html"'
    for name in ("..%2findex.json", "%2e%2e", "nope.html", "a%0d%0ab"):
        assert client.get(f"/console/downloads/reports/{name}").status == 404


def test_static_files(client: Client) -> None:
    page = text_of(client.get("/console/"))
    for path in set(re.findall(r'"(/console/static/[^"#]+)', page)):
        answer = client.get(path)
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert client.get(path, If_None_Match=answer.headers["ETag"]).status == 304
        assert client.get(path.partition("?")[0]).headers["Cache-Control"] == "no-cache"
    for path in ("..%2froutes.py", "nope.js", "%00"):
        assert client.get(f"/console/static/{path}").status == 404


def test_without_a_console_there_is_none(site: Site) -> None:
    thread = ServerThread(site.store, MirrorMap(), Listen(console=False))
    try:
        client = Client(thread.address)
        assert client.get("/console/").status == 404
        assert client.get("/").status == 404
        client.close()
    finally:
        thread.stop()


def test_an_empty_store_has_pages_too_and_sees_what_is_pushed(tmp_path: Path) -> None:
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen(writable=True))
    try:
        client = Client(thread.address)
        for path in PAGES:
            assert client.get(path).status in (200, 404)
        layer = b"layer" * 1000
        begun = client.request("POST", "/v2/team/app/blobs/uploads/")
        client.request("PATCH", begun.headers["Location"], body=layer)
        page = text_of(client.get("/console/activity/now"))
        assert "Push to localhost/team/app" in page
        assert "4.9 KiB" in page
        client.request("PUT", f"{begun.headers['Location']}?digest={Digest.of(layer)}")
        assert "Nothing is being pushed" in text_of(client.get("/console/activity/now"))
        config = b"{}"
        client.request("POST", f"/v2/team/app/blobs/uploads/?digest={Digest.of(config)}", body=config)
        manifest = {
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(Digest.of(config)),
                "size": 2,
            },
            "layers": [{"mediaType": "x/y", "digest": str(Digest.of(layer)), "size": len(layer)}],
        }
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        assert client.request("PUT", "/v2/team/app/manifests/1", kind, json.dumps(manifest).encode()).status == 201
        wait_complete(client)
        assert "5.2 KiB" in text_of(client.get("/console/search?q=team/app"))
        client.close()
    finally:
        thread.stop()


def test_a_bundle_on_its_way_is_shown(site: Site, client: Client) -> None:
    place = site.store.with_name(f"{site.store.name}.incoming") / ("ab" * 32)
    place.mkdir(parents=True)
    NotedProgress(place, f"welkin{HOSTILE}", 4000)(1000, 2000, "x")
    page = text_of(client.get("/console/activity/now"))
    assert "50.0 %" in page
    assert "running" in page
    assert "<script>" not in page
    (place / "progress.json").write_text("{not json")
    assert "Nothing is being" in text_of(client.get("/console/activity/now"))
    (place / "progress.json").unlink()


def test_a_record_that_was_damaged_loses_only_its_line(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with open(site.store / FILE, "ab") as file:
        file.write(b'\n{"bundle": 7}\n\xff\xfe\n{"half')
    assert len(received_bundles(site.store)) == 3


def test_a_lock_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.lock.write_text("version: 99\n")
    thread = ServerThread(site.store, MirrorMap())
    try:
        client = Client(thread.address)
        wait_complete(client)
        assert "invalid-lock" in text_of(client.get("/console/coverage"))
        client.close()
    finally:
        thread.stop()
