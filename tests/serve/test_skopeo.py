"""Debian's skopeo pulls from us, digest for digest."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.serve import ServerThread
from tests.serve.conftest import Content

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("skopeo") is None, reason="Debian package skopeo is missing"),
]


def skopeo(home: Path, *arguments: str | Path) -> bytes:
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    command = ["skopeo", "--insecure-policy", *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60).stdout


def test_inspect_by_tag_and_digest(server: ServerThread, content: Content, tmp_path: Path) -> None:
    name = f"docker://{server.address}/mirror/registry.k8s.io/pause"
    for target in (":3.9", f"@{content.index.digest}"):
        assert skopeo(tmp_path, "inspect", "--raw", "--tls-verify=false", name + target) == content.index.raw
    described = json.loads(skopeo(tmp_path, "inspect", "--tls-verify=false", f"{name}:3.9"))
    assert described["Architecture"] == "amd64"
    assert described["RepoTags"] == ["3.10", "3.9"]


def test_copy_of_an_index_with_all_platforms(server: ServerThread, content: Content, tmp_path: Path) -> None:
    source = f"docker://{server.address}/mirror/docker.io/library/nginx:latest"
    copying = ("copy", "--all", "--preserve-digests", "--src-tls-verify=false")
    skopeo(tmp_path, *copying, source, f"oci:{tmp_path}/layout:nginx")
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [content.index.digest]
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    for manifest in (content.index, content.amd64, content.arm64):
        assert (blobs / manifest.digest.hex).read_bytes() == manifest.raw
    for blob in (*content.amd64.blobs, *content.arm64.blobs):
        assert (blobs / blob.digest.hex).stat().st_size == blob.size


def test_copy_by_digest_of_a_docker_image(server: ServerThread, content: Content, tmp_path: Path) -> None:
    source = f"docker://{server.address}/mirror/quay.io/a/b@{content.docker.digest}"
    skopeo(tmp_path, "copy", "--preserve-digests", "--src-tls-verify=false", source, f"dir:{tmp_path}/image")
    assert (tmp_path / "image" / "manifest.json").read_bytes() == content.docker.raw
