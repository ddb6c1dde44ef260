"""Whatever bytes a server answers with, every method gives a result or one of our errors, and ends."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import IsthmusError
from isthmus.registry import Registry, connect
from tests.registry.faults import FaultServer, Reply, Rule
from tests.registry.samples import blob, image, options, read, write

BLOB = blob(b"layer")
IMAGE = image(b"layer", subject=image(b"subject"))

METHODS: dict[str, Callable[[Registry], object]] = {
    "ping": lambda registry: registry.ping(),
    "manifest": lambda registry: registry.manifest("a", "v1"),
    "manifest_digest": lambda registry: registry.manifest_digest("a", "v1"),
    "put_manifest": lambda registry: registry.put_manifest("a", IMAGE, "v1"),
    "has_blob": lambda registry: registry.has_blob("a", BLOB),
    "open_blob": lambda registry: read(registry.open_blob("a", BLOB, 2)),
    "mount_blob": lambda registry: registry.mount_blob("a", BLOB, "b"),
    "write_blob": lambda registry: write(registry.write_blob("a", BLOB), b"layer"),
    "referrers": lambda registry: registry.referrers("a", IMAGE.digest),
    "tags": lambda registry: registry.tags("a"),
    "catalog": lambda registry: registry.catalog(),
}
NAMES = [
    "Location", "Content-Range", "Content-Length", "Content-Type", "Docker-Content-Digest", "Link", "Range",
    "WWW-Authenticate", "Retry-After", "Transfer-Encoding", "Connection", "OCI-Subject", "OCI-Chunk-Min-Length",
]  # fmt: skip
VALUES = st.sampled_from(
    [
        "/v2/x", "http://127.0.0.1:1/", "//", "bytes 2-4/5", "bytes 2-4/*", "0-4", "5", "-1", "9" * 20, "\xb2",
        "application/vnd.oci.image.manifest.v1+json", BLOB.digest, "sha512:0", '<x>; rel="next"',
        'Basic realm="x"', 'Bearer realm="http://127.0.0.1:1/t"', "chunked", "close",
    ]
) | st.text(st.characters(max_codepoint=255), max_size=30)  # fmt: skip
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b"layer", b"yer", IMAGE.raw, b'{"tags":["1"]}', b"5\r\nlayer\r\n0\r\n\r\n"]
)
STATUSES = st.sampled_from([100, 101, 200, 201, 202, 204, 206, 301, 307, 401, 404, 416, 429, 500, 999])


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    headers = draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=5))
    lines = [f"HTTP/1.1 {draw(STATUSES)} X", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + draw(BODIES)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.binary(max_size=80) | _answers(), min_size=1, max_size=3))
def test_any_answer(server: FaultServer, method: Callable[[Registry], object], answers: list[bytes]) -> None:
    every = [(verb, answer) for answer in answers for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")]
    server.rules = [Rule(verb, ".*", Reply(raw=answer), times=1) for verb, answer in every]
    quick = options(retries=1, backoff=0, longest_wait=0.01, read_timeout=1, connect_timeout=1)
    with connect("x", quick, server.url) as registry, contextlib.suppress(IsthmusError):
        method(registry)
