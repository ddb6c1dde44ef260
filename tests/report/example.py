"""A made-up platform with every kind of thing in it, for the report's page and its other forms.

The names are those of real upstreams; digests and sizes follow from the names.
"""

import hashlib

from isthmus.inventory.config import Config
from isthmus.inventory.config_file import parse_config
from isthmus.inventory.lock import Lock, LockedContent, LockedReferrer, LockEntry
from isthmus.inventory.model import Endpoint, Finding, Inventory, Item
from isthmus.oci import Digest
from isthmus.report.platform import Known, PlatformReport, make_report
from isthmus.report.platform.model import ApprovalSeen, Crossing, Egress, Evidence, Failed, Open, Rehearsed

MANIFEST = "application/vnd.oci.image.index.v1+json"
MB = 1_000_000

CHARTS = {
    "helmfile:helmfile.d/20-ingress.yaml ingress-nginx": [
        ("registry.k8s.io/ingress-nginx/controller:v1.11.5", 294),
        ("registry.k8s.io/ingress-nginx/kube-webhook-certgen:v1.5.2", 61),
    ],
    "helmfile:helmfile.d/30-monitoring.yaml kube-prometheus-stack": [
        ("quay.io/prometheus/prometheus:v2.55.1", 281),
        ("quay.io/prometheus/alertmanager:v0.27.0", 70),
        ("quay.io/prometheus/node-exporter:v1.8.2", 25),
        ("quay.io/prometheus-operator/prometheus-operator:v0.79.2", 66),
        ("registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.14.0", 48),
        ("docker.io/grafana/grafana:11.4.0", 486),
        ("quay.io/kiwigrid/k8s-sidecar:1.28.0", 83),
    ],
    "helmfile:helmfile.d/40-logging.yaml opensearch": [
        ("docker.io/opensearchproject/opensearch:2.19.4", 1430),
        ("docker.io/opensearchproject/opensearch-dashboards:2.19.4", 1190),
        ("ghcr.io/fluent/fluentd-kubernetes-daemonset:v1.17-debian-opensearch-1", 212),
    ],
    "helmfile:helmfile.d/50-security.yaml": [
        ("docker.io/falcosecurity/falco:0.40.0", 312),
        ("docker.io/falcosecurity/falcosidekick:2.31.1", 58),
        ("mirror.gcr.io/aquasec/trivy-operator:0.24.1", 91),
        ("mirror.gcr.io/aquasec/trivy:0.60.0", 163),
        ("docker.io/openpolicyagent/gatekeeper:v3.18.2", 121),
    ],
    "helmfile:helmfile.d/60-registry.yaml harbor": [
        ("docker.io/goharbor/harbor-core:v2.12.2", 190),
        ("docker.io/goharbor/harbor-db:v2.12.2", 270),
        ("docker.io/goharbor/registry-photon:v2.12.2", 86),
        ("docker.io/goharbor/trivy-adapter-photon:v2.12.2", 372),
    ],
    "kubespray:kubespray?inventory=site": [
        ("registry.k8s.io/kube-apiserver:v1.31.4", 94),
        ("registry.k8s.io/kube-controller-manager:v1.31.4", 88),
        ("registry.k8s.io/kube-scheduler:v1.31.4", 67),
        ("registry.k8s.io/kube-proxy:v1.31.4", 91),
        ("registry.k8s.io/coredns/coredns:v1.11.3", 62),
        ("registry.k8s.io/pause:3.10", 1),
        ("quay.io/calico/node:v3.29.1", 402),
        ("quay.io/calico/cni:v3.29.1", 210),
    ],
}
FILES = {
    "https://dl.k8s.io/release/v1.31.4/bin/linux/amd64/kubelet": 77,
    "https://github.com/etcd-io/etcd/releases/download/v3.5.16/etcd-v3.5.16-linux-amd64.tar.gz": 20,
    "https://artifacts.opensearch.org/releases/plugins/repository-s3/2.19.4/repository-s3-2.19.4.zip": 34,
}
YAML = b"""
platform:
  name: welkin
  sources: [images:images.txt]
  decide:
  - {endpoint: "https://acme-v02.api.letsencrypt.org", decision: internal, reason: the site has a CA of its own}
  - {endpoint: "https://hooks.slack.com", decision: disable, reason: alerts go by mail}
  waive:
  - {what: "chart example/unused*", reason: only a test renders it}
site: {domain: air-gapped.internal}
"""


def config() -> Config:
    return parse_config(YAML)


