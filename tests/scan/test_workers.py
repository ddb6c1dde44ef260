import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.inventory.model import Inventory
from isthmus.scan import run, workers
from isthmus.scan.run import scan
from isthmus.scan.worker import Task
from isthmus.scan.yaml_reader import Piece

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{image: x/y:%d}]}\n---\n"
REST = """
apiVersion: x.example.com/v1
kind: Thing
metadata: {name: t}
spec: {image: busybox}
---
a: {{ x }}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: {group: x.example.com, names: {kind: Thing}, versions: [{schema: {openAPIV3Schema: {properties: {spec:
  {properties: {image: {type: string}}}}}}}]}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: i}
spec: {acme: {server: 'https://acme.example.dev/dir'}}
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text("".join(POD % (n, n % 50) for n in range(400)))
    (tmp_path / "b.yaml").write_text(REST)
    (tmp_path / "c.yaml").write_bytes(b"\xff")
    return tmp_path


def shared_out(monkeypatch: pytest.MonkeyPatch, platform: Path) -> Inventory:
    monkeypatch.setattr(run, "process_count", lambda: 2)
    monkeypatch.setattr(run, "MIN_SHARED", 1)
    monkeypatch.setattr(run, "TASK_SIZE", 5000)
    return scan([f"manifests:{platform}"])


def test_processes_find_the_same(monkeypatch: pytest.MonkeyPatch, platform: Path) -> None:
    alone = scan([f"manifests:{platform}"])
    assert len(alone.references) == 51
    assert len(alone.unresolved) == 2
    assert alone.endpoints
    assert shared_out(monkeypatch, platform) == alone


def test_they_use_the_catalogue_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("kinds: [{group: a.io, kinds: [A], fields: ['.spec.run']}]")
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "a.yaml").write_text("{apiVersion: a.io/v1, kind: A, spec: {run: 'r.io/x'}}")
    monkeypatch.setattr(run, "process_count", lambda: 2)
    monkeypatch.setattr(run, "MIN_SHARED", 1)
    inventory = scan([f"manifests:{tmp_path / 'platform'}"], [str(tmp_path / "own.yaml")])
    assert [ref.name for ref in inventory.references] == ["r.io/x:latest"]


def test_a_process_that_ends_is_an_item(monkeypatch: pytest.MonkeyPatch, platform: Path) -> None:
    def start() -> subprocess.Popen[bytes]:
        program = "import sys; sys.stdin.buffer.read(8)"
        return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(workers, "_start", start)
    inventory = shared_out(monkeypatch, platform)
    assert not inventory.references
    assert {item.what.partition(".yaml")[0].rpartition("/")[2] for item in inventory.unresolved} == {"a", "b", "c"}
    assert any("could not be scanned" in item.why for item in inventory.unresolved)


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> subprocess.Popen[bytes]:
        program = "import time; time.sleep(60)"
        return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(workers, "_start", start)
    monkeypatch.setattr(workers, "TASK_SECONDS", 0.2)
    task = Task("manifests:a", "a", (Piece(1, "a: 1"),))
    (answer,) = workers.share_out([task], 1)
    assert len(answer.items) == 1


def test_leaving_early_ends_the_processes(platform: Path) -> None:
    tasks = (Task("l", "a", (Piece(n, POD % (n, n)),)) for n in range(100))
    answers = workers.share_out(tasks, 2)
    assert next(answers).documents == 1
    answers.close()  # type: ignore[attr-defined]
