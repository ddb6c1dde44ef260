"""The site of the guide: its isthmus.yaml, a lock with every kind of upstream host, a CA."""

from pathlib import Path

import pytest

from isthmus.inventory.config_file import load_config
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.site.plan import Site

GUIDE = Path(__file__).parent / "guide"
NAMES = (
    "docker.io/library/busybox:1.36",
    "docker.io/velero/velero:v1.16.1",
    "ghcr.io/aquasecurity/trivy-operator:0.27.0",
    "ghcr.io/falcosecurity/rules/falco-rules:4.0.0",
    "gcr.io/k8s-minikube/storage-provisioner:v5",
    "mirror.gcr.io/aquasec/trivy:0.66.0",
    "quay.io/jetstack/cert-manager-controller:v1.17.2",
    "registry.k8s.io/defaultbackend-amd64:1.5",
    "registry.k8s.io/pause:3.10",
    "xpkg.crossplane.io/crossplane/crossplane:v2.0.2",
    "docker.io/opensearchproject/opensearch:2.19.4",
)
DATABASES = ("trivy-db:2", "trivy-java-db:1")
PLUGIN = "https://artifacts.opensearch.org/releases/plugins/repository-s3/2.19.4/repository-s3-2.19.4.zip"


def entries() -> tuple[LockEntry, ...]:
    digest = Digest("sha256:" + "0" * 64)
    held = [LockEntry(kind="image", name=name, digest=digest, size=1) for name in NAMES]
    held += [
        LockEntry(kind="artifact", name=f"ghcr.io/aquasecurity/{name}", digest=digest, max_age=259200)
        for name in DATABASES
    ]
    held.append(LockEntry(kind="file", name=PLUGIN, digest=digest, serve="opensearch/repository-s3-2.19.4.zip"))
    return tuple(held)


@pytest.fixture(scope="session")
def guide() -> Site:
    return Site(
        config=load_config(GUIDE / "isthmus.yaml"),
        registry="https://registry.air-gapped.internal",
        mapping=MirrorMap(),
        entries=entries(),
        ca=(GUIDE / "ca.pem").read_bytes(),
    )
