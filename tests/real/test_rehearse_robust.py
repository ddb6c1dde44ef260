"""Rehearsals that go wrong: stopped, killed, two at once, images that misbehave; and nothing is left of any."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isthmus.demo.images import CONFIG_TYPE, LAYER_TYPE, name_it, put_blob, put_manifest
from isthmus.oci import Reference
from isthmus.store import Store
from tests.real.programs import output, require, require_root
from tests.rehearse.closed_world import Platform, host_network, leftovers, rehearse, traces_on_the_machine

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("rehearsal")]

CALLS = ["/bin/nc", "-w", "2", "203.0.113.7", "4444"]


@pytest.fixture(autouse=True)
def _programs() -> None:
    require_root("a rehearsal")
    require("containerd", "ctr", "runc", "ip", "nsenter", "setpriv", "busybox")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = Platform(tmp_path)
    with Store.create(tmp_path / "store") as store:
        for number in range(3):
            platform.image(store, f"docker.io/library/calls-{number}:1", CALLS)
            platform.image(store, f"docker.io/library/waits-{number}:1", ["/bin/sleep", "60"])
    platform.write()
    return platform


def start(directory: Path, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "isthmus", "rehearse", "--store", "store", "--run", "20s", *words]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def clean() -> list[str]:
    command = [sys.executable, "-m", "isthmus", "rehearse", "--clean", "--json"]
    removed: list[str] = json.loads(output(*command))["removed"]
    return removed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_cleans_up(tmp_path: Path, platform: Platform, number: signal.Signals) -> None:
    before = host_network()
    process = start(tmp_path)
    deadline = time.monotonic() + 60
    # Its own, by its process: another's would end the wait before it listens to signals.
    began = Path(f"/run/netns/isthmus-rehearsal-{process.pid}-p2")
    while time.monotonic() < deadline and not began.exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said, said
    assert host_network() == before
    assert leftovers() == traces_on_the_machine() == []


def test_killed_at_any_moment_all_is_cleaned_and_the_network_is_as_before(
    tmp_path: Path, platform: Platform
) -> None:
    before = host_network()
    chance = random.Random(8)
    for _ in range(10):
        process = start(tmp_path)
        time.sleep(chance.uniform(0.2, 4))
        process.kill()
        process.communicate()
        clean()
        assert leftovers() == traces_on_the_machine() == []
        assert host_network() == before
    assert clean() == []


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path, platform: Platform) -> None:
    before = host_network()
    command = [sys.executable, "-m", "isthmus", "rehearse", "--store", "store", "--json", "--run", "3s"]
    both = [
        subprocess.Popen([*command, "--image", glob], cwd=tmp_path, stdout=subprocess.PIPE)
        for glob in ("*calls-*", "*")
    ]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [(each["pulled"], each["started"], each["failed"]) for each in found] == [(3, 3, []), (6, 6, [])]
    for each in found:
        images = {row["image"] for row in each["egress"]}
        assert images == {f"docker.io/library/calls-{number}:1" for number in range(3)}
    assert host_network() == before
    assert leftovers() == traces_on_the_machine() == []


def with_config(platform: Platform, store: Store, name: str, config: dict[str, object]) -> None:
    repository = Reference.parse(name).repository
    put_blob(store, platform.base.data, LAYER_TYPE)
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [platform.base.diff_id]},
    }
    manifest = put_manifest(
        store,
        repository,
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put_blob(store, json.dumps(document).encode(), CONFIG_TYPE),
            "layers": [platform.base.descriptor],
        },
    )
    name_it(store, name, manifest)
    platform.lock(name, manifest)


@pytest.mark.parametrize("runtime", ["containerd", "podman"])
def test_images_of_any_kind_and_entry_points_that_misbehave(tmp_path: Path, runtime: str) -> None:
    require(*([runtime] if runtime == "podman" else []))
    platform = Platform(tmp_path)
    shell = ["/bin/sh", "-c"]
    calls = " ".join(CALLS)
    with Store.create(tmp_path / "store") as store:
        usual: dict[str, object] = {"Cmd": CALLS}
        with_config(platform, store, "quay.io/a/user:1", usual | {"User": "1234:1234"})
        with_config(platform, store, "quay.io/a/place:1", usual | {"WorkingDir": "/srv/not/there"})
        with_config(platform, store, "quay.io/a/volume:1", usual | {"Volumes": {"/data": {}, "/etc/x": {}}})
        with_config(platform, store, "quay.io/a/entry:1", {"Entrypoint": CALLS[:1], "Cmd": CALLS[1:]})
        with_config(platform, store, "quay.io/a/empty:1", {})
        with_config(platform, store, "quay.io/a/forks:1", {"Cmd": [*shell, f"({calls}) & sleep 1"]})
        with_config(platform, store, "quay.io/a/bomb:1", {"Cmd": [*shell, "b() { b | b & }; b; sleep 3"]})
        with_config(platform, store, "quay.io/a/eats:1", {"Cmd": [*shell, "a=x; while :; do a=$a$a; done"]})
        with_config(platform, store, "quay.io/a/raises:1", {"Cmd": [*shell, "echo 1 >/proc/sys/kernel/panic"]})
    platform.write()
    before = host_network()
    panic = Path("/proc/sys/kernel/panic").read_text()
    scratch = tmp_path / ("a long name " * 10)
    scratch.mkdir()
    options = ("--scratch", str(scratch), "--discard", "--runtime", runtime)
    status, found = rehearse(tmp_path, "--run", "4s", *options)
    assert list(scratch.iterdir()) == []
    assert (status, found["failed"], found["pulled"]) == (3, [], 9), found
    calling = {row["image"] for row in found["egress"]}
    expected = {f"quay.io/a/{name}:1" for name in ("user", "place", "volume", "entry", "forks")}
    assert calling == expected, found
    assert [note for note in found["notes"] if "did not start" in note and "quay.io/a/empty:1" in note]
    assert Path("/proc/sys/kernel/panic").read_text() == panic
    assert host_network() == before
    assert leftovers() == traces_on_the_machine() == []


def test_a_scratch_directory_that_cannot_be_used(tmp_path: Path, platform: Platform) -> None:
    status, found = rehearse(tmp_path, "--scratch", str(tmp_path / "not-there"))
    assert (status, found["error"]["code"]) == (2, "wrong-usage")