def digest_of(text: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def lock(version: str = "") -> Lock:
    """The lock; with another `version` some things have other digests, and two are not there yet."""
    entries = []
    for source, images in CHARTS.items():
        for number, (name, size) in enumerate(images):
            path = name.partition("/")[2].rpartition(":")[0].rpartition("/")[2]
            lines = [f"{source} Deployment/monitoring/{path} .spec.template.spec.containers[{number}].image"]
            if number == 0:
                lines += [
                    f"{source} DaemonSet/kube-system/{path}-{n} .spec.template.spec.containers[0].image"
                    for n in range(4)
                ]
            signature = LockedReferrer(
                digest_of(f"sig {name}"), MANIFEST, "application/vnd.dev.cosign.artifact.sig.v1+json", 900
            )
            entries.append(
                LockEntry(
                    "image",
                    name,
                    digest_of(f"{name}{version if number == 1 else ''}"),
                    MANIFEST,
                    size * MB,
                    ("linux/amd64",),
                    (signature,) if number % 2 else (),
                    tuple(lines),
                )
            )
    for url, size in FILES.items():
        content = LockedContent(url.rpartition("/")[2], digest_of(f"bytes {url}"), size * MB, url)
        entries.append(
            LockEntry(
                "file",
                url,
                digest_of(url),
                "",
                size * MB,
                evidence=("kubespray:kubespray?inventory=site .downloads",),
                reference=f"isthmus.internal/files/{hashlib.sha256(url.encode()).hexdigest()[:8]}:latest",
                serve=url.removeprefix("https://"),
                contents=(content,),
                verified_by=("sha256 in kubespray's checksums",),
            )
        )
    entries.append(
        LockEntry(
            "artifact",
            "ghcr.io/aquasecurity/trivy-db:2",
            digest_of(f"db{version}"),
            MANIFEST,
            61 * MB,
            evidence=("isthmus.yaml .platform.add[0]",),
            max_age=3 * 86400,
            created="2026-11-18T06:11:00Z",
        )
    )
    entries.append(
        LockEntry(
            "artifact",
            "ghcr.io/falcosecurity/rules/falco-rules:3",
            digest_of("rules"),
            MANIFEST,
            MB,
            evidence=("helmfile:helmfile.d/50-security.yaml falco ConfigMap/falco/falcoctl .data",),
            max_age=30 * 86400,
            created="2026-09-01T00:00:00Z",
            checked="2026-11-20T10:00:00Z",
        )
    )
    if version:
        entries = [entry for entry in entries if "trivy-operator" not in entry.name and "etcd" not in entry.name]
        entries.append(
            LockEntry("image", "docker.io/library/busybox:1.36", digest_of("busybox"), MANIFEST, 4 * MB)
        )
    return Lock(platforms=("linux/amd64",), references=tuple(entries))


def inventory() -> Inventory:
    source = "helmfile:helmfile.d/30-monitoring.yaml"
    return Inventory(
        endpoints=(
            Endpoint(
                "https://grafana.com/api/plugins",
                "plugin catalogue",
                (Finding(source, "ConfigMap/monitoring/grafana", ".data.grafana.ini"),),
                advice="set analytics.check_for_updates to false",
            ),
            Endpoint(
                "https://hooks.slack.com/services/x",
                "alerts",
                (Finding(source, "Secret/monitoring/alertmanager"),),
                "disable",
            ),
            Endpoint(
                "ntp://pool.ntp.org", "time", (Finding("kubespray:kubespray", "", ".ntp_servers"),), "internal"
            ),
        ),
        unresolved=(
            Item(
                "image ${REGISTRY}/exporter:${TAG}",
                "the variable REGISTRY has no value",
                Finding(
                    "manifests:extra/exporter.yaml",
                    "Deployment/monitoring/exporter",
                    ".spec.template.spec.containers[0].image",
                ),
                "give it a value, or add the image in platform.add",
            ),
        ),
    )


def crossings() -> tuple[Crossing, ...]:
    def approved(number: int) -> ApprovalSeen:
        if number == 2:
            return ApprovalSeen("?", "", "", "0123456789abcdef", "its signature is wrong")
        time = f"2026-{5 + number:02}-19T09:30:00Z"
        return ApprovalSeen("A. Officer", time, "looked at the changes", "9f2c51d0aa31c6be", "verified")

    sizes = [9_800, 610, 1_240, 380, 2_900, 190]
    return tuple(
        Crossing(
            bundle=hashlib.sha256(str(number).encode()).hexdigest(),
            name="welkin",
            sequence=number,
            created=f"2026-{5 + number:02}-18T08:00:00Z",
            received=f"2026-{5 + number:02}-20T13:05:00Z" if number < 6 else "",
            bytes=size * MB,
            total=(9_800 + 260 * number) * MB,
            references=38 + number,
            new=number % 3,
            changed=4 if number > 1 else 0,
            removed=1 if number == 4 else 0,
            signed_by=("carrier 63ad400d2456e5ec",),
            approvals=(approved(number),),
        )
        for number, size in enumerate(sizes, 1)
    )


def rehearsal() -> Rehearsed:
    return Rehearsed(
        pulled=34,
        fetched=5,
        started=30,
        failed=(
            Failed("docker.io/goharbor/trivy-adapter-photon:v2.12.2", "the registry has no such manifest (404)"),
        ),
        egress=(
            Egress("download.falco.org", 443, "tcp", "docker.io/falcosecurity/falco:0.40.0 (falcoctl)", 6),
            Egress("stats.grafana.org", 0, "dns", "docker.io/grafana/grafana:11.4.0 (grafana)", 2, "disable"),
        ),
        notes=("entry points ran for 10 s each",),
    )


def known() -> Known:
    absent = "docker.io/goharbor/trivy-adapter-photon:v2.12.2"
    moved = "docker.io/grafana/grafana:11.4.0"
    return Known(
        config=config(),
        inventory=inventory(),
        checked="by asking the registry registry.air-gapped.internal for every manifest, by digest",
        missing={absent: ("it is not there",)},
        stale={moved: (f"it points to {digest_of('other')} instead of {digest_of(moved)}",)},
        crossings=crossings(),
        rehearsal=rehearsal(),
        previous=lock("before"),
        waiting=(
            Open(
                "site-decision",
                "site.object_storage.region",
                "clients sign requests for a region and are refused where it is another",
                "ask who runs the object storage",
                (Evidence("isthmus.yaml", "", "site.object_storage.region"),),
            ),
        ),
    )


def report() -> PlatformReport:
    return make_report(lock(), known())
