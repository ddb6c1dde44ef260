"""A small platform in a store: images with packages of every kind, SBOMs, signatures."""

import base64
import gzip
import io
import json
import sqlite3
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isthmus.bundle import BundlePlan, SignedBy, plan_bundle
from isthmus.oci import Manifest, parse_manifest
from isthmus.oci.cosign import parse_keys
from isthmus.oci.descriptor import EMPTY_JSON, OCI_MANIFEST
from isthmus.report import Asked
from isthmus.store import Store
from tests.bundle.conftest import as_json, put_blob, put_index

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"

DPKG = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Description: GNU C Library
 continued

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: nginx
Status: install ok installed
Architecture: amd64
Version: 1.22.1-9+deb12u2
"""
APK = b"""C:Q1x=
P:musl
V:1.2.5-r9
A:x86_64
L:MIT
o:musl

P:busybox
V:1.37.0-r12
A:x86_64
L:GPL-2.0-only
"""
COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: LGPL-2.1+

License: GPL-2+
 text
"""
OS_RELEASE = b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


def tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def layer(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(tar(files), mtime=0)


def dist_info(name: str, version: str, licence: str) -> dict[str, bytes]:
    text = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: {licence}\n\nLong text\n"
    return {f"usr/lib/python3/dist-packages/{name}-{version}.dist-info/METADATA": text.encode()}


def rpm_header(**tags: str) -> bytes:
    """An immutable header as rpm keeps it: counts, an index of tags, and their strings."""
    numbers = {"name": 1000, "version": 1001, "release": 1002, "license": 1014, "arch": 1022}
    index, data = b"", b""
    for tag, value in tags.items():
        index += struct.pack(">IIII", numbers[tag], 6, len(data), 1)
        data += value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(data)) + index + data


def rpmdb(*headers: bytes) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
    connection.commit()
    data = connection.serialize()
    connection.close()
    return data


def put(
    store: Store, repository: str, tag: str, layers: list[bytes], labels: Mapping[str, str] | None = None
) -> Manifest:
    document = {"architecture": "amd64", "os": "linux", "config": {"Labels": dict(labels or {})}}
    config = put_blob(store, json.dumps(document | {"for": repository}).encode(), CONFIG)
    return put_manifest(
        store,
        repository,
        tag,
        {"config": as_json(config), "layers": [as_json(put_blob(store, x)) for x in layers]},
    )


def put_manifest(store: Store, repository: str, tag: str, document: dict[str, Any]) -> Manifest:
    whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, **document}
    manifest = parse_manifest(json.dumps(whole).encode())
    store.put_manifest(repository, manifest, tag)
    return manifest


def attach(
    store: Store, repository: str, subject: Manifest, kind: str, data: bytes, **annotations: str
) -> Manifest:
    """A referrer with one layer."""
    blob = as_json(put_blob(store, data, kind)) | ({"annotations": annotations} if annotations else {})
    document = {
        "artifactType": kind,
        "config": as_json(put_blob(store, b"{}", EMPTY_JSON)),
        "layers": [blob],
        "subject": as_json(subject.descriptor()),
    }
    return put_manifest(store, repository, "", document)


