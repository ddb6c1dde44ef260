"""What a bad network and a bad server do to single requests. Against the fault server."""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError, UsageError
from isthmus.registry import ConnectionOptions, Registry, connect
from tests.registry.faults import FaultServer, Reply
from tests.registry.samples import blob, options, read

OK = Reply(200, b"{}")


def _ping(server: FaultServer, **changes: object) -> UnreachableError | None:
    given = changes.pop("given", None) or options(**changes)
    assert isinstance(given, ConnectionOptions)
    with connect(server.address, given) as registry:
        try:
            registry.ping()
        except UnreachableError as error:
            return error
    return None


def test_connections_are_kept_and_closed(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", OK)
    with connect(faults.address, options()) as registry:
        for _ in range(5):
            registry.ping()
        assert registry.requests == 5
    assert faults.connections == 1
    with connect(faults.address, options()) as registry:
        registry.ping()
    assert faults.connections == 2


def test_a_kept_connection_that_was_closed_is_replaced_without_ado(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", OK, times=1).on("GET", "/v2/", Reply(cut=-1), times=1).on("GET", "/v2/", OK)
    with connect(faults.address, options(retries=0)) as registry:
        registry.ping()
        registry.ping()
    assert faults.connections == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_trouble_is_waited_out(faults: FaultServer, status: int) -> None:
    faults.on("GET", "/v2/", Reply(status), times=2).on("GET", "/v2/", OK)
    assert _ping(faults) is None
    assert len(faults.requests) == 3


def test_lasting_trouble_ends(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", Reply(503, b'{"errors":[{"code":"UNAVAILABLE","message":"migrating"}]}'))
    error = _ping(faults)
    assert error is not None
    assert (error.code, error.temporary, error.http_status) == ("unreachable", True, 503)
    assert "UNAVAILABLE: migrating" in error.message
    assert len(faults.requests) == 3


def test_retry_after_is_honoured(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", Reply(429, headers={"Retry-After": "1"}), times=1).on("GET", "/v2/", OK)
    before = time.monotonic()
    assert _ping(faults) is None
    assert time.monotonic() - before >= 1


def test_too_long_a_wait_is_an_error_that_says_so(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", Reply(429, headers={"Retry-After": "3600"}))
    error = _ping(faults)
    assert error is not None
    assert (error.code, error.temporary, error.retry_after) == ("rate-limited", True, 3600)
    assert len(faults.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 418, 501])
def test_refusals_are_not_repeated(faults: FaultServer, status: int) -> None:
    faults.on("GET", "/v2/", Reply(status))
    error = _ping(faults)
    assert error is not None
    assert not error.temporary
    assert len(faults.requests) == 1


ENDLESS = b"HTTP/1.1 200 OK\r\n"
WRONG = {
    "no HTTP": Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing": Reply(cut=-1),
    "half a header": Reply(raw=ENDLESS + b"Content-Len"),
    "half a status line": Reply(raw=b"HTTP/1.1"),
    "status that is no number": Reply(raw=b"HTTP/1.1 abc OK\r\n\r\n"),
    "headers without end": Reply(raw=ENDLESS, endless=b"X-A: b\r\n"),
    "a header without end": Reply(raw=ENDLESS + b"X-A: ", endless=b"a" * 1000),
    "interim answers without end": Reply(raw=b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "broken chunks": Reply(raw=b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "switching protocols": Reply(raw=b"HTTP/1.1 101 X\r\n\r\n"),
    "negative length": Reply(raw=b"HTTP/1.1 418 X\r\nContent-Length: -5\r\n\r\n"),
}


@pytest.mark.parametrize("reply", WRONG.values(), ids=list(WRONG))
def test_bad_answers_are_our_errors_and_end(faults: FaultServer, reply: Reply) -> None:
    faults.on("GET", "/v2/", reply)
    before = time.monotonic()
    error = _ping(faults, retries=1)
    assert error is not None
    assert error.code in ("protocol", "unreachable", "refused", "not-found")
    assert time.monotonic() - before < 5


def test_silence_ends(faults: FaultServer) -> None:
    never = threading.Event()

    def wait(_: object) -> Reply:
        never.wait(3)
        return Reply(cut=-1)

    faults.on("GET", "/v2/", wait)
    error = _ping(faults, read_timeout=0.2, retries=0)
    never.set()
    assert error is not None
    assert error.temporary
    assert "in time" in error.message


@pytest.mark.parametrize(
    "reply", [Reply(raw=ENDLESS + b"X" * 5000, drip=0.02), Reply(404, b"x" * 5000, drip=0.02)]
)
def test_a_trickle_is_as_good_as_silence(faults: FaultServer, reply: Reply) -> None:
    faults.on("GET", "/v2/", reply)
    before = time.monotonic()
    assert _ping(faults, read_timeout=0.3, retries=0) is not None
    assert time.monotonic() - before < 3


def test_the_registrys_words_are_cut_and_cleaned(faults: FaultServer) -> None:
    words = b'{"errors":[{"code":"X\\u001b[31m","message":"a\\nb' + b"c" * 5000 + b'"}]}'
    faults.on("GET", "/v2/", Reply(403, words))
    error = _ping(faults)
    assert error is not None
    assert error.message.isprintable()
    assert len(error.message) < 400


def test_nobody_listens() -> None:
    with FaultServer() as server:
        address = server.address
    with connect(address, options(retries=1)) as registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert (caught.value.code, caught.value.temporary, caught.value.where) == ("unreachable", True, address)


def test_a_name_that_does_not_exist() -> None:
    for host in ("does-not-exist.invalid", "a" * 70 + ".example"):
        with connect(host, options(retries=0)) as registry, pytest.raises(UnreachableError):
            registry.ping()


def test_more_threads_than_connections(faults: FaultServer) -> None:
    def slow(_: object) -> Reply:
        time.sleep(0.02)
        return OK

    faults.on("GET", "/v2/", slow)
    with connect(faults.address, options(max_connections=2)) as registry:
        threads = [threading.Thread(target=registry.ping) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(faults.requests) == 12
    assert faults.connections == 2


def test_redirects_of_a_loop_end(faults: FaultServer) -> None:
    faults.on("GET", "/v2/.*", Reply(307, headers={"Location": "/v2/"}))
    error = _ping(faults)
    assert error is not None
    assert "redirects" in error.message
    assert len(faults.requests) == 6


@pytest.mark.parametrize("location", ["https://[", "ftp://x/", "https://u:secret@127.0.0.1/"])
def test_redirects_to_nowhere(faults: FaultServer, location: str) -> None:
    faults.on("GET", "/v2/", Reply(302, headers={"Location": location}))
    error = _ping(faults)
    assert error is not None
    assert (error.code, "secret" in str(error)) == ("protocol", False)


def test_loopback_falls_back_to_plain_http_only_where_tls_is_not_spoken(
    faults: FaultServer, tls_faults: FaultServer
) -> None:
    faults.on("GET", "/v2/", OK)
    tls_faults.on("GET", "/v2/", OK)
    assert _ping(faults) is None
    error = _ping(tls_faults)
    assert error is not None
    assert error.code == "tls-failed"
    assert not tls_faults.requests


def test_a_custom_authority(tls_faults: FaultServer, ca_file: Path) -> None:
    tls_faults.on("GET", "/v2/", OK)
    assert _ping(tls_faults, ca_file=ca_file) is None
    assert _ping(tls_faults, insecure=True) is None


def test_https_where_http_is_spoken(faults: FaultServer) -> None:
    registry = connect("x", options(retries=0), f"https://{faults.address}")
    with registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert caught.value.code in ("tls-failed", "unreachable")


@pytest.fixture
def mutual(server_tls: ssl.SSLContext, ca_file: Path) -> Iterator[FaultServer]:
    server_tls.load_verify_locations(str(ca_file))
    server_tls.verify_mode = ssl.CERT_REQUIRED
    with FaultServer(tls=server_tls) as server:
        yield server.on("GET", "/v2/", OK)


def test_a_client_certificate(mutual: FaultServer, ca_file: Path, certificate_files: tuple[Path, Path]) -> None:
    chain, key = certificate_files
    assert _ping(mutual, ca_file=ca_file, client_certificate=chain, client_key=key) is None
    error = _ping(mutual, ca_file=ca_file, retries=0)
    assert error is not None
    assert error.code in ("tls-failed", "unreachable")


def test_unusable_certificates_are_a_matter_of_configuration(tls_faults: FaultServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    for changes in ({"ca_file": wrong}, {"ca_file": tmp_path / "none"}, {"client_certificate": wrong}):
        registry = Registry(tls_faults.address, options=options(**changes))
        with registry, pytest.raises(UsageError) as caught:
            registry.ping()
        assert caught.value.code == "invalid-config"


def test_only_verified_content_may_be_fetched_without_tls(
    tls_faults: FaultServer, faults: FaultServer, ca_file: Path
) -> None:
    layer = blob(b"layer")
    tls_faults.on("GET", "/v2/.*", Reply(307, headers={"Location": f"{faults.url}/storage"}))
    faults.on("GET", "/storage", Reply(200, b"layer"))
    with connect(tls_faults.address, options(ca_file=ca_file)) as registry:
        assert read(registry.open_blob("a", layer)) == b"layer"
        with pytest.raises(UnreachableError) as caught:
            registry.manifest("a", "v1")
    assert caught.value.code == "protocol"
