"""Where a registry is reached, and where its answers lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.registry.endpoint import Origin, find_place, follow, is_loopback


@pytest.mark.parametrize(
    ("host", "reached", "port", "scheme", "name"),
    [
        ("docker.io", "registry-1.docker.io", None, "https", "docker.io"),
        ("index.docker.io", "registry-1.docker.io", None, "https", "docker.io"),
        ("quay.io", "quay.io", None, "https", "quay.io"),
        ("Registry.Example:5000", "registry.example", 5000, "https", "Registry.Example:5000"),
        ("localhost:5000", "localhost", 5000, None, "localhost:5000"),
        ("127.9.9.9", "127.9.9.9", None, None, "127.9.9.9"),
        ("[::1]:5000", "::1", 5000, None, "[::1]:5000"),
        ("[2001:db8::1]", "2001:db8::1", None, "https", "[2001:db8::1]"),
    ],
)
def test_hosts(host: str, reached: str, port: int | None, scheme: str | None, name: str) -> None:
    place = find_place(host)
    assert (place.host, place.port, place.scheme, place.name, place.prefix) == (reached, port, scheme, name, "")


def test_plain_http_is_for_the_one_who_asks() -> None:
    assert find_place("registry.example", plain_http=True).scheme == "http"
    assert find_place("registry.example", upstream="http://10.0.0.1:5000/quay.io/").scheme == "http"


def test_an_upstream_stands_for_a_host_with_a_prefix() -> None:
    place = find_place("quay.io", upstream="https://mirror.example:8443/cache/quay.io/")
    assert place.full_name("a/b") == "cache/quay.io/a/b"
    assert place.origin("https").authority == "mirror.example:8443"
    assert find_place("127.0.0.1:5000/registry.k8s.io").full_name("pause") == "registry.k8s.io/pause"


@pytest.mark.parametrize(
    "host",
    [
        *("", "a b", "host:0", "host:99999", "host:x", "[::1", "-", "h/..%2f", "h\n"),
        *("ftp://h", "http://", "http://u:pw@h", "http://h?q"),
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_place(host)
    assert "pw" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_place_or_our_error(text: str) -> None:
    for upstream in (None, text, f"http://{text}"):
        try:
            find_place(text, upstream=upstream)
        except UsageError:
            continue


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.255.0.3", "::1", "a.localhost"))
    assert not any(
        is_loopback(host) for host in ("localhost.example", "128.0.0.1", "::2", "10.0.0.1", "1270.0.0.1")
    )


HERE = Origin("https", "r.example", 443)


@pytest.mark.parametrize(
    ("location", "origin", "target"),
    [
        ("/v2/x?_state=a%3D&b", HERE, "/v2/x?_state=a%3D&b"),
        ("next?c", HERE, "/v2/a/next?c"),
        ("?last=b", HERE, "/v2/a/list?last=b"),
        ("https://r.example:443/x", HERE, "/x"),
        ("https://s3.example/x?sig=A+b/c==", Origin("https", "s3.example", 443), "/x?sig=A+b/c=="),
        ("//s3.example:1/x", Origin("https", "s3.example", 1), "/x"),
        ("/ä b", HERE, "/%C3%A4%20b"),
        ("/a#fragment", HERE, "/a"),
    ],
)
def test_locations(location: str, origin: Origin, target: str) -> None:
    assert follow(HERE, "/v2/a/list?n=1", location) == (origin, target)


@pytest.mark.parametrize(
    "location",
    ["ftp://x/y", "https://u:p@x/y", "https://[::1", "https://x:99999/", "javascript:1", "https://a b/"],
)
def test_locations_that_are_none(location: str) -> None:
    assert follow(HERE, "/", location) is None


@given(st.text())
def test_any_location_gives_a_sendable_target_or_none(location: str) -> None:
    found = follow(HERE, "/v2/", location)
    if found is not None:
        assert found[1].isascii()
        assert not any(character.isspace() for character in found[1])
