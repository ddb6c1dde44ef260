"""Files cross a one-way link that loses, doubles, reorders and spoils; what is lacking is said to the byte."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus.carry.diode.lacking import FILE
from isthmus.carry.diode.receiving import Received, receive
from isthmus.carry.diode.sending import Sent, send
from isthmus.errors import IncompleteError, IsthmusError, UsageError
from tests.carry.lossy_link import Fate, LossyLink


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Files of all sizes that matter: none, one byte, a symbol, and several groups."""
    place = tmp_path / "bundle"
    (place / "tool").mkdir(parents=True)
    chance = random.Random(1)
    for name, size in {"a.isv": 3_000_000, "b.isv": 1364, "c": 1, "empty": 0, "tool/x.isv": 700_123}.items():
        (place / name).write_bytes(chance.randbytes(size))
    (place / "unfinished.partial").write_bytes(b"not yet")
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.suffix != ".partial"
    }


class Receiving:
    """A receiver in a thread."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", options: str = "", timeout: float = 20) -> None:
        self.port = free_port(host)
        self.result: Received | None = None
        self.error: BaseException | None = None
        self._ready = threading.Event()
        url = f"diode://{f'[{host}]' if ':' in host else host}:{self.port}{options}"
        self._thread = threading.Thread(target=self._run, args=(url, directory, timeout))
        self._thread.start()
        assert self._ready.wait(10), self.error

    def _run(self, url: str, directory: Path, timeout: float) -> None:
        try:
            self.result = receive(url, directory, timeout=timeout, ready=self._ready)
        except BaseException as error:
            self.error = error
            self._ready.set()

    def outcome(self) -> Received:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error
        assert self.result is not None
        return self.result


@contextmanager
def link(receiving: Receiving, **fate: Any) -> Iterator[LossyLink]:
    with LossyLink(("127.0.0.1", receiving.port), Fate(**fate)) as relay:
        yield relay


def sent(bundle: Path, port: int, options: str = "rate=300M", **rest: Any) -> Sent:
    return send(bundle, f"diode://127.0.0.1:{port}?{options}", **rest)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_bundle_arrives(bundle: Path, tmp_path: Path, host: str) -> None:
    receiving = Receiving(tmp_path / "site", host)
    written = f"[{host}]" if ":" in host else host
    out = send(bundle, f"diode://{written}:{receiving.port}?rate=300M&redundancy=0")
    found = receiving.outcome()
    assert (found.session, found.bytes, found.rebuilt) == (out.session, out.bytes, 0)
    assert contents(tmp_path / "site") == contents(bundle)
    assert out.skipped == 0


def test_listening_everywhere(bundle: Path, tmp_path: Path) -> None:
    receiving = Receiving(tmp_path / "site", "")
    sent(bundle, receiving.port)
    receiving.outcome()
    assert contents(tmp_path / "site") == contents(bundle)
    with pytest.raises(UsageError):
        send(bundle, "diode://:9")


def test_to_a_multicast_group(bundle: Path, tmp_path: Path) -> None:
    try:
        receiving = Receiving(tmp_path / "site", "239.255.77.7", "?interface=lo")
        send(bundle, f"diode://239.255.77.7:{receiving.port}?interface=lo&rate=300M&ttl=0".replace("&ttl=0", ""))
    except IsthmusError as error:
        pytest.skip(f"no multicast on the loopback device here: {error}")
    receiving.outcome()
    assert contents(tmp_path / "site") == contents(bundle)


@pytest.mark.parametrize(
    ("fate", "options"),
    [
        ({"loss": 0.05, "duplicates": 0.02, "reorder": 0.05, "flips": 0.01}, "redundancy=20"),
        ({"loss": 0.08, "burst": 200}, "redundancy=30"),
        ({"loss": 0.05, "reorder": 0.5}, "redundancy=25&interleave=3"),
        ({"loss": 0.05}, "redundancy=20&mtu=8900"),
        ({"loss": 0.05}, "redundancy=50&mtu=300"),
    ],
)
def test_through_a_bad_link_at_once(bundle: Path, tmp_path: Path, fate: dict[str, Any], options: str) -> None:
    """Losses within the redundancy need no second pass; a burst is shared by many blocks."""
    receiving = Receiving(tmp_path / "site")
    with link(receiving, **fate) as relay:
        sent(bundle, relay.port, f"rate=100M&{options}")
        found = receiving.outcome()
    assert contents(tmp_path / "site") == contents(bundle)
    assert found.rebuilt > 0
    assert relay.fate.counts["lost"] > 0


def test_more_loss_than_redundancy_needs_more_passes(bundle: Path, tmp_path: Path) -> None:
    receiving = Receiving(tmp_path / "site")
    with link(receiving, loss=0.3) as relay:
        sent(bundle, relay.port, "rate=200M&redundancy=5&repeat=8")
        receiving.outcome()
    assert contents(tmp_path / "site") == contents(bundle)


def test_what_lacks_is_said_and_sent_again(bundle: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    receiving = Receiving(site, timeout=1)
    with link(receiving, loss=0.3, burst=500, seed=3) as relay:
        first = sent(bundle, relay.port, "rate=200M&redundancy=10&interleave=2")
        with pytest.raises(IncompleteError) as error:
            receiving.outcome()
    (document,) = error.value.items
    assert error.value.status == 3
    assert json.loads((site / FILE).read_bytes()) == document
    assert document["code"] in error.value.hint
    assert 0 < document["bytes"] < first.bytes
    assert {path.name for path in site.iterdir()} == {FILE, f".diode-{first.session}"}, "nothing has its name yet"
    staged = site / f".diode-{first.session}" / "files"
    lacking = {file["path"]: file["ranges"] for file in document["files"]}
    for name, data in contents(bundle).items():
        have = bytearray((staged / name).read_bytes())
        for start, end in lacking.get(name, ()):
            have[start:end] = data[start:end]
        assert have == data, "everything but the ranges is there"
    for only in (document["code"], str(site / FILE)):
        dry = sent(bundle, 9, "redundancy=10&interleave=2", only=only, dry_run=True)
        assert dry.bytes >= document["bytes"]
        assert dry.bytes + dry.skipped == first.bytes
        assert dry.skipped > 0
    receiving = Receiving(site)
    again = sent(bundle, receiving.port, "rate=200M&mtu=500", only=str(site / FILE))
    assert (again.session, again.bytes) == (first.session, dry.bytes)
    assert again.datagrams < first.datagrams
    receiving.outcome()
    assert contents(site) == contents(bundle)


def test_a_list_of_another_session_or_with_a_slip(bundle: Path, tmp_path: Path) -> None:
    import zlib

    text = "0123abcd:0-3"
    code = f"{text}:{zlib.crc32(text.encode()):08x}"
    with pytest.raises(UsageError, match="session"):
        sent(bundle, 9, only=code, dry_run=True)
    for wrong in (code.replace("0-3", "0-4"), text, "", str(bundle / "c")):
        with pytest.raises(UsageError):
            sent(bundle, 9, only=wrong or "nothing", dry_run=True)


RECEIVER = """
import sys, pathlib
from isthmus.carry.diode.receiving import receive
print(receive(sys.argv[1], sys.argv[2], timeout=60).rebuilt, flush=True)
"""


def test_killed_and_taken_up_again(bundle: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a pass; what was on disk is not needed again."""
    site, port = tmp_path / "site", free_port()
    command = [sys.executable, "-c", RECEIVER, f"diode://127.0.0.1:{port}", str(site)]

    def sending() -> None:
        send(bundle, f"diode://127.0.0.1:{port}?rate=16M&redundancy=10", repeat=4)

    sender = threading.Thread(target=sending)
    first = subprocess.Popen(command)
    sender.start()
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size and any(path.read_bytes()) for path in site.glob(".diode-*/symbols.map")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert contents(site) != contents(bundle)
    (staged,) = site.glob(".diode-*")
    before = sum(byte.bit_count() for byte in (staged / "symbols.map").read_bytes())
    assert before > 0
    subprocess.run(command, check=True, timeout=60)
    sender.join()
    assert contents(site) == contents(bundle)


