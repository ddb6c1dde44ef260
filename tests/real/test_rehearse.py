"""Rehearsals for real: namespaces, containerd, entry points that call out; and nothing is left afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.content.artifact import make_file
from isthmus.demo.images import make_layer, name_it, put_artifact
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Reference
from isthmus.store import Store
from tests.real.programs import require, require_root
from tests.rehearse.closed_world import Platform, host_network, leftovers, rehearse

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("rehearsal")]


@pytest.fixture(autouse=True)
def _programs() -> None:
    require_root("a rehearsal")
    require("containerd", "ctr", "runc", "ip", "nsenter", "setpriv")
    if (
        b"statically"
        not in subprocess.run(["sh", "-c", "ldd /bin/busybox 2>&1; echo statically"], capture_output=True).stdout
    ):
        pytest.skip("busybox is not here")


def test_exactly_what_is_wrong_is_reported_with_image_and_process(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "docker.io/library/quiet:1", ["/bin/sh", "-c", "sleep 30"])
        platform.image(store, "quay.io/calls/by-name:1", ["/bin/nslookup", "telemetry.example.com"])
        platform.image(store, "quay.io/calls/address:1", ["/bin/nc", "-w", "3", "203.0.113.7", "4444"])
        # Debian's static wget cannot look up names without the rest of Debian; what follows is the same.
        asks = "nslookup download.example.org | sed -n 's/^Address: *//p' | tail -n 1"
        fetches = f"nc -w 2 $({asks}) 80; sleep 1"
        platform.image(store, "ghcr.io/driver/loader:1", ["/bin/sh", "-c", fetches])
        platform.image(store, "quay.io/calls/six:1", ["/bin/nc", "-w", "3", "2001:db8::7", "4444"])
        platform.image(store, "registry.k8s.io/absent:9", ["/bin/sleep", "1"], named=False)
    platform.write()
    before = host_network()
    status, found = rehearse(tmp_path, "--run", "4s", "--out", "rehearsal.html")
    assert status == 3
    assert [item["name"] for item in found["failed"]] == ["registry.k8s.io/absent:9"]
    assert "not found" in found["failed"][0]["why"]
    rows = {(row["to"], row["port"], row["proto"], row["image"], row["process"]) for row in found["egress"]}
    assert rows == {
        ("telemetry.example.com", 53, "dns", "quay.io/calls/by-name:1", "nslookup"),
        ("203.0.113.7", 4444, "tcp", "quay.io/calls/address:1", "nc"),
        ("2001:db8::7", 4444, "tcp", "quay.io/calls/six:1", "nc"),
        ("download.example.org", 80, "tcp", "ghcr.io/driver/loader:1", "nc"),
    }
    assert (found["pulled"], found["started"]) == (5, 5)
    assert host_network() == before
    assert leftovers() == []
    page = (tmp_path / "rehearsal.html").read_text()
    assert "download.example.org" in page
    assert "<script" not in page


def test_decided_ways_out_and_a_complete_site_are_fine(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "quay.io/calls/by-name:1", ["/bin/nslookup", "telemetry.example.com"])
        rules = put_artifact(store, "ghcr.io/a/rules", "application/x", {"text/plain": b"rules"})
        name_it(store, "ghcr.io/a/rules:1", rules)
        platform.lock("ghcr.io/a/rules:1", rules, "artifact")
        platform.entries.append(_file(store))
    platform.write()
    decide = "platform: {decide: [{endpoint: 'https://telemetry.example.com', decision: disable}]}\n"
    (tmp_path / "isthmus.yaml").write_text(decide + "site: {registry: {host: registry.site.internal}}\n")
    status, found = rehearse(tmp_path, "--run", "2s")
    assert (status, found["failed"]) == (0, []), found
    assert (found["pulled"], found["fetched"]) == (1, 2)
    assert [row["decision"] for row in found["egress"]] == ["disable"]


def _file(store: Store) -> LockEntry:
    return make_file(store, "https://example.com/a/plugin.zip", b"plugin", serve="example.com/a/plugin.zip")


def test_what_a_killed_rehearsal_left_is_cleaned_by_the_next(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        platform.image(store, "docker.io/library/quiet:1", ["/bin/sh", "-c", "sleep 30"])
    platform.write()
    before = host_network()
    command = [sys.executable, "-m", "isthmus", "rehearse", "--store", "store", "--run", "30s"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Its own, by its process: another's would end the wait before there is anything to leave.
    began = Path(f"/run/netns/isthmus-rehearsal-{process.pid}-p1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not began.exists():
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert leftovers()
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", "rehearse", "--clean", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["removed"]
    assert leftovers() == []
    assert host_network() == before


SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ck8s" / "truth"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the platform of the guide is not here")
def test_the_guides_platform_is_rehearsed_in_less_than_three_minutes(tmp_path: Path) -> None:
    """All its images by their true names; what is in them is a stand-in of a few bytes."""
    now = {
        f"{reference.repository}:{reference.tag or 'by-digest'}"
        for file in SHARED.glob("*.json")
        for image in json.loads(file.read_text())["images"]
        if (reference := Reference.parse(image["ref"]))
    }
    names = sorted(now | {f"{name}-next" for name in now})  # this release and, before an upgrade, the next
    assert len(names) >= 120
    platform = Platform(tmp_path, make_layer({"etc/stand-in": b"yes\n"}))
    with Store.create(tmp_path / "store") as store:
        for number, name in enumerate(names):
            platform.image(store, name, ["/no-such-program", str(number)])
    platform.write()
    started = time.monotonic()
    status, found = rehearse(tmp_path, "--jobs", "6")
    assert (status, found["failed"], found["egress"]) == (0, [], [])
    assert found["pulled"] == len(names)
    assert time.monotonic() - started < 180
