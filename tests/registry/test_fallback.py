"""A host with mirrors: who is asked for what, in which order, and that a mirror cannot give anything wrong."""

from collections.abc import Iterator

import pytest

from isthmus.errors import UnreachableError, VerificationError
from isthmus.registry import Fallback, connect
from isthmus.registry.fallback import REST
from tests.registry.faults import FaultServer, Reply
from tests.registry.samples import blob, image, options, read

LAYER = b"layer" * 1000
IMAGE = image(LAYER)
MANIFEST = f"/v2/a/b/manifests/{IMAGE.digest}"
BLOB = f"/v2/a/b/blobs/{blob(LAYER).digest}"
HEADERS = {"Content-Type": IMAGE.media_type}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Trio:
    """A host and two mirrors, each a server that can be told what to do."""

    def __init__(self) -> None:
        self.host, self.first, self.second = FaultServer(), FaultServer(), FaultServer()
        self.servers = (self.host, self.first, self.second)
        self.clock = Clock()
        quick = options(retries=0)
        registries = [connect(server.address, quick, server.url) for server in self.servers]
        self.source = Fallback(registries[0], registries[1:], self.clock)

    def counts(self) -> list[int]:
        return [len(server.requests) for server in self.servers]

    def close(self) -> None:
        self.source.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def trio() -> Iterator[Trio]:
    found = Trio()
    yield found
    found.close()


def give(server: FaultServer) -> None:
    server.on("GET", MANIFEST, Reply(200, IMAGE.raw, HEADERS)).on("GET", BLOB, Reply(200, LAYER))


def test_what_has_a_digest_comes_from_the_first_mirror(trio: Trio) -> None:
    for server in trio.servers:
        give(server)
    assert trio.source.manifest("a/b", IMAGE.digest).raw == IMAGE.raw
    assert read(trio.source.open_blob("a/b", blob(LAYER))) == LAYER
    assert trio.counts() == [0, 2, 0]
    assert trio.source.requests == 2


def test_mirrors_that_lack_it_are_passed_over_and_the_host_is_last(trio: Trio) -> None:
    give(trio.host)
    assert trio.source.manifest("a/b", IMAGE.digest).raw == IMAGE.raw
    assert trio.counts() == [1, 1, 1]


def test_a_mirror_with_other_bytes_is_not_believed(trio: Trio) -> None:
    trio.first.on("GET", MANIFEST, Reply(200, image(b"other").raw, HEADERS))
    give(trio.second)
    assert trio.source.manifest("a/b", IMAGE.digest).raw == IMAGE.raw


def test_a_blob_that_is_asked_for_again_comes_from_the_host(trio: Trio) -> None:
    trio.first.on("GET", BLOB, Reply(200, b"wrong" * 1000))
    give(trio.host)
    assert read(trio.source.open_blob("a/b", blob(LAYER))) != LAYER, "the sink finds out"
    assert read(trio.source.open_blob("a/b", blob(LAYER))) == LAYER


def test_a_mirror_in_trouble_is_asked_last_for_a_while(trio: Trio) -> None:
    trio.first.on("GET", MANIFEST, Reply(503))
    give(trio.second)
    for _ in range(3):
        trio.source.manifest("a/b", IMAGE.digest)
    assert trio.counts() == [0, 1, 3]
    trio.clock.now = REST + 1
    trio.source.manifest("a/b", IMAGE.digest)
    assert trio.counts() == [0, 2, 4]


def test_tags_are_the_hosts_and_a_mirror_helps_only_where_it_is_in_trouble(trio: Trio) -> None:
    tag = "/v2/a/b/manifests/1"
    trio.host.on("GET", tag, Reply(200, IMAGE.raw, HEADERS), times=1)
    trio.first.on("GET", tag, Reply(200, image(b"stale").raw, HEADERS))
    assert trio.source.manifest("a/b", "1").raw == IMAGE.raw
    with pytest.raises(UnreachableError) as caught:
        trio.source.manifest("a/b", "1")  # the host says that there is none: so it is
    assert caught.value.code == "not-found"
    trio.host.on("GET", "/v2/a/b/manifests/2", Reply(503))
    trio.first.on("GET", "/v2/a/b/manifests/2", Reply(200, IMAGE.raw, HEADERS))
    assert trio.source.manifest("a/b", "2").raw == IMAGE.raw


def test_the_hosts_own_reason_is_told(trio: Trio) -> None:
    trio.host.on("GET", MANIFEST, Reply(403))
    with pytest.raises(UnreachableError) as caught:
        trio.source.manifest("a/b", IMAGE.digest)
    assert caught.value.code == "unauthorized"


def test_nothing_but_wrong_bytes_anywhere(trio: Trio) -> None:
    for server in trio.servers:
        server.on("GET", MANIFEST, Reply(200, image(b"other").raw, HEADERS))
    with pytest.raises(VerificationError):
        trio.source.manifest("a/b", IMAGE.digest)


def test_a_part_comes_from_whoever_gives_parts(trio: Trio) -> None:
    for server in trio.servers:
        give(server)
    part = Reply(206, LAYER[10:20], {"Content-Range": f"bytes 10-19/{len(LAYER)}"})
    trio.second.rules.clear()
    trio.second.on("GET", BLOB, part)
    assert read(trio.source.open_range("a/b", blob(LAYER), 10, 10)) == LAYER[10:20]
    assert trio.counts() == [0, 1, 1]
    trio.source.manifest("a/b", IMAGE.digest)
    assert trio.counts() == [0, 2, 1]  # the first is not in disgrace
