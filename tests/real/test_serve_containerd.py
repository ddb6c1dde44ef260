"""containerd on a node that has only the site: `ctr` pulls from `serve --writable`, pushes, pulls that again."""

import sys
from pathlib import Path

import pytest

from bench.images import BuiltImage
from tests.real.containerd import Containerd
from tests.real.netns import SITE_ADDRESS, ClosedNetwork
from tests.real.programs import Program
from tests.real.skopeo import Skopeo

pytestmark = [pytest.mark.real, pytest.mark.root]

SITE = f"{SITE_ADDRESS}:5000"


def test_ctr_pulls_and_pushes(
    tmp_path: Path,
    skopeo: Skopeo,
    network_namespace: ClosedNetwork,
    containerd_in_namespace: Containerd,
    real_images: list[BuiltImage],
) -> None:
    busybox = next(
        image for image in real_images if image.name.endswith("library/busybox") and image.generation == "v1"
    )
    store = tmp_path / "store"
    skopeo.copy(f"oci:{busybox.layout}:{busybox.ref}", f"oci:{store}:{busybox.reference}")
    command = [sys.executable, "-m", "isthmus", "serve", "--store", str(store), "--listen", SITE, "--writable"]
    server = Program(command, tmp_path / "serve.log", network_namespace.site.enter)
    try:
        server.wait_until(lambda: "Ctrl-C" in (tmp_path / "serve.log").read_text() or None)
        ctr = containerd_in_namespace
        carried, own = f"{SITE}/mirror/{busybox.reference}", f"{SITE}/team/own:1"
        ctr.ctr("images", "pull", "--plain-http", carried)
        assert ctr.image_digest(carried) == busybox.digest
        ctr.ctr("images", "tag", carried, own)
        ctr.ctr("images", "push", "--plain-http", own)
        ctr.remove(carried)
        ctr.remove(own)
        ctr.ctr("images", "pull", "--plain-http", own)
        assert ctr.image_digest(own) == busybox.digest
        assert ctr.run(own, ["/bin/sh", "-c", "echo pulled"]) == "pulled\n"
    finally:
        print((tmp_path / "serve.log").read_text())
        server.stop()
