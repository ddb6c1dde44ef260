"""`rehearse --cluster` against a simulator of kubectl (kubectl_simulator.py); pods against the API models."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Digest
from isthmus.rehearse.pods import LABEL, ClusterNode, PodPlan, Wanted, manifest, plan, seen

SIMULATOR = Path(__file__).with_name("kubectl_simulator.py")
IMAGES = [f"quay.io/a/image-{number}:1" for number in range(25)]
MISSING = (
    "rpc error: code = NotFound desc = failed to pull and unpack image: failed to resolve reference"
    ' "quay.io/a/image-3:1": registry.site.internal/mirror/quay.io/a/image-3:1: not found'
)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


class Simulated:
    """A directory with a lock, and a cluster that is a file."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place / "cluster.json"
        programs = place / "bin"
        programs.mkdir()
        kubectl = programs / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec {sys.executable} -I {SIMULATOR} "$@"\n')
        kubectl.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SIMULATED_CLUSTER": str(self.file),
        }
        self.state: dict[str, Any] = {
            "nodes": {
                "cp-1": ["linux", "amd64", "True"], "worker-1": ["linux", "amd64", "True"],
                "worker-2": ["linux", "amd64", "False"], "win-1": ["windows", "amd64", "True"],
                "arm-1": ["linux", "arm64", "True"],
            },
            "pods": {}, "created": [], "calls": [], "fail": {},
            "digests": {name: digest(number) for number, name in enumerate(IMAGES)},
        }  # fmt: skip
        entries = [
            LockEntry(kind="image", name=name, digest=Digest(digest(number)), size=1, platforms=("linux/amd64",))
            for number, name in enumerate(IMAGES)
        ]
        write_lock(place / "isthmus.lock", Lock(references=tuple(entries)))
        self.save()

    def save(self) -> None:
        self.file.write_text(json.dumps(self.state))

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def command(self, *words: str) -> list[str]:
        start = [sys.executable, "-m", "isthmus", "rehearse", "--json", "--namespace", "pulls"]
        return [*start, *words]

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            self.command(*words), cwd=self.place, env=self.environment, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr.decode()
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document


@pytest.fixture
def cluster(tmp_path: Path) -> Simulated:
    return Simulated(tmp_path)


def test_every_ready_node_pulls_every_image_that_is_for_it(cluster: Simulated) -> None:
    status, found = cluster.run("--cluster")
    assert (status, found["pulled"], found["failed"]) == (0, len(IMAGES), [])
    after = cluster.read()
    assert {pod["spec"]["nodeName"] for pod in after["created"]} == {"cp-1", "worker-1"}
    assert [len(pod["spec"]["containers"]) for pod in after["created"]] == [20, 20, 5, 5]
    assert after["pods"] == {}
    assert all("--namespace=pulls" in call for call in after["calls"])


def test_what_does_not_come_is_named_with_node_and_reason(cluster: Simulated) -> None:
    cluster.state["fail"] = {f"{IMAGES[3]}@worker-1": MISSING}
    cluster.state["digests"][IMAGES[4]] = digest(999)
    cluster.save()
    status, found = cluster.run("--cluster", "--patience", "3s")
    assert status == 3
    assert found["failed"][0] == {"name": IMAGES[3], "why": f"on worker-1: {MISSING}"}
    others = [(item["name"], item["why"].partition(" instead")[0]) for item in found["failed"][1:]]
    assert others == [(IMAGES[4], f"on {node}: the site has {digest(999)}") for node in ("cp-1", "worker-1")]
    assert found["pulled"] == len(IMAGES) - 2
    assert cluster.read()["pods"] == {}


def test_a_dry_run_creates_nothing_and_with_nodes_named_asks_nothing(cluster: Simulated) -> None:
    status, found = cluster.run("--cluster", "--dry-run", "--node", "any", "--image", "quay.io/a/image-1:*")
    assert (status, found["kind"], len(found["items"])) == (0, "List", 1)
    assert found["items"][0]["spec"]["containers"][0]["image"] == IMAGES[1]
    assert cluster.read()["calls"] == []


