"""Uploads: one PUT, chunks, resuming, cancelling, mounting. Against the fault server."""

import random
from dataclasses import dataclass, field

import pytest

from isthmus.errors import UnreachableError, VerificationError
from isthmus.registry import connect, upload, upload_sessions
from tests.registry.faults import Asked, FaultServer, Reply
from tests.registry.samples import blob, fill, options, write

DATA = random.Random(2).randbytes(2_500_000)
BLOB = blob(DATA)
STEP = 300_000
MIB = 1 << 20


@dataclass
class UploadService:
    """The upload part of a registry, as the specification has it; a simulator with switches for misbehaviour."""

    server: FaultServer
    kept: bytearray = field(default_factory=bytearray)
    published: dict[str, bytes] = field(default_factory=dict)
    cancelled: int = 0
    number: int = 0
    forget: bool = False
    lose_answer: bool = False
    minimum: int = 0

    def __post_init__(self) -> None:
        self.server.on("POST", "/v2/a/blobs/uploads/", self._begin)
        self.server.on("PATCH", "/v2/up/.*", self._patch).on("PUT", "/v2/up/.*", self._put)
        self.server.on("GET", "/v2/up/.*", self._status).on("DELETE", "/v2/up/.*", self._delete)
        self.server.on("HEAD", "/v2/a/blobs/.*", self._head)

    def _answer(self, status: int) -> Reply:
        self.number += 1
        headers = {"Location": f"/v2/up/1?_state={self.number}", "Range": f"0-{max(len(self.kept) - 1, 0)}"}
        if self.minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.minimum)
        return Reply(status, headers=headers)

    def _begin(self, _: Asked) -> Reply:
        self.kept.clear()
        return self._answer(202)

    def _patch(self, asked: Asked) -> Reply:
        start, _, end = asked.header("content-range").partition("-")
        if (
            int(start) != len(self.kept)
            or int(end) != int(start) + len(asked.body) - 1
            or not self._current(asked)
        ):
            return Reply(416)
        self.kept += asked.body
        return self._answer(202)

    def _current(self, asked: Asked) -> bool:
        return f"_state={self.number}" in asked.target

    def _put(self, asked: Asked) -> Reply:
        digest = asked.target.partition("digest=")[2]
        self.kept += asked.body
        if not self._current(asked) or blob(bytes(self.kept)).digest != digest:
            return Reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}')
        self.published[digest] = bytes(self.kept)
        return Reply(cut=-1) if self.lose_answer else Reply(201, headers={"Docker-Content-Digest": digest})

    def _status(self, asked: Asked) -> Reply:
        if self.forget:
            return Reply(404)
        return self._answer(204) if self._current(asked) else Reply(404)

    def _delete(self, _: Asked) -> Reply:
        self.cancelled += 1
        return Reply(204)

    def _head(self, asked: Asked) -> Reply:
        data = self.published.get(asked.target.rpartition("/")[2])
        return Reply(404) if data is None else Reply(200, data)


@pytest.fixture
def uploads(faults: FaultServer) -> UploadService:
    return UploadService(faults)


def _methods(server: FaultServer) -> list[str]:
    return [one.method for one in server.requests]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, len(DATA)])
def test_one_put(faults: FaultServer, uploads: UploadService, size: int) -> None:
    data = DATA[:size]
    with connect(faults.address, options()) as registry:
        write(registry.write_blob("a", blob(data)), data)
    assert uploads.published == {blob(data).digest: data}
    assert _methods(faults) == ["POST", "PUT"]
    assert faults.connections == 1


@pytest.mark.parametrize("size", [0, 1, STEP, STEP + 1, len(DATA)])
@pytest.mark.parametrize("step", [1000, STEP, MIB])
def test_chunks(faults: FaultServer, uploads: UploadService, size: int, step: int) -> None:
    data = DATA[:size]
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        write(registry.write_blob("a", blob(data)), data, step)
    assert uploads.published == {blob(data).digest: data}
    assert _methods(faults).count("PATCH") == -(-size // STEP)


def test_the_registrys_least_chunk_is_respected(faults: FaultServer, uploads: UploadService) -> None:
    uploads.minimum = 1_000_000
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        write(registry.write_blob("a", BLOB), DATA)
    assert _methods(faults).count("PATCH") == 3


def test_an_interrupted_upload_goes_on(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[: STEP * 3], 70_000)
        with registry.write_blob("a", BLOB) as writer:
            assert writer.offset == STEP * 3
            fill(writer, DATA[writer.offset :])
            writer.commit()
    assert uploads.published == {BLOB.digest: DATA}
    assert _methods(faults).count("POST") == 1
    assert uploads.cancelled == 0


def test_the_bytes_of_a_chunk_on_its_way_are_not_counted(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[: STEP * 2 + 1000])
        with registry.write_blob("a", BLOB) as writer:
            assert writer.offset == STEP * 2
            fill(writer, DATA[writer.offset :])
            writer.commit()
    assert uploads.published == {BLOB.digest: DATA}


def test_wrong_bytes_after_resuming_are_found(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, b"x" * STEP)
        writer = registry.write_blob("a", BLOB)
        with writer, pytest.raises(VerificationError):
            fill(writer, DATA[writer.offset :])
    assert uploads.published == {}
    assert uploads.cancelled == 1


def test_a_session_that_the_registry_forgot_is_begun_anew(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:STEP])
        uploads.forget = True
        with registry.write_blob("a", BLOB) as writer:
            assert writer.offset == 0
            fill(writer, DATA)
            writer.commit()
    assert uploads.published == {BLOB.digest: DATA}


