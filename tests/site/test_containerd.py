"""hosts.toml as containerd reads it: one place to ask, under every name, and never the Internet."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.inventory.containerd_hosts import host_directory, hosts_toml
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Reference
from isthmus.site.containerd import configure_containerd, containerd_files

REFERENCES = [
    Reference.parse(name)
    for name in (
        "registry.k8s.io/pause:3.10",
        "registry.k8s.io/coredns/coredns:v1",
        "quay.io/a/b:1",
        "localhost:5000/team/app",
        "[::1]:5000/team/other",
        "Registry.Example/x",
    )
]
SITE = "https://registry.site.internal:8443"


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_one_file_for_every_host(tmp_path: Path) -> None:
    written = configure_containerd(REFERENCES, MirrorMap(), SITE, tmp_path, ca="/etc/pki/site.pem")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "Registry.Example/hosts.toml",
        "[::1]_5000_/hosts.toml",
        "_default/hosts.toml",
        "docker.io/hosts.toml",
        "localhost_5000_/hosts.toml",
        "quay.io/hosts.toml",
        "registry.k8s.io/hosts.toml",
    ]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(written)
    assert (tmp_path / "registry.k8s.io/hosts.toml").read_text() == (
        "# registry.k8s.io: from this site's registry alone. Written by `isthmus configure`.\n"
        'server = "https://registry.site.internal:8443/v2/mirror/registry.k8s.io"\n'
        'capabilities = ["pull", "resolve"]\n'
        "override_path = true\n"
        'ca = "/etc/pki/site.pem"\n'
        "\n"
        '[host."https://registry.site.internal:8443/v2/mirror/registry.k8s.io"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        "  override_path = true\n"
        '  ca = "/etc/pki/site.pem"\n'
    )
    assert read(tmp_path / "[::1]_5000_/hosts.toml")["server"] == (
        f"{SITE}/v2/mirror/ipv6_0000-0000-0000-0000-0000-0000-0000-0001__5000"
    )
    assert read(tmp_path / "localhost_5000_/hosts.toml")["server"] == f"{SITE}/v2/mirror/localhost__5000"


@pytest.mark.parametrize(
    "mapping", [MirrorMap(), MirrorMap(prefix=""), MirrorMap("flat", ""), MirrorMap("flat", "m")]
)
def test_every_place_that_is_asked_is_the_site(tmp_path: Path, mapping: MirrorMap) -> None:
    for path in configure_containerd(REFERENCES, mapping, SITE, tmp_path, skip_verify=True):
        document = read(path)
        (host,) = document["host"]
        assert document["server"] == host
        assert host == SITE or host.startswith(f"{SITE}/v2/")
        for settings in (document, document["host"][host]):
            assert settings["capabilities"] == ["pull", "resolve"]
            assert settings["skip_verify"] is True
            # Without it, containerd would add a second /v2 behind a path.
            assert settings.get("override_path", False) is (host != SITE)


def test_flat_mapping_leaves_the_path_to_containerd(tmp_path: Path) -> None:
    document = tomllib.loads(hosts_toml(MirrorMap("flat", ""), "http://r:5000", "quay.io"))
    assert document == {
        "server": "http://r:5000",
        "capabilities": ["pull", "resolve"],
        "host": {"http://r:5000": {"capabilities": ["pull", "resolve"]}},
    }


@given(
    reference=st.sampled_from(REFERENCES),
    mapping=st.sampled_from([MirrorMap(), MirrorMap(prefix=""), MirrorMap(prefix="a/b"), MirrorMap("flat", "x")]),
)
def test_what_containerd_asks_is_what_the_mapping_says(reference: Reference, mapping: MirrorMap) -> None:
    (host,) = tomllib.loads(hosts_toml(mapping, SITE, reference.host))["host"]
    asked = f"{host}/{reference.path}"
    inside = mapping.repository(reference)
    if mapping.mapping == "flat" and "/" not in reference.path:
        return  # such a name is in library/ inside, for which containerd cannot ask
    assert asked == f"{SITE}/v2/{inside}"


def test_certificate_is_carried_along(tmp_path: Path) -> None:
    configure_containerd(REFERENCES, MirrorMap(), SITE, tmp_path, ca_certificate=b"PEM")
    assert read(tmp_path / "quay.io/hosts.toml")["ca"] == "ca.pem"
    assert (tmp_path / "quay.io/ca.pem").read_bytes() == b"PEM"


def test_directories_are_those_that_containerd_looks_for() -> None:
    # As its hostDirectory() makes them, oddities included.
    assert host_directory("docker.io") == "docker.io"
    assert host_directory("r.example:5000") == "r.example_5000_"
    assert host_directory("[::1]:5000") == "[::1]_5000_"
    assert host_directory("[::1]") == "[:_1]_"


def test_same_input_same_bytes_and_nothing_touched_twice(tmp_path: Path) -> None:
    first = configure_containerd(REFERENCES, MirrorMap(), SITE, tmp_path)
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in first}
    assert containerd_files(REFERENCES, MirrorMap(), SITE) == containerd_files(REFERENCES[::-1], MirrorMap(), SITE)
    second = configure_containerd(REFERENCES[::-1], MirrorMap(), SITE, tmp_path)
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in second} == before


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned = configure_containerd(REFERENCES, MirrorMap(), SITE, out, dry_run=True)
    assert out / "quay.io/hosts.toml" in planned
    assert not out.exists()


@pytest.mark.parametrize(
    "registry",
    ["registry.site", "ftp://r", "https://", "https://r/path", "https://u:secret@r", "https://r:99999",
     "https://r?x", "https://r\n", "https://[::1"],
)  # fmt: skip
def test_what_is_no_registry(registry: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        configure_containerd(REFERENCES, MirrorMap(), registry, tmp_path)
    assert caught.value.code == "wrong-usage"
    assert list(tmp_path.iterdir()) == []


def test_contradictions_and_collisions(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        configure_containerd(REFERENCES, MirrorMap(), SITE, tmp_path, ca="/a", skip_verify=True)
    with pytest.raises(UsageError):
        configure_containerd(REFERENCES, MirrorMap(), SITE, tmp_path, ca="/a\n")
    colliding = [Reference.parse("a.io/x/y"), Reference.parse("b.io/x/y")]
    with pytest.raises(UsageError) as caught:
        configure_containerd(colliding, MirrorMap("flat", ""), SITE, tmp_path)
    assert caught.value.code == "mapping-collision"
    assert os.listdir(tmp_path) == []
