"""Trivy gets its databases from the site with the settings that `configure` wrote, over TLS by the site's own CA.

Everything crosses first: lock, pull, pack, unpack. With the real Trivy where it was built (`site_tools`): it
downloads both databases, opens the first, and scans an image through its mirror. Always with
`SimulatedDatabaseClient`, which does what Trivy does with an artifact (pkg/oci/artifact.go, pkg/db/db.go there).
"""

import io
import json
import os
import ssl
import struct
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.demo import images
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread
from isthmus.site.pki.authority import Authority, Settings
from isthmus.store import Store
from tests.content.test_charts import tgz
from tests.content.workplace import Workplace
from tests.real.site_tools import TRIVY

pytestmark = pytest.mark.real

CONFIG = "application/vnd.aquasec.trivy.config.v1+json"
LAYERS = {
    "trivy-db": "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
    "trivy-java-db": "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip",
}
DATES = '"NextUpdate":"2999-01-02T00:00:00Z","UpdatedAt":"2999-01-01T00:00:00Z"'


def empty_bolt() -> bytes:
    """An empty bbolt database: two meta pages, a free list and one leaf (go.etcd.io/bbolt, internal/common)."""

    def page(number: int, flags: int, rest: bytes = b"") -> bytes:
        return (struct.pack("<QHHI", number, flags, 0, 0) + rest).ljust(4096, b"\0")

    def meta(transaction: int) -> bytes:
        fields = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, 4096, 0, 3, 0, 2, 4, transaction)
        total = 0xCBF29CE484222325
        for byte in fields:
            total = (total ^ byte) * 0x100000001B3 % 2**64
        return fields + struct.pack("<Q", total)

    return page(0, 4, meta(0)) + page(1, 4, meta(1)) + page(2, 0x10) + page(3, 2)


DATABASES = {
    "trivy-db": {"trivy.db": empty_bolt(), "metadata.json": f'{{"Version":2,{DATES}}}'.encode()},
    "trivy-java-db": {"trivy-java.db": b"sqlite", "metadata.json": f'{{"Version":1,{DATES}}}'.encode()},
}


def put_database(store: Store, name: str, tag: str) -> None:
    """As trivy-db's publisher makes it: one layer, with the name of its file."""
    config = images.put_blob(store, b"{}", CONFIG)
    layer = images.put_blob(store, tgz(DATABASES[name]), LAYERS[name])
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [
            {"mediaType": LAYERS[name], "digest": layer.digest, "size": layer.size,
             "annotations": {"org.opencontainers.image.title": f"{name}.tar.gz"}}
        ],
        "annotations": {"org.opencontainers.image.created": "2026-11-20T00:00:00Z"},
    }  # fmt: skip
    repository = f"ghcr.io/aquasecurity/{name}"
    images.name_it(store, f"{repository}:{tag}", images.put_manifest(store, repository, document))


@dataclass(frozen=True)
class Inside:
    """A site: its directory of generated files, its CA, and what clients need in their environment."""

    out: Path
    ca: Path
    address: str

    def values(self, name: str) -> Any:
        """Generated values of a chart."""
        return yaml.safe_load((self.out / f"helm-values/{name}.yaml").read_text())

    @property
    def environment(self) -> dict[str, str]:
        """The site's CA, as `trust` gives it to containers, and no way to anywhere else."""
        nowhere = "http://127.0.0.1:9"
        return {"PATH": os.environ["PATH"], "HOME": str(self.out), "SSL_CERT_FILE": str(self.ca),
                "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "NO_PROXY": "127.0.0.1"}  # fmt: skip


@pytest.fixture
def inside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Inside]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with Store.create(tmp_path / "upstream") as store:
        put_database(store, "trivy-db", "2")
        put_database(store, "trivy-java-db", "1")
        for name in ("ghcr.io/aquasecurity/trivy-operator:0.27.0", "docker.io/goharbor/harbor-core:v2.12.0"):
            layer = images.make_layer({"etc/debian_version": b"12.5\n"})
            images.name_it(store, name, images.put_image(store, name.rpartition(":")[0], [layer]))
    Store.create(tmp_path / "site").close()
    authority = Authority(tmp_path / "pki", Settings("site"))
    authority.create()
    certificate = authority.issue("registry", ["127.0.0.1"])
    upstream = ServerThread(tmp_path / "upstream", MirrorMap())
    server = ServerThread(
        tmp_path / "site", MirrorMap(),
        Listen(certificate=certificate / "tls.crt", key=certificate / "tls.key"),
    )  # fmt: skip
    hosts = ("ghcr.io", "docker.io")
    document = {
        "platform": {
            "name": "p",
            "upstreams": {host: f"http://{upstream.address}/mirror/{host}" for host in hosts},
            "add": [
                {"artifact": "ghcr.io/aquasecurity/trivy-db:2", "refresh": "24h"},
                {"artifact": "ghcr.io/aquasecurity/trivy-java-db:1", "refresh": "72h"},
                {"image": "ghcr.io/aquasecurity/trivy-operator:0.27.0"},
                {"image": "docker.io/goharbor/harbor-core:v2.12.0"},
            ],
            "perishables": [],
        },
        "site": {"registry": {"host": server.address, "kind": "isthmus", "ca": str(authority.trust)}},
    }
    (work / "isthmus.yaml").write_text(json.dumps(document))
    place = Workplace(work, capsys)
    try:
        for words in (["lock"], ["pull"], ["pack", "--no-tool", "--out", "bundle"],
                      ["unpack", "bundle", "--store", str(tmp_path / "site")],
                      ["configure", "--out", str(tmp_path / "out"), "--only", "helm-values"]):  # fmt: skip
            status, told = place.run(*words)
            assert status == 0, f"{words}: {told}"
        yield Inside(tmp_path / "out", authority.trust, server.address)
    finally:
        server.stop()
        upstream.stop()


