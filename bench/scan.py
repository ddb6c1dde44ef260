"""5,000 documents, about 20 MB of YAML: `isthmus scan` beside what people use instead, and what each finds.

`yq` is the Go program, asked as the guides ask it: every value below a key `image`. `zarf` is not compared,
because it wants a package of its own around the manifests. The documents are made up from a few shapes, with
images where real platforms have them: containers, arguments, ConfigMaps and custom resources.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.measure import Cost, Spread, take_turns
from bench.measure import run as cost_of
from bench.options import Options
from bench.peers import find, version
from bench.report import MIB, Report, Table

DOCUMENTS = 5000
FILES = 10
SECONDS, MEMORY = 10.0, 500 * MIB

POD = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: app-{n}, namespace: ns-{n}}}
spec:
  template:
    spec:
      containers:
"""
CONTAINER = """      - name: c{i}
        image: registry.example.com/group/app-{i}:v{v}
        args: ["--config=/etc/app.yaml", "--helper-image=registry.example.com/group/helper-{i}:v{v}"]
        env:
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: RELATED_IMAGE_TOOL, value: "registry.example.com/group/tool-{i}:v{v}"}}
        ports: [{{containerPort: 8080, name: http}}, {{containerPort: 9090, name: metrics}}]
        resources: {{limits: {{cpu: 100m, memory: 128Mi}}, requests: {{cpu: 10m, memory: 64Mi}}}}
        volumeMounts: [{{mountPath: /etc/app, name: config}}, {{mountPath: /tmp, name: tmp}}]
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{n}}}\ndata:\n  app.yaml: |\n"
CONFIG_LINE = "    part{i}:\n      image: registry.example.com/group/part-{i}:v{v}\n      values: [1, 2, 3]\n"
SHAPES = 40
"""So many versions of each image there are; scans must not profit from every document being the same."""


def run(options: Options) -> Report:
    """Measure every contender that is here, in turns."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-scan-") as name:
        corpus = Path(name) / "corpus"
        wanted = _write(corpus)
        contenders = {"isthmus": _isthmus(corpus, Path(name), wanted)}
        yq = find("yq")
        if yq is not None and "mikefarah" in version("yq"):
            contenders["yq"] = _yq(yq, corpus, Path(name), wanted)
        costs = take_turns(contenders, options.runs, options.say)
        size = sum(path.stat().st_size for path in corpus.iterdir())
    ours = costs["scan"]["isthmus"]
    failures = []
    if Spread.of([cost.wall for cost in ours]).median > SECONDS:
        failures.append(f"scan took more than {SECONDS:.0f} s")
    if max(cost.peak_rss for cost in ours) > MEMORY:
        failures.append("scan needed more than 500 MiB")
    return Report(
        name="scan",
        settings={"documents": DOCUMENTS, "bytes": size, "images": len(wanted), "runs": options.runs},
        versions={name: version(name) for name in costs["scan"] if name != "isthmus"},
        costs=costs,
        tables=[_table(costs["scan"], len(wanted))],
        failures=failures,
    )


def _write(corpus: Path) -> frozenset[str]:
    """The documents, and every image that is in them."""
    corpus.mkdir()
    wanted: set[str] = set()
    per_file = DOCUMENTS // FILES
    for number in range(FILES):
        documents = [_document(number * per_file + n, wanted) for n in range(per_file)]
        (corpus / f"{number:02}.yaml").write_text("---\n".join(documents))
    return frozenset(wanted)


def _document(n: int, wanted: set[str]) -> str:
    version = n % SHAPES
    if n % 5 == 4:
        wanted.update(f"registry.example.com/group/part-{i}:v{version}" for i in range(45))
        return CONFIG.format(n=n) + "".join(CONFIG_LINE.format(i=i, v=version) for i in range(45))
    for what in ("app", "helper", "tool"):
        wanted.update(f"registry.example.com/group/{what}-{i}:v{version}" for i in range(6))
    return POD.format(n=n) + "".join(CONTAINER.format(i=i, v=version) for i in range(6))


def _isthmus(corpus: Path, place: Path, wanted: frozenset[str]) -> Callable[[], Mapping[str, Cost]]:
    def contend() -> Mapping[str, Cost]:
        log = place / "isthmus.json"
        command = [sys.executable, "-m", "isthmus", "scan", f"manifests:{corpus}", "-q", "--out", str(log)]
        cost = cost_of(command, cwd=place)
        found = {ref["name"] for ref in json.loads(log.read_bytes())["references"]}
        return {"scan": _with(cost, found, wanted)}

    return contend


def _yq(yq: Path, corpus: Path, place: Path, wanted: frozenset[str]) -> Callable[[], Mapping[str, Cost]]:
    def contend() -> Mapping[str, Cost]:
        log = place / "yq.txt"
        cost = cost_of([yq, "--no-doc", "..|.image?", *sorted(corpus.iterdir())], cwd=place, log=log)
        return {"scan": _with(cost, set(log.read_text().splitlines()), wanted)}

    return contend


def _with(cost: Cost, found: set[str], wanted: frozenset[str]) -> Cost:
    facts = {"found": len(found & wanted)}
    return Cost(cost.wall, cost.user, cost.system, cost.peak_rss, facts)


def _table(costs: Mapping[str, list[Cost]], wanted: int) -> Table:
    rows = []
    for name, runs in costs.items():
        wall, cpu = Spread.of([cost.wall for cost in runs]), Spread.of([cost.cpu for cost in runs])
        peak = max(cost.peak_rss for cost in runs) / MIB
        found = f"{runs[0].facts['found']:.0f} of {wanted}"
        rows.append(
            (
                name,
                f"{wall.median:.2f}",
                f"{wall.least:.2f}–{wall.most:.2f}",
                f"{cpu.median:.2f}",
                f"{peak:.0f}",
                found,
            )
        )
    heads = ("", "wall s", "least–most", "CPU s", "peak MiB", "images found")
    return Table("5,000 documents", heads, rows, [] if len(rows) > 1 else ["(yq: python -m bench.peers yq)"])
