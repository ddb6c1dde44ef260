"""Reading blobs from servers that do what they should not. Against the fault server."""

import random
import time

import pytest

from isthmus.errors import IsthmusError, UnreachableError, VerificationError
from isthmus.registry import connect
from tests.registry.faults import Asked, FaultServer, Reply
from tests.registry.samples import blob, options, read

DATA = random.Random(1).randbytes(3_000_000)
BLOB = blob(DATA)
TARGET = f"/v2/a/b/blobs/{BLOB.digest}"


def _ranged(asked: Asked) -> Reply:
    start = int(asked.header("range").removeprefix("bytes=").rstrip("-") or 0)
    if not asked.header("range"):
        return Reply(200, DATA)
    return Reply(206, DATA[start:], {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"})


@pytest.mark.parametrize("offset", [0, 1, 1_500_000, len(DATA) - 1, len(DATA)])
@pytest.mark.parametrize("answer", [_ranged, Reply(200, DATA)], ids=["ranges", "no ranges"])
def test_from_an_offset(faults: FaultServer, answer: Reply, offset: int) -> None:
    faults.on("GET", TARGET, answer)
    with connect(faults.address, options()) as registry:
        reader = registry.open_blob("a/b", BLOB, offset)
        assert reader.size == len(DATA) - offset
        assert read(reader, 70_000) == DATA[offset:]
        assert reader.size == 0


def test_an_empty_blob(faults: FaultServer) -> None:
    empty = blob(b"")
    faults.on("GET", f"/v2/a/b/blobs/{empty.digest}", Reply())
    with connect(faults.address, options()) as registry:
        assert read(registry.open_blob("a/b", empty)) == b""


LIES = {
    "another start": Reply(206, DATA[5:], {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"}),
    "another size": Reply(206, DATA[10:], {"Content-Range": f"bytes 10-{len(DATA) - 1}/{len(DATA) + 1}"}),
    "no range": Reply(206, DATA[10:]),
    "nonsense": Reply(206, DATA[10:], {"Content-Range": "bytes */*"}),
    "the end before the start": Reply(206, DATA[10:], {"Content-Range": f"bytes 10-3/{len(DATA)}"}),
    "a shorter part": Reply(206, DATA[10:20], {"Content-Range": f"bytes 10-19/{len(DATA)}"}),
    "a longer whole": Reply(200, DATA + b"x"),
    "not satisfiable": Reply(416),
}


@pytest.mark.parametrize("reply", LIES.values(), ids=list(LIES))
def test_lies_about_ranges_are_refused(faults: FaultServer, reply: Reply) -> None:
    faults.on("GET", TARGET, reply)
    with connect(faults.address, options()) as registry, pytest.raises(IsthmusError) as caught:
        registry.open_blob("a/b", BLOB, 10)
    assert caught.value.code in ("protocol", "size-mismatch", "refused")
    assert str(BLOB.digest) in caught.value.where


@pytest.mark.parametrize("cut", [0, 1, 500_000, len(DATA) - 1])
@pytest.mark.parametrize("length", [True, False], ids=["with length", "without length"])
def test_a_cut_gives_what_came_and_then_a_temporary_error(faults: FaultServer, cut: int, length: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    faults.on("GET", TARGET, Reply(200, DATA, cut=cut) if length else Reply(raw=head + DATA[:cut]))
    buffer = memoryview(bytearray(1 << 20))
    got = 0
    with connect(faults.address, options()) as registry, registry.open_blob("a/b", BLOB) as reader:
        while got < cut:
            got += reader.readinto(buffer)
        for _ in range(2):
            with pytest.raises(UnreachableError) as caught:
                reader.readinto(buffer)
            assert caught.value.temporary
    assert got == cut


def test_chunked_bodies(faults: FaultServer) -> None:
    def chunked(data: bytes, end: bytes) -> bytes:
        parts = (data[start : start + 77_777] for start in range(0, len(data), 77_777))
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end

    faults.on("GET", TARGET, Reply(raw=chunked(DATA, b"0\r\n\r\n")), times=1)
    faults.on("GET", TARGET, Reply(raw=chunked(DATA[:1_000_000], b"4000\r\nabc")), times=1)
    faults.on("GET", TARGET, Reply(raw=chunked(DATA + b"!", b"0\r\n\r\n")), times=1)
    with connect(faults.address, options()) as registry:
        assert read(registry.open_blob("a/b", BLOB)) == DATA
        with pytest.raises(UnreachableError) as broken:
            read(registry.open_blob("a/b", BLOB))
        with pytest.raises(VerificationError) as longer:
            read(registry.open_blob("a/b", BLOB))
    assert broken.value.temporary
    assert longer.value.code == "size-mismatch"


def test_a_stalled_body_ends(faults: FaultServer) -> None:
    faults.on("GET", TARGET, Reply(200, b"", length=len(DATA), endless=b"x", drip=0.02))
    before = time.monotonic()
    with connect(faults.address, options(read_timeout=0.3)) as registry, pytest.raises(UnreachableError) as caught:
        read(registry.open_blob("a/b", BLOB))
    assert caught.value.temporary
    assert time.monotonic() - before < 5


def test_an_unread_body_does_not_disturb_the_next_request(faults: FaultServer) -> None:
    faults.on("GET", TARGET, Reply(200, DATA)).on("GET", "/v2/", Reply(200, b"{}"))
    with connect(faults.address, options()) as registry:
        with registry.open_blob("a/b", BLOB) as reader:
            reader.readinto(memoryview(bytearray(10)))
        registry.ping()
        registry.ping()
    assert faults.connections == 2


@pytest.mark.parametrize(
    ("reply", "there"),
    [
        (Reply(200, b"x" * BLOB.size), True),
        (Reply(200, b"x" * 5), False),
        (Reply(404), False),
    ],
)
def test_has_blob(faults: FaultServer, reply: Reply, there: bool) -> None:
    faults.on("HEAD", TARGET, reply)
    with connect(faults.address, options()) as registry:
        assert registry.has_blob("a/b", BLOB) is there


def test_a_redirect_to_storage(faults: FaultServer, other_faults: FaultServer) -> None:
    signed = f"{other_faults.url}/bucket/x?X-Signature=a%2Fb+c"
    faults.on("GET", TARGET, Reply(307, headers={"Location": signed}))
    faults.on("HEAD", TARGET, Reply(307, headers={"Location": signed}))
    other_faults.on("GET", r"/bucket/x\?X-Signature=a%2Fb\+c", _ranged)
    other_faults.on("HEAD", r"/bucket/x\?X-Signature=a%2Fb\+c", Reply(200, DATA))
    with connect(faults.address, options()) as registry:
        assert registry.has_blob("a/b", BLOB)
        assert read(registry.open_blob("a/b", BLOB, 7)) == DATA[7:]


def test_storage_that_refuses_does_not_show_the_signed_url(faults: FaultServer, other_faults: FaultServer) -> None:
    faults.on("GET", TARGET, Reply(307, headers={"Location": f"{other_faults.url}/b?X-Signature=topsecret"}))
    other_faults.on("GET", ".*", Reply(403, b"<Error><Code>AccessDenied</Code>topsecret</Error>"))
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.open_blob("a/b", BLOB)
    assert "topsecret" not in str(caught.value.as_document())
    assert other_faults.address in caught.value.message


def test_delete(faults: FaultServer) -> None:
    faults.on("DELETE", TARGET, Reply(202), times=1).on("DELETE", TARGET, Reply(405))
    with connect(faults.address, options()) as registry:
        registry.delete_blob("a/b", BLOB)
        with pytest.raises(UnreachableError) as caught:
            registry.delete_blob("a/b", BLOB)
    assert caught.value.code == "refused"