def test_a_killed_run_is_cleaned_by_its_label(cluster: Simulated) -> None:
    cluster.state["fail"] = {f"{IMAGES[3]}@worker-1": MISSING}
    cluster.state["pods"]["of-others"] = {"metadata": {"name": "of-others", "labels": {"app": "x"}}}
    cluster.save()
    process = _until_pods_are_there(cluster)
    process.kill()
    process.communicate()
    assert len(cluster.read()["pods"]) > 1
    status, found = cluster.run("--cluster", "--clean")
    assert status == 0
    assert found["removed"]
    assert list(cluster.read()["pods"]) == ["of-others"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_takes_its_pods_away(cluster: Simulated, number: signal.Signals) -> None:
    cluster.state["fail"] = {f"{IMAGES[3]}@worker-1": MISSING}
    cluster.save()
    process = _until_pods_are_there(cluster)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert cluster.read()["pods"] == {}


def _until_pods_are_there(cluster: Simulated) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        cluster.command("--cluster", "--patience", "60s"), cwd=cluster.place, env=cluster.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not cluster.read()["created"]:
        time.sleep(0.05)
    time.sleep(0.5)
    return process


def test_what_the_api_refuses_is_said(cluster: Simulated) -> None:
    cluster.state["forbidden"] = 'Error from server (Forbidden): nodes is forbidden: User "x" cannot list'
    cluster.save()
    status, found = cluster.run("--cluster", "kubeconfig")
    assert (status, found["error"]["code"]) == (5, "program-failed")
    assert "Forbidden" in found["error"]["message"]


def test_the_pods_are_what_the_api_knows() -> None:
    """Every key is one of the models of the official client, and nothing that a pod must have is missing."""
    client = pytest.importorskip("kubernetes.client", reason="the kubernetes client is not installed")
    images = [Wanted(name, digest(number)) for number, name in enumerate(IMAGES)]
    pods = plan("abc", [ClusterNode("n", "amd64")], images, 20)
    assert [len(pod.images) for pod in pods] == [20, 5]
    api = client.ApiClient()
    for pod in pods:
        document = manifest(pod, "abc", "pulls", 60)

        class Answer:
            data = json.dumps(document)

        parsed = api.deserialize(Answer, "V1Pod") if _takes_one(api) else api.deserialize(
            json.dumps(document), "V1Pod", "application/json"
        )  # fmt: skip
        assert api.sanitize_for_serialization(parsed) == document
        assert parsed.metadata.labels[LABEL] == "abc"
        assert len(parsed.metadata.name) <= 253


def _takes_one(api: Any) -> bool:
    import inspect

    return "content_type" not in inspect.signature(api.deserialize).parameters


POD = PodPlan("p", ClusterNode("n"), (Wanted("quay.io/a:1", digest(1)),))


def _status(state: dict[str, Any], there: str = "", phase: str = "Pending") -> dict[str, Any]:
    return {"phase": phase, "containerStatuses": [{"name": "image-0", "state": state, "imageID": there}]}


@pytest.mark.parametrize(
    ("status", "events", "expected"),
    [
        ({}, [], ""),
        (_status({"waiting": {"reason": "ContainerCreating"}}), [], ""),
        (_status({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}), [], "Back-off"),
        (
            _status({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}),
            [{"reason": "Failed", "message": 'Failed to pull image "quay.io/a:1": refused'}],
            "refused",
        ),
        (_status({"waiting": {"reason": "RunContainerError"}}), [], "came"),
        (_status({"terminated": {"reason": "StartError", "exitCode": 128}}), [], "came"),
        (_status({"terminated": {"reason": "StartError"}}, f"quay.io/a@{digest(1)}"), [], "came"),
        (_status({"terminated": {"reason": "StartError"}}, "sha256:" + "9" * 64), [], "came"),
        (_status({"terminated": {"reason": "StartError"}}, f"quay.io/a@{digest(2)}"), [], "the site has"),
        (_status({}), [{"reason": "Pulled", "message": 'Successfully pulled image "quay.io/a:1" in 1s'}], "came"),
        ({"phase": "Failed", "reason": "OutOfpods", "message": "Too many pods"}, [], "OutOfpods Too many pods"),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, [], "DeadlineExceeded"),
    ],
)
def test_statuses(status: dict[str, Any], events: list[dict[str, Any]], expected: str) -> None:
    found = seen(POD, status, events)
    if not expected:
        assert found.open == {"quay.io/a:1"}
    elif expected == "came":
        assert found.came == {"quay.io/a:1"}
    else:
        assert found.failed["quay.io/a:1"].startswith(expected)


@given(st.text(max_size=40), st.text(max_size=80), st.text(max_size=60), st.text(max_size=80))
def test_each_image_is_in_one_place(reason: str, message: str, there: str, event: str) -> None:
    status = _status({"waiting": {"reason": reason, "message": message}}, there)
    found = seen(POD, status, [{"reason": "Pulled", "message": event}, {"reason": "Failed", "message": event}])
    assert len(found.came) + len(found.failed) + len(found.open) == 1
