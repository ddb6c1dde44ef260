"""Cosign's tags: locked as entries of their own, carried, named in the store, served and pushed by their tags."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.demo.images import name_it, put_artifact
from isthmus.errors import IsthmusError, UnreachableError
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Ref
from isthmus.oci import Descriptor, Digest, Manifest, Reference
from isthmus.registry import ConnectionOptions, connect
from isthmus.serve import serving
from isthmus.store import Store
from isthmus.transfer import Upstreams, pull, resolve
from isthmus.transfer.attached import find_attached
from tests.transfer.images import API, WEB, fill

LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"


def tag(manifest: Manifest, suffix: str) -> str:
    return f"sha256-{manifest.digest.hex}.{suffix}"


def attach(store: Store, about: str, to: Manifest, suffix: str) -> Manifest:
    repository = about.rpartition(":")[0]
    made = put_artifact(store, repository, "", {LAYER: f"{suffix} of {to.digest}".encode()})
    name_it(store, f"{repository}:{tag(to, suffix)}", made)
    return made


@pytest.fixture
def signed(tmp_path: Path) -> dict[str, Manifest]:
    """Signed: an image; an index, one of its children, and the SBOM of that child."""
    manifests = fill(tmp_path / "upstream")
    with Store.open(tmp_path / "upstream") as store:
        child = store.manifest_by_digest(manifests[API].manifests[0].digest)
        manifests["web.sig"] = attach(store, WEB, manifests[WEB], "sig")
        manifests["api.sig"] = attach(store, API, manifests[API], "sig")
        manifests["child.sbom"] = attach(store, API, child, "sbom")
        manifests["sbom.sig"] = attach(store, API, manifests["child.sbom"], "sig")
    return manifests


@pytest.fixture
def upstreams(tmp_path: Path, signed: dict[str, Manifest]) -> Iterator[Upstreams]:
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        substitutes = {host: f"http://{address}/{host}" for host in ("docker.io", "quay.io")}
        with Upstreams(ConnectionOptions(retries=0), substitutes) as registries:
            yield registries


def test_everything_attached_is_locked_under_its_tag(upstreams: Upstreams, signed: dict[str, Manifest]) -> None:
    resolution = resolve([Ref(kind="image", name=name) for name in (WEB, API)], upstreams)
    assert resolution.failures == ()
    attached = {entry.name: entry for entry in resolution.entries if entry.kind == "artifact"}
    expected = {
        f"docker.io/library/web:{tag(signed[WEB], 'sig')}": (signed["web.sig"], f"signature of {WEB}"),
        f"quay.io/team/api:{tag(signed[API], 'sig')}": (signed["api.sig"], f"signature of {API}"),
    }
    child = signed[API].manifests[0].digest
    sbom = f"quay.io/team/api:sha256-{child.hex}.sbom"
    expected[sbom] = (signed["child.sbom"], f"SBOM of {API}")
    expected[f"quay.io/team/api:{tag(signed['child.sbom'], 'sig')}"] = (signed["sbom.sig"], f"signature of {sbom}")
    assert {name: (entry.digest, entry.evidence) for name, entry in attached.items()} == {
        name: (manifest.digest, (evidence,)) for name, (manifest, evidence) in expected.items()
    }
    assert [entry.key for entry in resolution.entries] == sorted(entry.key for entry in resolution.entries)


def test_two_names_of_one_image_share_what_is_attached(
    tmp_path: Path, upstreams: Upstreams, signed: dict[str, Manifest]
) -> None:
    with Store.open(tmp_path / "upstream") as store:
        name_it(store, "docker.io/library/web:latest", signed[WEB])
    names = (WEB, "docker.io/library/web:latest", f"docker.io/library/web:{tag(signed[WEB], 'sig')}")
    resolution = resolve([Ref(kind="image", name=name) for name in names], upstreams)
    assert sorted(entry.name for entry in resolution.entries) == sorted(names)
    (signature,) = [entry for entry in resolution.entries if entry.digest == signed["web.sig"].digest]
    assert set(signature.evidence) >= {f"signature of {WEB}", "signature of docker.io/library/web:latest"}


def test_what_is_attached_is_carried_and_served_by_its_tag(
    tmp_path: Path, upstreams: Upstreams, signed: dict[str, Manifest]
) -> None:
    entries = resolve([Ref(kind="image", name=name) for name in (WEB, API)], upstreams).entries
    with Store.create(tmp_path / "store") as store:
        pull(entries, store, upstreams)
        assert {one.name for one in store.references()} == {entry.name for entry in entries}
    with serving(tmp_path / "store", MirrorMap()) as address:
        registry = connect(address, ConnectionOptions(retries=0))
        try:
            found = registry.manifest("mirror/docker.io/library/web", tag(signed[WEB], "sig"))
            assert found.raw == signed["web.sig"].raw
        finally:
            registry.close()


class Broken:
    """A source that fails for every tag."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.asked: list[str] = []

    def manifest(self, repository: str, target: str) -> Manifest:
        self.asked.append(target)
        raise UnreachableError(self.code, "no")

    def open_blob(self, repository: str, blob: Descriptor, offset: int = 0) -> None:
        raise AssertionError

    def referrers(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        raise AssertionError


def test_a_tag_that_is_not_there_is_no_error_and_trouble_is() -> None:
    reference, digests = Reference.parse("a.io/b/c:1"), [Digest.of(b"x"), Digest.of(b"y", "sha512")]
    absent = Broken("not-found")
    assert find_attached(absent, reference, digests) == []  # type: ignore[arg-type]
    assert len(absent.asked) == 3
    with pytest.raises(IsthmusError):
        find_attached(Broken("unreachable"), reference, digests)  # type: ignore[arg-type]