def test_what_is_there_already_and_what_is_in_the_way(bundle: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    receiving = Receiving(site)
    sent(bundle, receiving.port)
    receiving.outcome()
    receiving = Receiving(site)
    sent(bundle, receiving.port)
    assert receiving.outcome().session
    (site / "c").write_bytes(b"mine")
    receiving = Receiving(site, timeout=1)
    sent(bundle, receiving.port)
    with pytest.raises(IncompleteError):
        receiving.outcome()
    assert (site / "c").read_bytes() == b"mine"


def test_the_rate_is_kept(bundle: Path, tmp_path: Path) -> None:
    out = sent(bundle, free_port(), "rate=20M&redundancy=0")
    assert out.wire_bytes * 8 / out.seconds <= 20e6 * 1.02
    arrivals: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(1)
        port = sink.getsockname()[1]
        sender = threading.Thread(target=sent, args=(bundle / "tool", port, "rate=4M&redundancy=0"))
        sender.start()
        while True:
            try:
                sink.recv(65535)
            except TimeoutError:
                break
            arrivals.append(time.monotonic())
        sender.join()
    for early, late in zip(arrivals, arrivals[60:], strict=False):
        assert (late - early) > 60 * 1428 * 8 / 4e6 * 0.8 - 0.02, "no bursts"


@pytest.mark.parametrize(
    "url",
    [
        "diode://",
        "diode://host",
        "diode://host:0",
        "diode://host:99999",
        "diode://host:9/dir",
        "diode://h:9?rate=fast",
        "diode://h:9?rate=nan",
        "diode://h:9?speed=1",
        "diode://h:9?mtu=70000",
        "diode://h:9?repeat=-1",
        "diode://h:9?session=xyz",
        "ssh://h:9",
    ],
)
def test_wrong_addresses(url: str, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        send(bundle, url)
    with pytest.raises(UsageError):
        receive(url, tmp_path / "site")


def test_what_cannot_be_sent(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "x").symlink_to("/etc/passwd")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "x")
    for name in ("none", "link", "pipe", "absent"):
        with pytest.raises(UsageError):
            sent(tmp_path / name, 9)
