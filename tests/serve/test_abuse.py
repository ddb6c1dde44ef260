"""What no honest client sends gets a right answer, and the service goes on."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.serve.answers import RefusedError
from isthmus.serve.target import Target, parse_target
from tests.serve.conftest import Client, Content


def raw(address: str, data: bytes) -> bytes:
    """Send bytes as they are and read until the server has nothing more to say."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/../../etc/passwd", 404),
        ("/v2/../../../etc/passwd/manifests/1", 400),
        ("/v2/a/../../b/blobs/sha256:" + "0" * 64, 400),
        ("/v2/%2e%2e/%2e%2e/etc/manifests/passwd", 400),
        ("/v2/mirror/..%2f..%2fetc/tags/list", 400),
        ("/v2/mirror/a/blobs/../../../../etc/passwd", 404),
        ("/v2/mirror/a/blobs/sha256:../../../index.json", 404),
        ("/v2/mirror/a/blobs/sha256:%2e%2e%2f%2e%2e%2findex.json", 404),
        ("/v2/mirror/a/manifests/..", 400),
        ("/v2/mirror/a/manifests/%00", 400),
        ("/v2/MIRROR/a/manifests/1", 400),
        ("/v2//a/manifests/1", 400),
        ("/v2/a//b/manifests/1", 400),
        ("/v2/%ff%fe/manifests/1", 400),
        ("/v2/n%C3%A4me/manifests/1", 400),
        ("/v2/a/manifests/" + "t" * 129, 400),
        ("/v2/" + "a" * 2000 + "/manifests/1", 400),
        ("/v2/a/blobs/sha1:" + "0" * 40, 400),
        ("/v2/a/blobs/sha256:" + "A" * 64, 400),
        ("/v2/a/blobs/uploads/", 404),
        ("/v2/a/blobs/uploads/1", 404),
        ("/v2/mirror/ipv6_" + "0" * 39 + "/a/manifests/1", 404),
        ("/etc/passwd", 404),
        ("/missing/", 404),
        ("/v3", 404),
        ("/v2x", 404),
        ("/v2/_catalog?n=" + "9" * 30, 400),
        ("/v2/_catalog?n=%C2%B2", 400),
    ],
)
def test_odd_paths(client: Client, path: str, status: int) -> None:
    answer = raw(client.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert b'{"errors":[{"code":"' in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Bad: a\x00b\r\n\r\n",
        b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_bad_requests_are_refused(client: Client, request_head: bytes) -> None:
    try:
        answer = raw(client.address, request_head)
    except ConnectionError:
        answer = b""  # closed while it was still being talked to
    assert not answer or answer.split()[1][:1] == b"4", answer[:200]
    assert client.get("/healthz").status == 200


def test_a_body_that_nobody_wants_is_not_kept(client: Client, content: Content) -> None:
    answer = client.request("PUT", "/v2/a/manifests/1", body=b"x" * 5_000_000)
    assert answer.status == 405
    assert client.get("/healthz").status == 200


path_text = st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=60)


@given(
    path=path_text, wrap=st.sampled_from(["{}", "a/manifests/{}", "{}/manifests/1", "a/blobs/{}", "{}/tags/list"])
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_path_is_a_target_or_refused(path: str, wrap: str) -> None:
    try:
        target = parse_target("/v2/" + wrap.format(path))
    except RefusedError:
        return
    assert isinstance(target, Target)
    assert ".." not in target.name
