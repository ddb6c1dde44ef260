"""References: every edge of the grammar of the distribution project's `reference` package."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.errors import IsthmusError, UsageError
from isthmus.oci import Digest, Reference

D = "sha256:" + "0123456789abcdef" * 4
D512 = "sha512:" + "0123456789abcdef" * 8
HEX = "0123456789abcdef" * 4

NORMALISED = {
    "nginx": "docker.io/library/nginx:latest",
    "nginx:1": "docker.io/library/nginx:1",
    "library/nginx": "docker.io/library/nginx:latest",
    "docker.io/nginx": "docker.io/library/nginx:latest",
    "index.docker.io/nginx:1": "docker.io/library/nginx:1",
    "index.docker.io/library/nginx": "docker.io/library/nginx:latest",
    "registry-1.docker.io/library/nginx": "registry-1.docker.io/library/nginx:latest",
    "grafana/grafana": "docker.io/grafana/grafana:latest",
    "a/b/c/d": "docker.io/a/b/c/d:latest",
    "registry.k8s.io/pause:3.10": "registry.k8s.io/pause:3.10",
    "gcr.io/pause": "gcr.io/pause:latest",
    f"nginx@{D}": f"docker.io/library/nginx@{D}",
    f"nginx:1@{D}": f"docker.io/library/nginx:1@{D}",
    f"quay.io/a/b:1.2_3-x@{D512}": f"quay.io/a/b:1.2_3-x@{D512}",
    "localhost/x": "localhost/x:latest",
    "localhost:5000/x": "localhost:5000/x:latest",
    "localhost": "docker.io/library/localhost:latest",
    "localhost:5000": "docker.io/library/localhost:5000",
    "host:5000/x:1": "host:5000/x:1",
    "host:5000/library/x": "host:5000/library/x:latest",
    "host.example:65535/x": "host.example:65535/x:latest",
    "UPPER/x": "UPPER/x:latest",
    "Host.Example/x": "Host.Example/x:latest",
    "[::1]:5000/x": "[::1]:5000/x:latest",
    "[2001:db8::1]/x/y:1": "[2001:db8::1]/x/y:1",
    f"[fd00::1]:443/x@{D}": f"[fd00::1]:443/x@{D}",
    "127.0.0.1/x": "127.0.0.1/x:latest",
    "10.0.0.1:5000/x": "10.0.0.1:5000/x:latest",
    "x-y.example.com/a": "x-y.example.com/a:latest",
    "xn--n3h.com/myimage": "xn--n3h.com/myimage:latest",
    "a.b/c": "a.b/c:latest",
    "a_b/c": "docker.io/a_b/c:latest",
    "a__b/c": "docker.io/a__b/c:latest",
    "a---b/c---d": "docker.io/a---b/c---d:latest",
    "host.example/a.b_c-d__e/f": "host.example/a.b_c-d__e/f:latest",
    "x:_tag": "docker.io/library/x:_tag",
    "x:UPPER.tag-1": "docker.io/library/x:UPPER.tag-1",
    "x:" + "t" * 128: "docker.io/library/x:" + "t" * 128,
    HEX[:-1]: f"docker.io/library/{HEX[:-1]}:latest",
    f"a/{HEX}": f"docker.io/a/{HEX}:latest",
    f"x:{HEX}": f"docker.io/library/x:{HEX}",
    "sha256:1": "docker.io/library/sha256:1",
    "host.example:0999999/a": "host.example:0999999/a:latest",
    f"host.example/{'a' * 255}": f"host.example/{'a' * 255}:latest",
}


@pytest.mark.parametrize(("text", "expected"), NORMALISED.items())
def test_normalised_as_runtimes_do(text: str, expected: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == expected
    assert Reference.parse(expected) == reference


WRONG = [
    "",
    " ",
    " nginx",
    "nginx ",
    "nginx\n",
    "Nginx",
    "a/B/c",
    "quay.io/A/b",
    ":1",
    "nginx:",
    "nginx:-1",
    "nginx:.1",
    "nginx:1:2",
    "nginx:" + "t" * 129,
    "nginx:a/b",
    "nginx:é",
    "é",
    "/nginx",
    "nginx/",
    "a//b",
    "quay.io//b",
    "quay.io/",
    "-a",
    "a-",
    "a/_b",
    "a/b_",
    "a/b..c",
    "a/b._c",
    "a/b___c",
    "a/.b",
    "a/../b",
    "-host.example/a",
    "host-.example/a",
    "host..example/a",
    ".example/a",
    "host.example:/a",
    "host.example:port/a",
    "host_x.example/a",
    "[::1/a",
    "[::1]x/a",
    "[::1]:/a",
    "[]/a",
    "[:::::]/a",
    "[1:2:3]/a",
    "[fe80::1%eth0]/a",
    "http://quay.io/a",
    "https://quay.io/a/b:1",
    "docker://nginx",
    "oci:/dir",
    HEX,
    f"library/{HEX}",
    f"docker.io/{HEX}",
    "a" * 256,
    f"host.example/{'a' * 256}",
    "x" * 5000,
    "nginx\x00",
    "nginx:1\u0660",
    "n\u0131nx",
    "nginx@",
    "nginx@sha256:abc",
    f"nginx@{D.upper()}",
    f"nginx@md5:{'0' * 32}",
    f"nginx@{D}@{D}",
    f"nginx@{D}:1",
    f"@{D}",
    f"nginx:@{D}",
    D,
    "${IMAGE}",
    "{{ .Values.image }}",
    "<image>",
    f"docker.io/library/{D}",
    f"sha512:{'0' * 128}",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)
    assert caught.value.code in ("invalid-reference", "invalid-digest")
    assert len(caught.value.message) < 900


def test_the_parts() -> None:
    reference = Reference.parse(f"quay.io:8443/a/b:1@{D}")
    assert (reference.host, reference.path, reference.tag, reference.digest) == ("quay.io:8443", "a/b", "1", D)
    assert reference.repository == "quay.io:8443/a/b"
    assert reference.target == D
    assert Reference.parse("nginx:1").target == "1"
    assert str(Reference.parse("nginx:1").with_digest(Digest(D))) == f"docker.io/library/nginx:1@{D}"
    assert Reference.parse("nginx") == Reference.parse("docker.io/library/nginx:latest")
    assert Reference.parse("a") < Reference.parse("b")
    assert len({Reference.parse("nginx"), Reference.parse("library/nginx")}) == 1


label = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
name_host = st.lists(label, min_size=2, max_size=4).map(".".join)
ipv6 = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
port = st.one_of(st.just(""), st.integers(1, 65535).map(lambda number: f":{number}"))
host = st.tuples(st.one_of(name_host, ipv6, st.just("localhost")), port).map("".join)
component = st.from_regex(r"[a-z0-9]{1,5}(([._]|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
path = st.lists(component, min_size=1, max_size=4).map("/".join)
tag = st.one_of(st.just(""), st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
digest = st.one_of(st.just(""), st.just(f"@{D}"), st.just(f"@{D512}"))


@given(host, path, tag, digest)
def test_what_the_grammar_makes_is_parsed(host: str, path: str, tag: str, digest: str) -> None:
    reference = Reference.parse(f"{host}/{path}{tag}{digest}")
    assert (reference.host, reference.path) == (host, path)
    assert reference.tag == (tag[1:] or ("" if digest else "latest"))
    assert Reference.parse(str(reference)) == reference


@given(path, tag, digest)
def test_short_names(path: str, tag: str, digest: str) -> None:
    try:
        reference = Reference.parse(f"{path}{tag}{digest}")
    except UsageError:
        return  # 64 hexadecimal digits, or a first part that looks like a host and is none
    assert Reference.parse(str(reference)) == reference
    first = path.partition("/")[0]
    if "." not in first and first != "localhost":
        assert reference.host == "docker.io"


@given(st.one_of(st.text(max_size=60), st.text(alphabet="aB0./:@-_[]%", max_size=40)))
@example("localhost:5000")
@example("a.b")
def test_any_text(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except IsthmusError:
        return
    assert str(Reference.parse(str(reference))) == str(reference)
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.path.split("/")
