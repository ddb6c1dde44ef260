"""Whoever can write on the link can disturb it, but not fill memory, leave the directory, or forge a file."""

import hashlib
import random
import resource
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.carry.diode import packets
from isthmus.carry.diode.announcing import Announcements
from isthmus.carry.diode.catalogue import describe, make_catalogue, read_catalogue, shape
from isthmus.carry.diode.packets import TOTAL, Kind, head, parse
from isthmus.carry.diode.receiving import receive
from isthmus.errors import IncompleteError
from tests.carry.test_diode import Receiving, bundle, contents, sent  # noqa: F401

GOOD: dict[str, Any] = {
    "format": "isthmus-diode",
    "version": 1,
    "symbol": 1000,
    "columns": 10,
    "rows": 2,
    "depth": 4,
    "files": [["a", 5, "0" * 64]],
}


def encoded(**change: Any) -> bytes:
    return msgspec.json.encode(GOOD | change)


def announce(link: socket.socket, raw: bytes) -> bytes:
    session = hashlib.sha256(raw).digest()[:16]
    for offset in range(0, len(raw), 1000):
        payload = TOTAL.pack(len(raw)) + raw[offset : offset + 1000]
        link.send(head(Kind.CATALOGUE, offset, session, payload) + payload)
    return session


def test_a_catalogue_that_does_no_harm_is_taken() -> None:
    assert read_catalogue(encoded()).symbols == 1


@pytest.mark.parametrize(
    "change",
    [
        {"files": [["../a", 5, "0" * 64]]},
        {"files": [["/etc/passwd", 5, "0" * 64]]},
        {"files": [["a/../../b", 5, "0" * 64]]},
        {"files": [[".diode-x", 5, "0" * 64]]},
        {"files": [["a\0b", 5, "0" * 64]]},
        {"files": [["a//b", 5, "0" * 64]]},
        {"files": [["", 5, "0" * 64]]},
        {"files": [["a\n", 5, "0" * 64]]},
        {"files": [["x" * 300, 5, "0" * 64]]},
        {"files": [["a", 5, "0" * 64], ["a", 5, "0" * 64]]},
        {"files": [["a", 5, "0" * 64], ["a/b", 5, "0" * 64]]},
        {"files": [["a", 2**60, "0" * 64]]},
        {"files": [[f"a{n}", 2**49, "0" * 64] for n in range(9)]},
        {"files": [["a", -1, "0" * 64]]},
        {"files": [["a", 5, "no digest"]]},
        {"files": []},
        {"files": [["a", 2**45, "0" * 64]]},
        {"symbol": 0},
        {"symbol": 65535},
        {"columns": 0},
        {"columns": 255},
        {"depth": 65535},
        {"depth": 0},
        {"rows": -1},
        {"version": 2},
        {"format": "other"},
    ],
)
def test_a_catalogue_that_would_do_harm_is_not(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        read_catalogue(encoded(**change))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_parsed(data: bytes) -> None:
    assert parse(data) is None
    assert parse(packets.MAGIC + data) is None
    with pytest.raises(ValueError):
        read_catalogue(data)


def test_nobody_can_fill_the_table_of_sessions() -> None:
    table, chance = Announcements(), random.Random(1)
    for _ in range(20_000):
        payload = TOTAL.pack(chance.choice([100, 4_000_000, 2**63])) + chance.randbytes(chance.randrange(100))
        table.take(packets.Packet(1, chance.randrange(2**20), chance.randbytes(16), memoryview(payload)))
    assert len(table._pieces) <= 4


def flood(port: int, session: bytes, stop: threading.Event) -> None:
    """Junk, true headers with impossible numbers, other sessions, all with right checksums."""
    chance = random.Random(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(("127.0.0.1", port))
        while not stop.is_set():
            payload = chance.randbytes(chance.choice([0, 1, 100, 1364, 1364, 9000]))
            name = chance.choice([session, session, chance.randbytes(16)])
            number = chance.choice([chance.randrange(2**20), 2**40, 2**64 - 1, chance.randrange(3)])
            kind = chance.choice([Kind.PARITY, Kind.CATALOGUE, Kind.END, Kind.DATA])
            if kind == Kind.DATA or (kind == Kind.PARITY and name == session):
                payload = payload[:1000]  # of a size that is none
            for datagram in (head(kind, number, name, payload) + payload, payload):
                try:
                    link.send(datagram)
                except ConnectionRefusedError:
                    return
            stop.wait(0.0005)


def test_a_flood_of_hostile_datagrams(bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    files, _ = describe(bundle)
    catalogue = make_catalogue(files, shape(files, mtu=1400, redundancy=20, interleave=64))
    receiving, stop = Receiving(tmp_path / "site"), threading.Event()
    thread = threading.Thread(target=flood, args=(receiving.port, catalogue.session, stop))
    thread.start()
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sent(bundle, receiving.port, "rate=20M&repeat=2").session == catalogue.session.hex()
        found = receiving.outcome()
    finally:
        stop.set()
        thread.join()
    assert found.refused > 0
    assert contents(tmp_path / "site") == contents(bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_false_symbols_are_found_by_the_digest_and_sent_again(bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    """Even with everything right but the bytes: no file gets its name before it has its SHA-256."""
    site = tmp_path / "site"
    files, _ = describe(bundle)
    catalogue = make_catalogue(files, shape(files, mtu=1400, redundancy=20, interleave=64))
    receiving = Receiving(site)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(("127.0.0.1", receiving.port))
        announce(link, catalogue.raw)
        false = bytes(catalogue.place(0).length)
        link.send(head(Kind.DATA, 0, catalogue.session, false) + false)
    sent(bundle, receiving.port, "rate=100M&repeat=2")
    receiving.outcome()
    assert contents(site) == contents(bundle)


def test_another_session_first_unless_one_was_named(bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    files, _ = describe(bundle)
    catalogue = make_catalogue(files, shape(files, mtu=1400, redundancy=20, interleave=64))
    receiving = Receiving(tmp_path / "site", options=f"?session={catalogue.session.hex()[:12]}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(("127.0.0.1", receiving.port))
        announce(link, encoded(files=[["evil", 5_000_000, "0" * 64]]))
    sent(bundle, receiving.port)
    receiving.outcome()
    assert contents(tmp_path / "site") == contents(bundle)


def test_a_link_in_the_way_is_not_followed(bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    site, outside = tmp_path / "site", tmp_path / "outside"
    site.mkdir()
    outside.mkdir()
    (site / "tool").symlink_to(outside)
    receiving = Receiving(site, timeout=1)
    sent(bundle, receiving.port)
    with pytest.raises(IncompleteError):
        receiving.outcome()
    assert list(outside.iterdir()) == []


def test_silence_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="no session") as error:
        receive("diode://127.0.0.1:1027", tmp_path / "site", timeout=0.5)
    assert error.value.status == 3


def test_more_than_there_is_room_for(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path / "site", timeout=3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(("127.0.0.1", receiving.port))
        announce(link, encoded(columns=200, rows=20, depth=50, symbol=2000, files=[["a", 2**44, "0" * 64]]))
    with pytest.raises(Exception, match="no room"):
        receiving.outcome()
