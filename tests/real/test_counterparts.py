"""The fixtures themselves: that the real counterparts run here and can be trusted by the other tests."""

import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from bench.images import BuiltImage
from tests.real.conftest import StartRegistry, Upstream
from tests.real.containerd import Containerd
from tests.real.docker_registry import Tls
from tests.real.netns import ClosedNetwork
from tests.real.programs import ProgramFailed, former_runs
from tests.real.skopeo import Skopeo

pytestmark = pytest.mark.real


def _one(images: list[BuiltImage], name: str) -> BuiltImage:
    return next(image for image in images if image.name == name and image.generation == "v1")


def _hosts_toml(directory: Path, host: str, url: str) -> None:
    (directory / host).mkdir(parents=True, exist_ok=True)
    server = "https://registry-1.docker.io" if host == "docker.io" else f"https://{host}"
    text = f'server = "{server}"\n[host."{url}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'
    (directory / host / "hosts.toml").write_text(text)


def test_real_images_have_original_names_and_a_later_generation(real_images: list[BuiltImage]) -> None:
    first = [image for image in real_images if image.generation == "v1"]
    later = [image for image in real_images if image.generation == "v2"]
    assert len(first) >= 15
    assert len(later) == 6
    assert {"docker.io", "quay.io", "registry.k8s.io", "ghcr.io"} <= {i.name.split("/")[0] for i in first}
    for image in later:
        assert image.digest != _one(first, image.name).digest
    assert [image.reference for image in first if "@sha256:" in image.reference]


def test_skopeo_pushes_every_platform_to_docker_registry(
    docker_registry: StartRegistry, skopeo: Skopeo, real_images: list[BuiltImage]
) -> None:
    registry = docker_registry()
    pause = _one(real_images, "registry.k8s.io/pause")
    target = f"docker://{registry.address}/k8s/pause:3.10"
    skopeo.copy(f"oci:{pause.layout}:{pause.ref}", target)
    assert skopeo.digest(target) == pause.digest
    assert b"arm64" in skopeo.raw(target)
    assert skopeo.inspect(target)["Os"] == "linux"


def test_docker_registry_with_password_and_tls(
    docker_registry: StartRegistry, skopeo: Skopeo, real_images: list[BuiltImage], tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    tls = Tls(tmp_path / "server.pem", tmp_path / "server.key")
    certificate.private_key_pem.write_to_path(str(tls.key))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tls.certificate), append=True)
    (tmp_path / "trusted").mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "trusted" / "ca.crt"))
    registry = docker_registry(users={"alice": "wonder"}, tls=tls)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            f"{registry.url}/v2/", context=ssl.create_default_context(cafile=str(tmp_path / "trusted" / "ca.crt"))
        )
    with refused.value as answer:
        assert answer.code == 401
    busybox = _one(real_images, "docker.io/library/busybox")
    target = f"docker://{registry.address}/busybox:1"
    trusted = tmp_path / "trusted"
    skopeo.copy(
        f"oci:{busybox.layout}:{busybox.ref}", target, destination_credentials="alice:wonder", certificates=trusted
    )
    assert skopeo.digest(target, credentials="alice:wonder", certificates=trusted) == busybox.digest


def test_upstream_serves_everything_below_its_original_host(upstream: Upstream, skopeo: Skopeo) -> None:
    assert upstream.mapping["registry.k8s.io"] == f"{upstream.registry.url}/registry.k8s.io"
    for image in upstream.images:
        name = f"{image.name}@{image.digest}" if image.by_digest else f"{image.name}:{image.tag}"
        assert skopeo.digest(f"docker://{upstream.registry.address}/{name}") == image.digest


def test_a_stopped_registry_is_gone(docker_registry: StartRegistry) -> None:
    registry = docker_registry()
    registry.stop()
    assert not Path(f"/proc/{registry.pid}").exists()


@pytest.mark.root
def test_the_node_reaches_the_site_and_nothing_else(network_namespace: ClosedNetwork) -> None:
    site, node = network_namespace.site, network_namespace.node
    connect = "import socket,sys; socket.create_connection((sys.argv[1], 9), 5)"
    with pytest.raises(ProgramFailed, match="Connection refused"):
        node.output(sys.executable, "-c", connect, site.address)
    for outside in ("192.0.2.1", "8.8.8.8"):
        with pytest.raises(ProgramFailed, match="No route to host"):
            node.output(sys.executable, "-c", connect, outside, timeout=10)
    with pytest.raises(ProgramFailed, match="gaierror"):
        node.output(sys.executable, "-c", connect, "registry.k8s.io", timeout=10)
    assert "10.255.255.53" in node.output("cat", "/etc/resolv.conf")


@pytest.mark.root
def test_containerd_pulls_by_original_names_and_runs(
    network_namespace: ClosedNetwork,
    containerd_in_namespace: Containerd,
    docker_registry: StartRegistry,
    skopeo: Skopeo,
    real_images: list[BuiltImage],
    tmp_path: Path,
) -> None:
    site = network_namespace.site
    registry = docker_registry(host=site.address, wrapper=site.enter)
    names = ("docker.io/library/busybox", "registry.k8s.io/pause", "quay.io/prometheus/node-exporter")
    for image in [_one(real_images, name) for name in names]:
        host, _, path = image.name.partition("/")
        source, target = (
            f"oci:{image.layout}:{image.ref}",
            f"docker://{registry.address}/{host}/{path}:{image.tag}",
        )
        site.output("skopeo", "--insecure-policy", "copy", "--all", "--dest-tls-verify=false", source, target)
        _hosts_toml(tmp_path / "hosts", host, f"{registry.url}/v2/{host}")
        assert containerd_in_namespace.pull(image.reference, tmp_path / "hosts") == image.digest
    busybox = _one(real_images, names[0])
    assert containerd_in_namespace.run(busybox.reference, ["/bin/sh", "-c", "echo crossed"]) == "crossed\n"
    exporter = _one(real_images, names[2])
    assert "12." in containerd_in_namespace.run(exporter.reference, ["cat", "/etc/debian_version"])


@pytest.mark.root
def test_containerd_fails_at_once_on_what_the_site_has_not(
    containerd_in_namespace: Containerd, tmp_path: Path
) -> None:
    with pytest.raises(ProgramFailed, match=r"registry\.k8s\.io"):
        containerd_in_namespace.pull("registry.k8s.io/absent:1", timeout=30)


def test_only_runs_that_are_over_are_former_runs() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = f"isthmus-test-{ended.pid}-1-node"
    assert former_runs([gone, "isthmus-test-1-1-node", "other", "isthmus-test-x-1"]) == [gone]
