"""Lists in pages. Against the fault server."""

import json

import pytest

from isthmus.errors import UnreachableError
from isthmus.registry import connect
from tests.registry.faults import FaultServer, Reply
from tests.registry.samples import options


def _page(names: list[str] | None, link: str = "", key: str = "tags") -> Reply:
    return Reply(200, json.dumps({"name": "a", key: names}).encode(), {"Link": link} if link else {})


def test_tags_of_several_pages(faults: FaultServer) -> None:
    faults.on("GET", r"/v2/a/tags/list\?n=1000", _page(["1", "2"], '</v2/a/tags/list?last=2&n=2>; rel="next"'))
    faults.on("GET", r"/v2/a/tags/list\?last=2&n=2", _page(["2", "3"], '<list?last=3>; rel="next"'))
    faults.on("GET", r"/v2/a/tags/list\?last=3", _page(None))
    with connect(faults.address, options()) as registry:
        assert registry.tags("a") == ("1", "2", "3")


def test_the_catalog_below_a_prefix(faults: FaultServer) -> None:
    faults.on("GET", r"/v2/_catalog\?n=1000", _page(["quay.io/a", "quay.io/b/c", "other"], key="repositories"))
    with connect("quay.io", options(), f"{faults.url}/quay.io") as registry:
        assert registry.catalog() == ("a", "b/c")


@pytest.mark.parametrize(
    "reply",
    [
        _page(["1"], '</v2/a/tags/list?n=1000>; rel="next"'),
        _page(["1"], '<https://elsewhere.example/v2/a/tags/list>; rel="next"'),
        _page(["1"], '<ftp://[>; rel="next"'),
        Reply(200, b"<html>"),
        Reply(200, b'{"tags": [1]}'),
        Reply(200, b'{"tags": ["1"'),
        Reply(200, b"x", length=17 * 1024 * 1024),
        Reply(200, b'"' + b"\\u0000" * 9 + b"\xff"),
    ],
)
def test_bad_pages_are_our_errors(faults: FaultServer, reply: Reply) -> None:
    faults.on("GET", "/v2/a/tags/list.*", reply)
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.tags("a")
    assert caught.value.code == "protocol"


def test_an_unknown_repository(faults: FaultServer) -> None:
    with connect(faults.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.tags("none")
    assert caught.value.code == "not-found"