class Signer:
    """Signs as cosign does, by its published specification; the real cosign is tested in tests/real."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, message: bytes) -> str:
        return base64.b64encode(self._key.sign(message, ec.ECDSA(SHA256()))).decode()

    def simple(self, store: Store, repository: str, subject: Manifest) -> None:
        """A payload under the tag `sha256-….sig`."""
        critical = {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": str(subject.digest)},
            "type": "cosign container image signature",
        }
        payload = json.dumps({"critical": critical, "optional": None}).encode()
        blob = put_blob(store, payload, "application/vnd.dev.cosign.simplesigning.v1+json")
        layer = as_json(blob) | {"annotations": {"dev.cosignproject.cosign/signature": self.sign(payload)}}
        config = put_blob(store, b'{"architecture":""}', CONFIG)
        document = {"config": as_json(config), "layers": [layer]}
        put_manifest(store, repository, f"sha256-{subject.digest.hex}.sig", document)

    def envelope(self, subject: Manifest, predicate: str, body: Any) -> dict[str, Any]:
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "x", "digest": {"sha256": subject.digest.hex}}],
            "predicateType": predicate,
            "predicate": body,
        }
        kind, payload = "application/vnd.in-toto+json", json.dumps(statement).encode()
        message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        return {
            "payloadType": kind,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": "", "sig": self.sign(message)}],
        }


@dataclass
class Platform:
    """The store, the plan of a bundle of it, and what is known beside it."""

    store: Store
    signer: Signer
    place: Path

    def plan(self) -> BundlePlan:
        return plan_bundle(self.store, name="welkin", sequence=7)

    def asked(self, **options: Any) -> Asked:
        demand = SignedBy(parse_keys(self.signer.pem, "cosign.pub"), "", "cosign.pub")
        return Asked(evidence=EVIDENCE, signers=(demand,), keys=("5f0c2a9be1d34c77",), **options)


NGINX, TOOLS, STATIC = "docker.io/library/nginx", "ghcr.io/elastisys/curl-jq", "registry.k8s.io/pause"
CONTROLLER, UBI = "registry.k8s.io/ingress-nginx/controller", "quay.io/example/operator"
EVIDENCE = {
    ("image", f"{NGINX}:1.22.1"): (
        "ck8s:wc user/demo Deployment/demo/web .spec.template.spec.containers[0].image",
        "manifests:extra.yaml Deployment/tools/proxy .spec.template.spec.containers[0].image",
    ),
    ("image", f"{TOOLS}:1.0.0"): ("ck8s:sc monitoring/alerts CronJob/monitoring/alerts .spec.jobTemplate.image",),
    ("image", f"{CONTROLLER}:v1.11.3"): (
        "ck8s:sc ingress-nginx/ingress-nginx DaemonSet/ingress-nginx/controller .spec.template.spec.containers[0]",
        "ck8s:wc ingress-nginx/ingress-nginx DaemonSet/ingress-nginx/controller .spec.template.spec.containers[0]",
    ),
    ("image", f"{STATIC}:3.10"): ("kubespray:kubespray pod_infra_image_repo",),
    ("image", f"{UBI}:v2"): (
        "helm:operator Deployment/operators/operator .spec.template.spec.containers[0].image",
    ),
}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    store = Store.create(tmp_path / "store")
    platform = Platform(store, Signer(), tmp_path)
    fill(platform)
    return platform


def fill(platform: Platform) -> None:
    store, signer = platform.store, platform.signer
    base = layer(
        {"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": DPKG, "usr/share/doc/libc6/copyright": COPYRIGHT}
    )
    labels = {
        "org.opencontainers.image.licenses": "BSD-2-Clause",
        "org.opencontainers.image.source": "https://x/y",
    }
    nginx = put(store, NGINX, "1.22.1", [base, layer({"usr/sbin/nginx": b"x" * 70_000})], labels)
    signer.simple(store, NGINX, nginx)
    attach(store, NGINX, nginx, "application/vnd.cyclonedx+json", cyclonedx_document())
    alpine = layer(
        {
            "lib/apk/db/installed": APK,
            "etc/os-release": b"ID=alpine\n",
            **dist_info("requests", "2.32.3", "Apache-2.0"),
        }
    )
    put(store, TOOLS, "1.0.0", [alpine, layer({"usr/bin/jq": b"j" * 9_000})])
    child = put(store, CONTROLLER, "", [alpine, layer({"nginx-ingress-controller": b"c" * 40_000})])
    index = put_index(store, CONTROLLER, "v1.11.3", [(child, "linux/amd64")])
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "dsseEnvelope": signer.envelope(index, "https://sigstore.dev/cosign/sign/v1", {}),
    }
    attach(store, CONTROLLER, index, bundle["mediaType"], json.dumps(bundle).encode())  # type: ignore[arg-type]
    spdx = json.dumps(signer.envelope(index, "https://spdx.dev/Document", spdx_document())).encode()
    attach(
        store, CONTROLLER, index, "application/vnd.dsse.envelope.v1+json", spdx,
        predicateType="https://spdx.dev/Document",
    )  # fmt: skip
    put(store, STATIC, "3.10", [layer({"pause": b"p" * 500})])
    database = rpmdb(
        rpm_header(name="bash", version="5.2", release="3.el9", arch="x86_64", license="GPL-3.0-or-later")
    )
    put(store, UBI, "v2", [layer({"var/lib/rpm/rpmdb.sqlite": database, "etc/os-release": b"ID=rhel\n"})])


def cyclonedx_document() -> bytes:
    components = [
        {"type": "library", "name": "openssl", "version": "3.0.15", "purl": "pkg:generic/openssl@3.0.15",
         "licenses": [{"license": {"id": "Apache-2.0"}}]},
    ]  # fmt: skip
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}).encode()


def spdx_document() -> dict[str, Any]:
    ref = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
           "referenceLocator": "pkg:golang/k8s.io/ingress-nginx@v1.11.3"}  # fmt: skip
    package = {"name": "k8s.io/ingress-nginx", "versionInfo": "v1.11.3", "licenseDeclared": "Apache-2.0",
               "externalRefs": [ref]}  # fmt: skip
    return {"spdxVersion": "SPDX-2.3", "name": "controller", "packages": [package]}