@dataclass(frozen=True)
class SimulatedDatabaseClient:
    """A simulator of Trivy's client of databases; it scans nothing."""

    context: ssl.SSLContext

    def download(self, repository: str, tag: str, media_type: str) -> dict[str, bytes]:
        """What is in the only layer, which has to be of that type and to have the name of a file."""
        host, _, path = repository.partition("/")
        manifest = json.loads(self._get(f"https://{host}/v2/{path}/manifests/{tag}"))
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == media_type
        assert layer["annotations"]["org.opencontainers.image.title"].endswith(".tar.gz")
        data = self._get(f"https://{host}/v2/{path}/blobs/{layer['digest']}")
        assert Digest.of(data) == layer["digest"]
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]

    def _get(self, url: str) -> bytes:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, */*"}
        handler = urllib.request.HTTPSHandler(context=self.context)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
        with opener.open(urllib.request.Request(url, headers=accept), timeout=30) as answer:
            body: bytes = answer.read()
        return body


def test_a_simulated_client_gets_both_databases(inside: Inside) -> None:
    client = SimulatedDatabaseClient(ssl.create_default_context(cafile=str(inside.ca)))
    values = inside.values("trivy-operator")["trivy"]
    database = f"{values['dbRegistry']}/{values['dbRepository']}"
    java = f"{values['javaDbRegistry']}/{values['javaDbRepository']}"
    assert client.download(database, "2", LAYERS["trivy-db"]) == DATABASES["trivy-db"]
    assert client.download(java, "1", LAYERS["trivy-java-db"]) == DATABASES["trivy-java-db"]
    harbor = {item["name"]: item["value"] for item in inside.values("harbor")["trivy"]["extraEnvVars"]}
    assert harbor == {"SCANNER_TRIVY_DB_REPOSITORY": database, "SCANNER_TRIVY_JAVA_DB_REPOSITORY": java}


def trivy(inside: Inside, *words: str, **environment: str) -> str:
    command = [str(TRIVY.binary()), *words, "--cache-dir", str(inside.out / "cache"), "--no-progress"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=inside.out,
        env={**inside.environment, **environment, "TRIVY_DISABLE_TELEMETRY": "1", "TRIVY_SKIP_VERSION_CHECK": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_real_trivy_downloads_and_scans(inside: Inside) -> None:
    TRIVY.binary()
    values = inside.values("trivy-operator")["trivy"]
    # The operator joins the registry and the repository into these variables of its scans' pods.
    database = f"{values['dbRegistry']}/{values['dbRepository']}"
    java = f"{values['javaDbRegistry']}/{values['javaDbRepository']}"
    trivy(inside, "image", "--download-db-only", TRIVY_DB_REPOSITORY=database)
    assert (inside.out / "cache/db/trivy.db").read_bytes() == DATABASES["trivy-db"]["trivy.db"]
    told = json.loads((inside.out / "cache/db/metadata.json").read_text())
    assert told["UpdatedAt"] == "2999-01-01T00:00:00Z"
    trivy(inside, "image", "--download-java-db-only", TRIVY_JAVA_DB_REPOSITORY=java)
    assert (inside.out / "cache/java-db/trivy-java.db").read_bytes() == b"sqlite"
    # The image, by the mirror that the operator has for its host.
    mirrors = values["registry"]["mirror"]
    image = f"{mirrors['index.docker.io']}/goharbor/harbor-core:v2.12.0"
    report = json.loads(
        trivy(inside, "image", "--scanners", "vuln", "--offline-scan", "--image-src", "remote", "--format", "json",
              image, TRIVY_DB_REPOSITORY=database)
    )  # fmt: skip
    assert report["Metadata"]["OS"] == {"Family": "debian", "Name": "12.5"}


def test_without_the_sites_ca_trivy_refuses(inside: Inside) -> None:
    TRIVY.binary()
    with pytest.raises(AssertionError, match="x509"):
        trivy(inside, "image", "--download-db-only", SSL_CERT_FILE="/dev/null",
              TRIVY_DB_REPOSITORY=f"{inside.address}/mirror/ghcr.io/aquasecurity/trivy-db")  # fmt: skip
