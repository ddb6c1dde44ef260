"""falcoctl's way inside: index from the file server, artifact from the registry that the index names.

With a real falcoctl where one is on PATH (it is in no Debian package); always with `SimulatedIndexClient`, which
does what falcoctl's client does with an index: looks a name up, and asks registry/repository for the tag.
"""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.content.artifact import put_bytes
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest, parse_manifest
from isthmus.serve import Listen, ServerThread
from isthmus.store import Store, StoredReference
from tests.content.conftest import Publisher
from tests.content.test_charts import tgz
from tests.content.workplace import Workplace

pytestmark = pytest.mark.real
RULES = b"- required_engine_version: 0.40.0\n- list: shells\n  items: [bash]\n"
CONFIG = b'{"requirements":[],"name":"falco-rules","version":"4.0.0"}'
LAYER = tgz({"falco_rules.yaml": RULES})
INDEX = [{"name": "falco-rules", "type": "rulesfile", "registry": "ghcr.io",
          "repository": "falcosecurity/rules/falco-rules", "description": "Falco rules"}]  # fmt: skip


@dataclass(frozen=True)
class SimulatedIndexClient:
    """A simulator of falcoctl's client of indexes; it installs nothing and verifies the layer's digest."""

    index_url: str

    def layer(self, name: str, tag: str) -> bytes:
        entries = yaml.safe_load(_get(self.index_url))
        entry = next(one for one in entries if one["name"] == name)
        base = f"http://{entry['registry']}/v2/{entry['repository']}"
        manifest = json.loads(_get(f"{base}/manifests/{tag}"))
        layer = manifest["layers"][0]
        data = _get(f"{base}/blobs/{layer['digest']}")
        assert Digest.of(data) == layer["digest"]
        return data


def _get(url: str) -> bytes:
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json, */*"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept), timeout=30) as answer:
        body: bytes = answer.read()
    return body


@pytest.fixture
def site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServerThread]:
    """A site whose store got falcoctl's index and rules, through lock, pull, pack and unpack."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    place = Workplace(work, capsys)
    publisher = Publisher(tmp_path / "published")
    publisher.put("falco/falcoctl/index.yaml", yaml.safe_dump(INDEX).encode())
    with Store.create(tmp_path / "upstream") as store:
        _put(store, "ghcr.io/falcosecurity/rules/falco-rules:latest")
        _put(store, "ghcr.io/falcosecurity/plugins/plugin/container:latest")
    Store.create(tmp_path / "site").close()
    upstream = ServerThread(tmp_path / "upstream", MirrorMap())
    inside = ServerThread(tmp_path / "site", MirrorMap(), Listen(files=("127.0.0.1", 0)))
    upstreams = {
        "ghcr.io": f"http://{upstream.address}/mirror/ghcr.io",
        "falcosecurity.github.io": f"{publisher.url}/falco",
    }
    document = {
        "platform": {"name": "p", "architectures": [], "perishables": ["falco"], "upstreams": upstreams},
        "site": {"registry": {"host": inside.address}},
    }
    (work / "isthmus.yaml").write_text(json.dumps(document))
    for words in (["lock"], ["pull"], ["pack", "--no-tool", "--out", "bundle"],
                  ["unpack", "bundle", "--store", str(tmp_path / "site")]):  # fmt: skip
        status, told = place.run(*words)
        assert status == 0, f"{words}: {told}"
    yield inside
    inside.stop()
    upstream.stop()
    publisher.server.shutdown()
    publisher.server.server_close()


def _put(store: Store, name: str) -> None:
    layer, config = put_bytes(store, LAYER), put_bytes(store, CONFIG)
    document: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.cncf.falco.rulesfile.config.v1+json", "digest": config.digest,
                   "size": config.size},
        "layers": [{"mediaType": "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz", "digest": layer.digest,
                    "size": layer.size, "annotations": {"org.opencontainers.image.title": "falco-rules.tar.gz"}}],
        "annotations": {"org.opencontainers.image.created": "2026-11-01T00:00:00Z"},
    }  # fmt: skip
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest(name.rpartition(":")[0], manifest)
    store.set_references([StoredReference(name, manifest.descriptor())])


def test_a_simulated_index_client_finds_the_rules(site: ServerThread) -> None:
    client = SimulatedIndexClient(f"http://{site.files_address}/falcoctl/index.yaml")
    assert client.layer("falco-rules", "latest") == LAYER
    assert (
        _get(f"http://{site.files_address}/falcosecurity.github.io/falcoctl/index.yaml")
        == yaml.safe_dump(INDEX).encode()
    )


def test_the_real_falcoctl_installs_the_rules(site: ServerThread, tmp_path: Path) -> None:
    program = shutil.which("falcoctl")
    if program is None:
        pytest.skip(
            "needs falcoctl on PATH: go mod download github.com/falcosecurity/falcoctl@v0.11.0, then go build"
        )
    home = tmp_path / "home"
    rules = tmp_path / "rules"
    home.mkdir()
    rules.mkdir()
    index = f"site,http://{site.files_address}/falcoctl/index.yaml"
    environment = {**os.environ, "HOME": str(home), "FALCOCTL_INDEXES": index}
    config = home / "falcoctl.yaml"
    config.write_text(f"artifact:\n  install:\n    rulesfilesDir: {rules}\n")
    common = ["--config", str(config)]
    for words in (
        ["artifact", "install", "falco-rules", "--plain-http", "--no-verify", "--resolve-deps=false",
         "--rulesfiles-dir", str(rules), "--platform", "linux/amd64"],
    ):  # fmt: skip
        done = subprocess.run(
            [program, *words, *common], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (rules / "falco_rules.yaml").read_bytes() == RULES
