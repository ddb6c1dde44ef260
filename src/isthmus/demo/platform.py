"""The demo's platform: what its upstream registry holds and the manifests that ask for it."""

import hashlib
import json
import sysconfig
from pathlib import Path

from isthmus.demo.images import (
    AMD64,
    ARM64,
    Layer,
    filler,
    make_archive,
    make_layer,
    name_it,
    put_artifact,
    put_image,
    put_index,
)
from isthmus.store import Store

HOSTS = ("docker.io", "quay.io", "ghcr.io", "registry.k8s.io")
BASE_BYTES = 24 * 1024 * 1024
"""About how much of this machine's Python library goes into the base layer, before compression."""

MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: demo}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      initContainers:
        - {{name: migrate, image: "isthmus-demo/migrate:1.0"}}
      containers:
        - {{name: web, image: "isthmus-demo-web:1.0"}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: api, namespace: demo}}
spec:
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      containers:
        - {{name: api, image: "quay.io/isthmus-demo/api:v2"}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: report, namespace: demo}}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - {{name: report, image: "ghcr.io/isthmus-demo/report@{digest}"}}
---
apiVersion: v1
kind: Pod
metadata: {{name: sandbox, namespace: demo}}
spec:
  containers:
    - {{name: pause, image: "registry.k8s.io/isthmus-demo-pause:3.10"}}
"""

ARTIFACT = "ghcr.io/isthmus-demo/rules:1"
"""Nothing in the manifests names it: an operator knows of it and says so in isthmus.yaml."""


FILE_HOST = "files.isthmus-demo.example"
CHART = "web"
CONFIG = f"""\
platform:
  name: demo
  architectures: []
  add:
    - artifact: {ARTIFACT}
    - file: https://{FILE_HOST}/plugins/storage-plugin-1.0.0.zip
      serve: plugins/
    - file: https://{FILE_HOST}/database/vulnerabilities.db
      refresh: 7d
      serve: database/
    - chart: https://{FILE_HOST}/charts#{CHART}?version=^1
site:
  domain: isthmus-demo.internal
  registry: {{host: registry.isthmus-demo.internal, addresses: [127.0.0.1]}}
  files: {{host: files.isthmus-demo.internal, address: 127.0.0.1}}
  dns: {{servers: [127.0.0.1], records: {{ntp.isthmus-demo.internal: [127.0.0.1]}}}}
  ntp: {{servers: [ntp.isthmus-demo.internal]}}
  pki: {{permit: [127.0.0.1]}}
  alerts: {{receivers: [{{name: log, syslog: files.isthmus-demo.internal}}]}}
"""
"""The demo's isthmus.yaml."""


def publish(directory: Path, edition: int) -> int:
    """Write what publishers have besides images, as HOST/PATH; how many files. An edition has its own database."""
    chart = make_archive({f"{CHART}/Chart.yaml": f"apiVersion: v2\nname: {CHART}\nversion: 1.4.2\n".encode()})
    listed = {"name": CHART, "version": "1.4.2", "urls": [f"{CHART}-1.4.2.tgz"],
              "digest": hashlib.sha256(chart).hexdigest()}  # fmt: skip
    files = {
        "plugins/storage-plugin-1.0.0.zip": filler("plugin", 400_000),
        "database/vulnerabilities.db": filler(f"database {edition}", 200_000),
        f"charts/{CHART}-1.4.2.tgz": chart,
        "charts/index.yaml": json.dumps({"apiVersion": "v1", "entries": {CHART: [listed]}}).encode(),
    }
    for path, data in files.items():
        place = directory / FILE_HOST / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return len(files)


def fill_upstream(store: Store) -> str:
    """Build everything into the upstream's store and return the manifests that ask for it."""
    base = make_layer(_library_files())
    web = put_image(store, "docker.io/library/isthmus-demo-web", [base, _app("web", 3_000_000)])
    name_it(store, "isthmus-demo-web:1.0", web)
    put_artifact(
        store,
        "docker.io/library/isthmus-demo-web",
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        {"application/vnd.dev.cosign.simplesigning.v1+json": b'{"critical":{"type":"demo signature"}}'},
        subject=web,
    )
    migrate = put_image(store, "docker.io/isthmus-demo/migrate", [base, _app("migrate", 500_000)])
    name_it(store, "isthmus-demo/migrate:1.0", migrate)
    api = [
        (put_image(store, "quay.io/isthmus-demo/api", [base, _app(f"api-{p.architecture}", 2_000_000)], p), p)
        for p in (AMD64, ARM64)
    ]
    name_it(store, "quay.io/isthmus-demo/api:v2", put_index(store, "quay.io/isthmus-demo/api", api))
    report = put_image(store, "ghcr.io/isthmus-demo/report", [base, _app("report", 1_000_000)])
    name_it(store, f"ghcr.io/isthmus-demo/report@{report.digest}", report)
    pause = put_image(store, "registry.k8s.io/isthmus-demo-pause", [_app("pause", 100_000)])
    name_it(store, "registry.k8s.io/isthmus-demo-pause:3.10", pause)
    rules = put_artifact(
        store,
        "ghcr.io/isthmus-demo/rules",
        "application/vnd.isthmus.demo.rules",
        {"application/vnd.isthmus.demo.rules.layer+yaml": b"- rule: nothing leaves\n"},
    )
    name_it(store, ARTIFACT, rules)
    return MANIFESTS.format(digest=report.digest)


def _app(name: str, size: int) -> Layer:
    return make_layer({f"bin/{name}": filler(name, size), "etc/app.conf": f"name={name}\n".encode()})


def _library_files() -> dict[str, bytes]:
    """Real files, so that compression and sizes are not made up."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(root.glob("*.py")) + sorted(root.glob("*/*.py")):
        if "site-packages" in path.parts or total > BASE_BYTES:
            continue
        data = path.read_bytes()
        total += len(data)
        files[f"usr/lib/python/{path.relative_to(root)}"] = data
    return files
