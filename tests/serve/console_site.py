"""A site's store as a console would find it: images of several hosts, charts, files, perishables, a lock, bundles.

Small stand-ins, real manifests. Some of it is hostile on purpose: labels, annotations, bundle names.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isthmus.bundle.history import ReceivedBundle, record_bundle
from isthmus.demo.images import AMD64, ARM64, filler, put_blob
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.model import Kind
from isthmus.oci import Digest, Manifest, parse_manifest
from isthmus.oci.descriptor import EMPTY_JSON, OCI_INDEX, OCI_MANIFEST
from isthmus.store import Store, StoredReference

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_OWN = "document.body.dataset.owned='yes'"
HOSTILE = f'"><script>{_OWN}</script><img src=x onerror="{_OWN}">'

IMAGES = {
    "registry.k8s.io/pause:3.10": ("kubespray:kubespray roles/x pod_infra_image",),
    "registry.k8s.io/kube-apiserver:v1.31.4": ("kubeadm:v1.31.4 images apiserver",),
    "registry.k8s.io/kube-proxy:v1.31.4": ("kubeadm:v1.31.4 images proxy",),
    "registry.k8s.io/coredns/coredns:v1.11.3": ("kubeadm:v1.31.4 images coredns",),
    "registry.k8s.io/ingress-nginx/controller:v1.11.3": (
        "ck8s:wc ingress-nginx/ingress-nginx DaemonSet/ingress-nginx/controller .spec.template.spec.containers[0]",
        "ck8s:sc ingress-nginx/ingress-nginx DaemonSet/ingress-nginx/controller .spec.template.spec.containers[0]",
    ),
    "quay.io/jetstack/cert-manager-controller:v1.16.2": ("ck8s:sc cert-manager/cert-manager Deployment/x/y .z",),
    "quay.io/jetstack/cert-manager-webhook:v1.16.2": ("ck8s:sc cert-manager/cert-manager Deployment/x/w .z",),
    "quay.io/prometheus/prometheus:v2.55.1": (
        "ck8s:wc monitoring/kube-prometheus-stack Prometheus/m/p .spec.image",
    ),
    "quay.io/prometheus/alertmanager:v0.27.0": ("ck8s:wc monitoring/kube-prometheus-stack Alertmanager/m/a .i",),
    "docker.io/grafana/grafana:11.3.1": ("ck8s:sc monitoring/user-grafana Deployment/m/g .image",),
    "docker.io/library/nginx:1.27": (
        "manifests:site.yaml Deployment/web/front .spec.template.spec.containers[0].image",
    ),
    "docker.io/library/busybox:1.36": ("helm:charts/jobs Job/x/y .image",),
    "docker.io/velero/velero:v1.15.0": ("ck8s:wc velero/velero Deployment/velero/velero .image",),
    "ghcr.io/aquasecurity/trivy-operator:0.22.0": ("ck8s:wc monitoring/trivy-operator Deployment/m/t .image",),
    "ghcr.io/fluxcd/source-controller:v1.4.1": (),
    "localhost/team/shop:2024.11": (),
}
LACKING = "quay.io/argoproj/argocd:v2.13.1"


@dataclass(frozen=True)
class Site:
    store: Path
    lock: Path
    ca: Path


def make_site(root: Path, *, extra: int = 0) -> Site:
    """Fill `root/store`. `extra` adds so many small images of one host."""
    store_path = root / "store"
    entries = []
    with Store.create(store_path) as store:
        named: dict[str, Manifest] = {}
        for at, (name, evidence) in enumerate(IMAGES.items()):
            named[name] = _image(store, name, 20_000 * (1 + at * 7 % 11))
            if evidence:
                entries.append(_entry("image", name, named[name], evidence))
        for at in range(extra):
            name = f"registry.example.org/apps/app-{at:05}:1.{at % 7}"
            named[name] = _single(store, name, [filler(f"extra{at}", 40)], "amd64")
        _attach(store, named["registry.k8s.io/pause:3.10"])
        named |= _things(store)
        for name, manifest in named.items():
            if name.startswith(("isthmus.internal/", "ghcr.io/aquasecurity/trivy-db")):
                entries.append(_thing_entry(name, manifest))
        store.set_references(StoredReference(name, one.descriptor()) for name, one in named.items())
    lacking = LockEntry(
        "image", LACKING, Digest.of(b"x"), OCI_INDEX, 180_000_000, evidence=("ck8s:sc argocd/argocd D/x/y .i",)
    )
    write_lock(store_path / "isthmus.lock", Lock(references=(*entries, lacking)))
    _record(store_path)
    (store_path / "reports").mkdir()
    (store_path / "reports" / "release-2024-11.html").write_text(f"<h1>Release</h1>{HOSTILE}")
    (store_path / "reports" / "sbom.cdx.json").write_text("{}")
    (root / "ca.pem").write_text(_ca())
    return Site(store_path, store_path / "isthmus.lock", root / "ca.pem")


def _image(store: Store, name: str, size: int) -> Manifest:
    children = [
        (_single(store, name, [filler("base", 30_000), filler(f"{name}{arch}", size)], arch), platform)
        for arch, platform in (("amd64", AMD64), ("arm64", ARM64))
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {**_described(child), "platform": {"os": platform.os, "architecture": platform.architecture}}
            for child, platform in children
        ],
        "annotations": {"org.opencontainers.image.description": HOSTILE},
    }
    return _put(store, document)


def _single(store: Store, name: str, layers: list[bytes], arch: str) -> Manifest:
    config = {
        "architecture": arch,
        "os": "linux",
        "created": "2024-11-02T08:15:00Z",
        "config": {
            "Entrypoint": ["/usr/bin/serve", "--name", name],
            "Cmd": ["--port", "8080"],
            "Env": ["PATH=/usr/bin", "API_TOKEN=hunter2-never-shown"],
            "User": "65532",
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {"org.opencontainers.image.title": name, "maintainer": HOSTILE, HOSTILE: "key"},
        },
        "history": [{"created_by": f"RUN step {at} {HOSTILE if at else ''}"} for at in range(len(layers))],
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer)) for layer in layers]},
    }
    return _put(
        store,
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _blob(store, json.dumps(config).encode(), CONFIG),
            "layers": [_blob(store, layer, LAYER) for layer in layers],
        },
    )


def _attach(store: Store, subject: Manifest) -> None:
    for kind in (
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/spdx+json",
        "application/vnd.in-toto+json",
        HOSTILE,
    ):
        _artifact(store, kind, {"x": b"attached " + kind.encode()}, {"about": HOSTILE}, subject=subject)


def _artifact(
    store: Store,
    kind: str,
    files: dict[str, bytes],
    annotations: dict[str, str],
    config: str = EMPTY_JSON,
    subject: Manifest | None = None,
) -> Manifest:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": _blob(store, b"{}", config),
        "layers": [
            {
                **_blob(store, data, "application/octet-stream"),
                "annotations": {"org.opencontainers.image.title": path},
            }
            for path, data in files.items()
        ],
        "annotations": annotations,
    }
    if subject is not None:
        document["subject"] = _described(subject)
    return _put(store, document)


def _things(store: Store) -> dict[str, Manifest]:
    def ago(seconds: float) -> str:
        return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="seconds")

    plugin = "https://artifacts.opensearch.org/plugins/repository-s3/2.19.4/repository-s3-2.19.4.zip"
    helm = "application/vnd.cncf.helm.config.v1+json"
    made, days = "org.opencontainers.image.created", 86400
    return {
        "isthmus.internal/files/repository-s3-2-19-4-zip-1a2b3c4d:latest": _artifact(
            store,
            "application/vnd.isthmus.file.v1",
            {"repository-s3-2.19.4.zip": filler("plugin", 90_000)},
            {"dev.isthmus.name": plugin, "dev.isthmus.serve": "opensearch/repository-s3-2.19.4.zip"},
        ),
        "isthmus.internal/charts/ingress-nginx:4.11.3": _artifact(
            store, "", {"ingress-nginx-4.11.3.tgz": filler("chart", 7000)}, {}, config=helm
        ),
        "isthmus.internal/git/compliantkubernetes-apps-11223344:latest": _artifact(
            store,
            "application/vnd.isthmus.git.v1",
            {"HEAD": b"ref: refs/heads/main\n", "objects/pack/pack-1.pack": filler("git", 50_000)},
            {"dev.isthmus.name": "https://github.com/elastisys/compliantkubernetes-apps"},
        ),
        "ghcr.io/aquasecurity/trivy-db:2": _artifact(
            store,
            "application/vnd.aquasec.trivy.config.v1+json",
            {"db.tar.gz": filler("trivy", 60_000)},
            {"dev.isthmus.max-age": str(days), made: ago(3.4 * days)},
        ),
        "ghcr.io/aquasecurity/trivy-java-db:1": _artifact(
            store,
            "application/vnd.aquasec.trivy.javadb.config.v1+json",
            {"javadb.tar.gz": filler("java", 65_000)},
            {"dev.isthmus.max-age": str(3 * days), made: ago(2.6 * days)},
        ),
        "isthmus.internal/packages/ubuntu-jammy-security-99aabbcc:latest": _artifact(
            store,
            "application/vnd.isthmus.packages.v1",
            {"dists/jammy/Release": b"Origin: Ubuntu\n", "pool/a.deb": filler("deb", 30_000)},
            {"dev.isthmus.name": HOSTILE, "dev.isthmus.max-age": str(30 * days), made: ago(2 * days)},
        ),
    }


def _entry(kind: Kind, name: str, manifest: Manifest, evidence: tuple[str, ...]) -> LockEntry:
    return LockEntry(kind, name, manifest.digest, manifest.media_type, 200_000, evidence=evidence)


def _thing_entry(name: str, manifest: Manifest) -> LockEntry:
    evidence = ("ck8s:sc opensearch-system/opensearch StatefulSet/o/m .spec",)
    kinds: dict[str, Kind] = {"files": "file", "charts": "chart", "git": "git", "packages": "packages"}
    kind: Kind = kinds.get(name.split("/")[1], "artifact")
    url = manifest.annotations.get("dev.isthmus.name") or name
    reference = name if kind != "artifact" else ""
    return LockEntry(kind, url, manifest.digest, manifest.media_type, 9000, evidence=evidence, reference=reference)


def _record(store: Path) -> None:
    for number, (at, key) in enumerate(
        [
            ("2024-09-03T09:30:00Z", "c0ffee0011223344"),
            ("2024-10-15T14:05:00Z", "c0ffee0011223344"),
            ("2024-11-21T08:41:00Z", None),
        ],
        1,
    ):
        record_bundle(
            store,
            ReceivedBundle(
                bundle=f"{number:02x}" * 32,
                name="welkin" if number < 3 else "welkin-hotfix",
                at=at,
                blobs=900 // number,
                bytes=14_000_000_000 // number**2,
                references=210 // number,
                volumes=4,
                reused=400 * (number > 1),
                rebuilt=3 * (number == 2),
                sequence=number + 11,
                expires="2025-06-30T00:00:00Z",
                signed_by=key,
                claimed_by=() if key is None else (key,),
            ),
        )


def _put(store: Store, document: dict[str, Any]) -> Manifest:
    manifest = parse_manifest(json.dumps(document).encode())
    store.put_manifest("x/y", manifest)
    return manifest


def _blob(store: Store, data: bytes, media_type: str) -> dict[str, Any]:
    blob = put_blob(store, data, media_type)
    return {"mediaType": media_type, "digest": str(blob.digest), "size": blob.size}


def _described(manifest: Manifest) -> dict[str, Any]:
    return {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": manifest.size}


def _ca() -> str:
    import trustme

    authority = trustme.CA()
    key = authority.private_key_pem.bytes().decode()
    return key + authority.cert_pem.bytes().decode()
