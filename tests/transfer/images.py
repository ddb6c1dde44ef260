"""Small images for the tests of this room, built with the demo's own builder. Not a fixture file."""

from pathlib import Path

from isthmus.demo.images import AMD64, ARM64, filler, make_layer, name_it, put_artifact, put_image, put_index
from isthmus.oci import Manifest
from isthmus.store import Store

WEB = "docker.io/library/web:1"
API = "quay.io/team/api:2"
SHARED = "ghcr.io/team/shared:3"


def fill(path: Path, layer_size: int = 300_000) -> dict[str, Manifest]:
    """A store with an image, a multi-platform index and another image, all sharing a base layer; one is signed."""
    base = make_layer({"base": filler("base", layer_size)})
    with Store.create(path) as store:
        web = put_image(store, "docker.io/library/web", [base, make_layer({"web": filler("web", 1000)})])
        children = [
            (put_image(store, "quay.io/team/api", [base, make_layer({"a": filler(str(p), 2000)})], p), p)
            for p in (AMD64, ARM64)
        ]
        api = put_index(store, "quay.io/team/api", children)
        shared = put_image(store, "ghcr.io/team/shared", [base])
        for name, manifest in ((WEB, web), (API, api), (SHARED, shared)):
            name_it(store, name, manifest)
        signature = put_artifact(
            store,
            "docker.io/library/web",
            "application/vnd.test.signature",
            {"text/plain": b"signed"},
            subject=web,
        )
    return {WEB: web, API: api, SHARED: shared, "signature": signature}
