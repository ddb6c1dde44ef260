"""The source `cluster:` against a real kube-apiserver with a real etcd, where both are installed.

Build the server from the Go module k8s.io/kubernetes, take etcd from Debian's etcd-server, and put both into
PATH. Nothing but the API server runs: there is no controller and no node.
"""

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from isthmus.errors import UnreachableError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.cluster import read
from tests.scan_sources.test_cluster import DIGEST, helm_secret

PROGRAMS = {name: shutil.which(name) for name in ("etcd", "kube-apiserver")}
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not all(PROGRAMS.values()), reason="needs etcd and kube-apiserver in PATH"),
]
RBAC = Path(__file__).parents[2] / "docs" / "cluster-rbac.yaml"
COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
WORKLOAD = {"containers": [{"name": "m", "image": "nginx:1.25"}]}


class Server:
    """A running API server, and how its administrator speaks to it."""

    def __init__(self, address: str, authority: str, folder: Path) -> None:
        self.address, self._folder = address, folder
        self._authority = authority
        self._tls = ssl.create_default_context(cadata=authority)

    def send(self, path: str, document: Any, method: str = "POST", kind: str = "application/json") -> None:
        """Create or change something."""
        headers = {"Authorization": "Bearer admin", "Content-Type": kind}
        request = urllib.request.Request(
            self.address + path, json.dumps(document).encode(), headers, method=method
        )
        urllib.request.urlopen(request, context=self._tls, timeout=20).close()

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{self.address}/readyz", headers={"Authorization": "Bearer admin"}),
                context=self._tls, timeout=5,
            ).close()  # fmt: skip
        except (OSError, urllib.error.URLError):
            return False
        return True

    def kubeconfig(self, token: str) -> Path:
        """A kubeconfig for the holder of a token."""
        path = self._folder / f"{token}.yaml"
        (self._folder / "ca.pem").write_text(self._authority)
        cluster = {"server": self.address, "certificate-authority": "ca.pem"}
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "real",
                    "contexts": [{"name": "real", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"token": token}}],
                }
            )
        )
        return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("kubernetes")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "tls.key"))
    key = rsa.generate_private_key(65537, 2048)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "sa.key").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    groups = 'admin,admin,1,"system:masters"\nscanner,scanner,2\nnobody,nobody,3\n'
    (folder / "tokens.csv").write_text(groups)
    store, peer, port = free_port(), free_port(), free_port()
    etcd = [
        str(PROGRAMS["etcd"]), "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level", "error",
        "--listen-client-urls", f"http://127.0.0.1:{store}", "--advertise-client-urls", f"http://127.0.0.1:{store}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer}",
        "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
    ]  # fmt: skip
    kubernetes = [
        str(PROGRAMS["kube-apiserver"]), f"--etcd-servers=http://127.0.0.1:{store}", f"--secure-port={port}",
        "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--tls-cert-file={folder}/tls.crt",
        f"--tls-private-key-file={folder}/tls.key", f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/sa.key", f"--service-account-signing-key-file={folder}/sa.key",
        "--service-cluster-ip-range=10.0.0.0/24", f"--cert-dir={folder}/certs",
        "--disable-admission-plugins=ServiceAccount",
    ]  # fmt: skip
    running = Server(f"https://127.0.0.1:{port}", authority.cert_pem.bytes().decode(), folder)
    with open(folder / "log", "wb") as log:
        processes = [
            subprocess.Popen(etcd, stdout=log, stderr=log),
            subprocess.Popen(kubernetes, stdout=log, stderr=log),
        ]
        try:
            deadline = time.monotonic() + 120
            while not running.is_ready():
                assert all(process.poll() is None for process in processes), (folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                time.sleep(0.2)
            fill(running)
            yield running
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def fill(server: Server) -> None:
    """A small platform, and the permissions of docs/ for the user `scanner`."""
    for document in yaml.safe_load_all(RBAC.read_text()):
        for subject in document.get("subjects", []):
            subject.update(kind="User", name="scanner", apiGroup="rbac.authorization.k8s.io")
            del subject["namespace"]
        if document["metadata"]["name"].endswith("custom-resources") and "rules" in document:
            document["rules"][0]["apiGroups"] = ["example.org"]
        server.send(COLLECTIONS[document["kind"]], document)
    base = "/api/v1/namespaces/default"
    server.send(f"{base}/pods", {"metadata": {"name": "a"}, "spec": WORKLOAD})
    status = {"containerStatuses": [{"name": "m", "image": "docker.io/library/nginx:1.25", "ready": True,
              "restartCount": 0, "imageID": f"docker.io/library/nginx@{DIGEST}"}]}  # fmt: skip
    server.send(f"{base}/pods/a/status", {"status": status}, "PATCH", "application/merge-patch+json")
    server.send("/api/v1/nodes", {"metadata": {"name": "n1"}})
    held = {
        "images": [{"names": [f"registry.k8s.io/pause@{DIGEST}", "registry.k8s.io/pause:3.10"], "sizeBytes": 1}]
    }
    server.send("/api/v1/nodes/n1/status", {"status": held}, "PATCH", "application/merge-patch+json")
    hook = {
        "path": "web/templates/test.yaml",
        "manifest": "kind: Pod\nmetadata: {annotations: {helm.sh/hook: test}}",
    }
    secret = helm_secret("shop", "deployed", {"manifest": "---\nkind: Service\n", "hooks": [hook]})
    secret["metadata"].pop("namespace")
    server.send(f"{base}/secrets", secret)
    server.send(f"{base}/secrets", {"metadata": {"name": "password"}, "data": {"p": "c2VjcmV0"}})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": WORKLOAD}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    for number in range(300):
        server.send(
            "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": f"d{number}"}, "spec": spec}
        )
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    definition = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    server.send(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {"metadata": {"name": "widgets.example.org"}, "spec": definition},
    )
    widget = {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"image": "x:1"},
    }
    for _ in range(100):
        try:
            server.send("/apis/example.org/v1/namespaces/default/widgets", widget)
        except urllib.error.HTTPError:
            time.sleep(0.1)
        else:
            return


def scan(config: Path, query: str = "") -> list[Any]:
    return list(read(SourceSpec.parse(f"cluster:{config}?{query}")))


def test_the_documented_permissions_are_enough(server: Server) -> None:
    found = scan(server.kubeconfig("scanner"))
    assert [thing for thing in found if isinstance(thing, Item)] == []
    documents = {thing.object_id for thing in found if isinstance(thing, Document)}
    assert {"Pod/default/a", "Widget/default/w", "Service", "Deployment/default/d299"} <= documents
    assert "CustomResourceDefinition/widgets.example.org" in documents
    assert not any(name.startswith(("Secret", "Node", "Lease", "Event")) for name in documents)
    assert {thing.name for thing in found if isinstance(thing, Ref)} == {
        f"docker.io/library/nginx:1.25@{DIGEST}", f"registry.k8s.io/pause:3.10@{DIGEST}",
    }  # fmt: skip


def test_without_permissions_every_kind_is_an_item(server: Server) -> None:
    found = scan(server.kubeconfig("nobody"))
    items = [thing.what for thing in found if isinstance(thing, Item)]
    assert "cluster:real: the list of Pod" in items
    assert "cluster:real: the Helm releases, which are Secrets" in items
    assert not [thing for thing in found if isinstance(thing, Document)]


def test_a_token_that_is_not_accepted_is_an_error(server: Server) -> None:
    with pytest.raises(UnreachableError) as caught:
        scan(server.kubeconfig("expired"))
    assert caught.value.code == "unauthorized"