def test_what_the_registry_took_of_a_broken_chunk_is_not_sent_again(
    faults: FaultServer, uploads: UploadService
) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:STEP])
        uploads.kept += DATA[STEP : STEP + 1000]
        with registry.write_blob("a", BLOB) as writer:
            assert (writer.offset, writer.there) == (STEP, STEP + 1000)
            fill(writer, DATA[STEP:])
            writer.commit()
    assert uploads.published == {BLOB.digest: DATA}


def test_other_bytes_in_a_session_are_found_when_it_is_published(
    faults: FaultServer, uploads: UploadService
) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:STEP])
        uploads.kept += b"more"
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[STEP:])
            with pytest.raises(UnreachableError) as caught:
                writer.commit()
        assert caught.value.temporary
        assert uploads.published == {}
        write(registry.write_blob("a", BLOB), DATA)
    assert uploads.published == {BLOB.digest: DATA}


@dataclass
class Log:
    """An upload log in memory."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def find_upload(self, repository: str, digest: str) -> str:
        return self.places.get((repository, digest), "")

    def keep_upload(self, repository: str, digest: str, location: str) -> None:
        self.places[repository, digest] = location

    def forget_upload(self, repository: str, digest: str) -> None:
        self.places.pop((repository, digest), None)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    for module in (upload, upload_sessions):
        monkeypatch.setattr(module, "LARGE", STEP)
    return Log()


def interrupted(faults: FaultServer, log: Log, sent: int) -> None:
    """Another process sent so much, and is gone: all that it leaves is the log."""
    with connect(faults.address, options()) as registry:
        registry.remember_uploads(log)
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:sent])


@pytest.mark.parametrize("sent", [STEP, 2 * STEP, 2 * STEP + 5000])
def test_a_later_process_sends_only_the_rest(
    faults: FaultServer, uploads: UploadService, log: Log, sent: int
) -> None:
    interrupted(faults, log, sent)
    [location] = log.places.values()
    assert location.startswith(f"http://{faults.address}/v2/up/1?_state=")
    uploads.kept[:] = DATA[:sent]  # what came of the chunk under way, too
    with connect(faults.address, options()) as registry:
        registry.remember_uploads(log)
        with registry.write_blob("a", BLOB) as writer:
            assert (writer.offset, writer.there) == (0, sent)
            faults.requests.clear()
            fill(writer, DATA)
            writer.commit()
    assert uploads.published == {BLOB.digest: DATA}
    assert sum(len(asked.body) for asked in faults.requests) == len(DATA) - sent
    assert log.places == {}


@pytest.mark.parametrize("trouble", ["forgotten", "other bytes", "another place", "nonsense"])
def test_a_later_process_begins_anew_where_the_session_is_no_use(
    faults: FaultServer, uploads: UploadService, log: Log, trouble: str
) -> None:
    interrupted(faults, log, STEP)
    [key] = log.places
    if trouble == "forgotten":
        uploads.forget = True
    elif trouble == "other bytes":
        uploads.kept[:5] = b"wrong"
    else:
        log.places[key] = "http://[" if trouble == "nonsense" else f"http://{faults.address}/v2/other"
    with connect(faults.address, options()) as registry:
        registry.remember_uploads(log)
        if trouble == "other bytes":
            with pytest.raises(UnreachableError) as caught:
                write(registry.write_blob("a", BLOB), DATA)
            assert caught.value.temporary
            assert uploads.published == {}
        write(registry.write_blob("a", BLOB), DATA)
    assert uploads.published == {BLOB.digest: DATA}
    assert log.places == {}


def test_small_blobs_are_not_logged_and_go_in_one_put(
    faults: FaultServer, uploads: UploadService, log: Log
) -> None:
    with connect(faults.address, options()) as registry:
        registry.remember_uploads(log)
        write(registry.write_blob("a", blob(DATA[:STEP])), DATA[:STEP])
    assert _methods(faults) == ["POST", "PUT"]


def test_a_session_that_is_lost_meanwhile_is_a_temporary_failure(
    faults: FaultServer, uploads: UploadService
) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:STEP])
            uploads.number += 1
            with pytest.raises(UnreachableError) as caught:
                fill(writer, DATA[STEP:])
        assert caught.value.temporary
        write(registry.write_blob("a", BLOB), DATA)
    assert uploads.published == {BLOB.digest: DATA}


def test_leftovers_are_cancelled_at_the_end(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options(upload_chunk=STEP)) as registry:
        with registry.write_blob("a", BLOB) as writer:
            fill(writer, DATA[:STEP])
        assert uploads.cancelled == 0
    assert uploads.cancelled == 1


WRONG = {
    "other bytes": b"x" * len(DATA),
    "too few": DATA[:-1],
    "too many": DATA + b"x",
    "last byte": DATA[:-1] + bytes([DATA[-1] ^ 1]),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("chunk", [0, STEP])
def test_wrong_content_is_never_sent_whole(
    faults: FaultServer, uploads: UploadService, data: bytes, chunk: int
) -> None:
    with connect(faults.address, options(upload_chunk=chunk)) as registry, pytest.raises(VerificationError):
        write(registry.write_blob("a", BLOB), data)
    assert uploads.cancelled == 1
    assert uploads.published == {}
    assert not any("digest=" in one.target and len(one.body) >= len(DATA) for one in faults.requests)


def test_an_upload_left_alone_is_cancelled(faults: FaultServer, uploads: UploadService) -> None:
    with connect(faults.address, options()) as registry, registry.write_blob("a", BLOB) as writer:
        fill(writer, DATA[:1000])
    assert uploads.cancelled == 1


def test_a_lost_answer_to_the_last_request_is_looked_into(faults: FaultServer, uploads: UploadService) -> None:
    uploads.lose_answer = True
    with connect(faults.address, options()) as registry:
        write(registry.write_blob("a", BLOB), DATA)
    assert uploads.published == {BLOB.digest: DATA}
    assert _methods(faults)[-1] == "HEAD"


@pytest.mark.parametrize("status", [400, 403, 413, 500, 503])
def test_a_refusal_before_the_blob_was_sent(faults: FaultServer, status: int) -> None:
    big = random.Random(3).randbytes(20 * MIB)
    refusal = b'{"errors":[{"code":"DENIED","message":"the quota is full"}]}'
    faults.on("POST", ".*", Reply(202, headers={"Location": "/up"}))
    faults.on("PUT", "/up.*", Reply(status, refusal, read_body=False)).on("HEAD", ".*", Reply(404))
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        write(registry.write_blob("a", blob(big)), big)
    # The answer may be lost with the connection, which the kernel decides; usually it is not.
    assert caught.value.http_status in (status, None)
    assert str(blob(big).digest) in caught.value.where


@pytest.mark.parametrize(
    "reply",
    [Reply(202), Reply(202, headers={"Location": "http://["}), Reply(202, headers={"Location": "ftp://x/"})],
)
def test_upload_sessions_nowhere(faults: FaultServer, reply: Reply) -> None:
    faults.on("POST", ".*", reply)
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.write_blob("a", BLOB)
    assert caught.value.code == "protocol"


def test_a_registry_behind_a_proxy_that_names_itself_without_tls(tls_faults: FaultServer, ca_file: str) -> None:
    location = f"http://{tls_faults.address}/up?x=1"
    tls_faults.on("POST", ".*", Reply(202, headers={"Location": location})).on("PUT", "/up.*", Reply(201))
    with connect(tls_faults.address, options(ca_file=ca_file)) as registry:
        write(registry.write_blob("a", BLOB), DATA)
    assert tls_faults.asked("PUT") == [f"PUT /up?x=1&digest={BLOB.digest}"]


def test_no_upload_leaves_tls(tls_faults: FaultServer, ca_file: str) -> None:
    tls_faults.on("POST", ".*", Reply(202, headers={"Location": "http://elsewhere.example/up"}))
    with (
        connect(tls_faults.address, options(ca_file=ca_file)) as registry,
        pytest.raises(UnreachableError) as caught,
    ):
        registry.write_blob("a", BLOB)
    assert caught.value.code == "protocol"


def test_a_registry_that_stored_something_else(faults: FaultServer) -> None:
    faults.on("POST", ".*", Reply(202, headers={"Location": "/up"}))
    faults.on("PUT", "/up.*", Reply(201, headers={"Docker-Content-Digest": blob(b"other").digest}))
    with connect(faults.address, options()) as registry, pytest.raises(VerificationError):
        write(registry.write_blob("a", BLOB), DATA)


def test_mounts(faults: FaultServer) -> None:
    target = rf"/v2/a/blobs/uploads/\?mount={BLOB.digest}&from=other/b"
    faults.on("POST", target, Reply(201), times=1)
    faults.on("POST", target, Reply(202, headers={"Location": "/up"}), times=1)
    faults.on("POST", target, Reply(404)).on("PUT", "/up.*", Reply(201))
    with connect(faults.address, options()) as registry:
        assert registry.mount_blob("a", BLOB, "other/b")
        assert not registry.mount_blob("a", BLOB, "other/b")
        # The session that the registry opened instead is used, not left behind.
        write(registry.write_blob("a", BLOB), DATA)
        assert not registry.mount_blob("a", BLOB, "other/b")
    assert _methods(faults) == ["POST", "POST", "PUT", "POST"]


def test_a_session_from_a_mount_that_nobody_uses_is_cancelled(faults: FaultServer) -> None:
    faults.on("POST", ".*", Reply(202, headers={"Location": "/up?a=b"})).on("DELETE", ".*", Reply(204))
    with connect(faults.address, options()) as registry:
        registry.mount_blob("a", BLOB, "b")
    assert faults.asked("DELETE") == ["DELETE /up?a=b"]
