"""The one mapping from names outside to names inside, and back."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.inventory.mapping import MirrorMap, decode_host, encode_host, host_of_path, parse_mapping
from isthmus.oci import Reference

LEGAL_PATH = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
)  # distribution-spec
LEGAL_PART = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")

HOSTS = {
    "docker.io": "docker.io",
    "registry.k8s.io": "registry.k8s.io",
    "localhost": "localhost",
    "localhost:5000": "localhost__5000",
    "Host.Example:443": "host.example__443",
    "xn--n3h.com": "xn--n3h.com",
    "a--b.c---d.e:1": "a--b.c---d.e__1",
    "127.0.0.1:5000": "127.0.0.1__5000",
    "[::1]": "ipv6_0000-0000-0000-0000-0000-0000-0000-0001",
    "[2001:DB8::1]:5000": "ipv6_2001-0db8-0000-0000-0000-0000-0000-0001__5000",
}


@pytest.mark.parametrize(("host", "part"), HOSTS.items())
def test_hosts(host: str, part: str) -> None:
    assert encode_host(host) == part
    assert LEGAL_PART.fullmatch(part)
    assert decode_host(part) == host.lower()


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
port = st.one_of(st.just(""), st.integers(0, 99999).map(lambda number: f":{number}"))
names = st.one_of(st.just("localhost"), st.lists(label, min_size=2, max_size=4).map(".".join))
ipv6 = (
    st.ip_addresses(v=6)
    .filter(lambda address: ":ffff:" not in str(address))
    .map(lambda address: f"[{address.compressed}]")
)
hosts = st.tuples(st.one_of(names, ipv6), port).map("".join)
component = st.from_regex(r"[a-z0-9]{1,5}(([._]|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
paths = st.lists(component, min_size=1, max_size=4).map("/".join)
prefixes = st.sampled_from(["", "mirror", "a/b"])


@st.composite
def references(draw: st.DrawFn) -> Reference:
    text = f"{draw(hosts)}/{draw(paths)}"
    try:
        return Reference.parse(text)
    except UsageError:
        assume(False)
        raise


@given(hosts)
@example("[::ffff:102:304]:1")
def test_any_host_comes_back(host: str) -> None:
    part = encode_host(host)
    assert LEGAL_PART.fullmatch(part)
    assert decode_host(part) == host


@given(hosts, hosts)
def test_two_hosts_never_become_one(one: str, other: str) -> None:
    assert (encode_host(one) == encode_host(other)) == (one == other)


@given(references(), prefixes)
def test_prefix_is_reversible(reference: Reference, prefix: str) -> None:
    mapping = MirrorMap(prefix=prefix)
    inside = mapping.repository(reference)
    assert LEGAL_PATH.fullmatch(inside)
    assert mapping.origin(inside) == (reference.host, reference.path)
    assert mapping.host_prefix(reference.host) + "/" + reference.path == inside
    Reference.parse(f"registry.site.example/{inside}") if len(inside) < 256 else None


@given(st.lists(references(), max_size=6), prefixes)
def test_prefix_never_collides(found: list[Reference], prefix: str) -> None:
    MirrorMap(prefix=prefix).check_collisions(found)


@given(references(), prefixes)
def test_flat(reference: Reference, prefix: str) -> None:
    mapping = MirrorMap(mapping="flat", prefix=prefix)
    inside = mapping.repository(reference)
    assert LEGAL_PATH.fullmatch(inside)
    assert "/" in inside  # Harbor has no room for anything else
    assert inside.endswith(reference.path)
    assert mapping.origin(inside) is None
    assert mapping.host_prefix(reference.host) == prefix
    if prefix:  # what a runtime asks for through hosts.toml is what was pushed
        assert inside == f"{prefix}/{reference.path}"


def repository(text: str, mapping: MirrorMap) -> str:
    return mapping.repository(Reference.parse(text))


def test_examples() -> None:
    prefix, flat, bare = MirrorMap(), MirrorMap(mapping="flat"), MirrorMap(mapping="flat", prefix="")
    assert repository("registry.k8s.io/pause:3.9", prefix) == "mirror/registry.k8s.io/pause"
    assert repository("nginx", prefix) == "mirror/docker.io/library/nginx"
    assert repository("nginx", flat) == "mirror/library/nginx"
    assert repository("registry.k8s.io/pause", flat) == "mirror/pause"
    assert repository("registry.k8s.io/pause", bare) == "library/pause"
    assert repository("quay.io/a/b", bare) == "a/b"
    assert repository("[::1]:5000/x", prefix) == f"mirror/{HOSTS['[::1]']}__5000/x"


@pytest.mark.parametrize(
    ("one", "other"),
    [("quay.io/a/b", "docker.io/a/b"), ("registry.k8s.io/pause", "docker.io/library/pause"), ("x.io/a", "y.io/a")],
)
def test_flat_collisions_are_errors(one: str, other: str) -> None:
    mapping = MirrorMap(mapping="flat", prefix="")
    with pytest.raises(UsageError) as caught:
        mapping.check_collisions([Reference.parse(one), Reference.parse(one), Reference.parse(other)])
    assert caught.value.code == "mapping-collision"
    assert one in caught.value.message
    assert other in caught.value.message


def test_what_is_no_collision() -> None:
    same = ["quay.io/a/b:1", "quay.io/a/b:2", "quay.io/a/c", "Quay.io/a/b:3"]
    for mapping in (MirrorMap(), MirrorMap(mapping="flat")):
        mapping.check_collisions(Reference.parse(text) for text in same)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "mirror",
        "mirror/",
        "mirror/docker.io",
        "mirror/docker.io/",
        "other/docker.io/library/nginx",
        "mirrors/docker.io/library/nginx",
        "docker.io/library/nginx",
        "mirror/nodots/x",
        "mirror/a__b/x",
        "mirror/a.b__/x",
        "mirror/__5000/x",
        "mirror/Docker.io/x",
        "mirror/ipv6_/x",
        "mirror/ipv6_----------------------------------------/x",
        "mirror/ipv6_00000-000-0000-0000-0000-0000-0000-00001/x",
        "mirror/ipv6_--1/x",
        "mirror/../x",
    ],
)
def test_names_that_stand_for_nothing(asked: str) -> None:
    assert MirrorMap().origin(asked) is None


@given(st.one_of(st.text(max_size=60), st.text(alphabet="ab0./:_-", max_size=60).map("mirror/ipv6_".__add__)))
def test_any_name_that_a_client_asks_for(asked: str) -> None:
    for prefix in ("", "mirror"):
        origin = MirrorMap(prefix=prefix).origin(asked)
        if origin is not None:
            assert asked == "/".join(part for part in (prefix, encode_host(origin[0]), origin[1]) if part)


def test_names_that_a_runtime_asks_for_with_a_namespace() -> None:
    assert host_of_path("library/nginx", "docker.io") == "docker.io/library/nginx"
    assert host_of_path("nginx", "docker.io") == "docker.io/library/nginx"
    assert host_of_path("nginx", None) == "docker.io/library/nginx"
    assert host_of_path("pause", "registry.k8s.io") == "registry.k8s.io/pause"


def test_mapping_names() -> None:
    assert [parse_mapping(name) for name in ("prefix", "flat")] == ["prefix", "flat"]
    with pytest.raises(UsageError) as caught:
        parse_mapping("Flat")
    assert caught.value.code == "wrong-usage"
