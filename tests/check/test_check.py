"""Every way in which a site can differ from its lock, in a registry and in a store."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from isthmus.check import CheckResult, check, check_store
from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.lock import LockedReferrer, LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest, Manifest
from isthmus.registry import ConnectionOptions, Registry, connect
from isthmus.serve import serving
from isthmus.store import Store, StoredReference
from tests.serve.conftest import SIGNATURE, Content, fill, put_image

PAUSE = "registry.k8s.io/pause:3.10"
NGINX = "docker.io/library/nginx:latest"


def entry(name: str, manifest: Manifest, **more: object) -> LockEntry:
    return LockEntry("image", name, manifest.digest, manifest.media_type, manifest.size, **more)  # type: ignore[arg-type]


def lock_of(content: Content) -> list[LockEntry]:
    referrers = tuple(
        LockedReferrer(found.digest, found.media_type, found.artifact_type, found.size)
        for found in (content.signature, content.sbom)
    )
    return [
        entry(PAUSE, content.pause, referrers=referrers),
        entry(NGINX, content.index, platforms=("linux/amd64",)),
        entry(f"quay.io/a/b@{content.docker.digest}", content.docker),
        entry("localhost:5000/team/app:Edge", content.docker),
    ]


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return fill(tmp_path / "store")


@pytest.fixture
def registry(content: Content) -> Iterator[Registry]:
    options = ConnectionOptions(plain_http=True, retries=0)
    with serving(content.path, MirrorMap()) as address, connect(address, options) as registry:
        yield registry


def both(content: Content, registry: Registry, lock: list[LockEntry]) -> CheckResult:
    """What both checks say, which must be the same references in the same lists."""
    asked = check(lock, registry, MirrorMap(), 4, deep=True)
    with Store.open(content.path) as store:
        looked = check_store(lock, store)
    assert asked.present == looked.present
    assert {found.name for found in asked.missing} == {found.name for found in looked.missing}
    assert {found.name for found in asked.stale} == {found.name for found in looked.stale}
    return asked


def drop(content: Content, digest: Digest) -> None:
    with Store.open(content.path) as store:
        store.discard_blob(digest)


def test_a_whole_site(content: Content, registry: Registry) -> None:
    result = both(content, registry, lock_of(content))
    assert result == CheckResult(present=4)
    assert result.is_complete


def test_one_request_where_the_name_is_right(content: Content, registry: Registry) -> None:
    lock = [entry(PAUSE, content.pause), *(entry(f"a.io/x{n}:1", content.pause) for n in range(20))]
    with Store.open(content.path) as store:
        store.set_references(StoredReference(e.name, content.pause.descriptor()) for e in lock)
    registry.ping()
    before = registry.requests
    assert check(lock, registry, MirrorMap(), 4).present == 21
    assert registry.requests - before == 21 + 1  # and the question whether it is a registry


def test_missing_reference(content: Content, registry: Registry) -> None:
    elsewhere = entry(f"quay.io/a/b@{content.pause.digest}", content.pause)
    assert both(content, registry, [entry("quay.io/none:1", content.signature)]).present == 0
    assert [found.why for found in check([elsewhere], registry, MirrorMap()).missing] == ["it is not there"]
    result = check([entry("quay.io/none:1", content.pause)], registry, MirrorMap())
    assert [str(found) for found in result.missing] == ["quay.io/none:1: it is not there"]
    assert result.missing[0].inside == "mirror/quay.io/none"


def test_content_without_its_tag(content: Content, registry: Registry) -> None:
    lock = [entry("registry.k8s.io/pause:none", content.pause)]
    result = check(lock, registry, MirrorMap())
    assert [found.why for found in result.missing] == ["its content is there, but the tag none is not"]
    with Store.open(content.path) as store:
        assert [found.why for found in check_store(lock, store).missing] == [
            "its content is there, but the name is not"
        ]


def test_stale_tag(content: Content, registry: Registry) -> None:
    result = both(content, registry, [entry("registry.k8s.io/pause:3.9", content.pause)])
    assert result.missing == ()
    assert [found.why for found in result.stale] == [
        f"it points to {content.index.digest} instead of {content.pause.digest}"
    ]
    # What the lock says is not there either: both are said.
    with Store.create(content.path.parent / "other") as other:
        absent = put_image(other, [b"absent"])
    both_wrong = both(content, registry, [entry("registry.k8s.io/pause:3.9", absent)])
    assert [found.why for found in both_wrong.missing] == ["it is not there"]
    assert len(both_wrong.stale) == 1


def tag(content: Content, name: str, manifest: Manifest) -> None:
    with Store.open(content.path) as store:
        store.set_references([StoredReference(name, manifest.descriptor())])


def test_the_image_that_the_lock_lets_stand_in_for_its_index_is_present(
    content: Content, registry: Registry
) -> None:
    tag(content, NGINX, content.amd64)
    drop(content, content.index.digest)
    locked = entry(NGINX, content.index, platforms=("linux/amd64",), children=(content.amd64.digest,))
    before = registry.requests
    assert check([locked], registry, MirrorMap(), deep=False) == CheckResult(present=1)
    assert registry.requests - before == 2
    assert check([locked], registry, MirrorMap(), deep=True, rehash=True) == CheckResult(present=1)
    without = check([entry(NGINX, content.index, platforms=("linux/amd64",))], registry, MirrorMap())
    assert [found.why for found in without.stale] == [
        f"it points to {content.amd64.digest} instead of {content.index.digest}"
    ]
    known = {("mirror/docker.io/library/nginx", content.index.digest): content.amd64.digest}
    old = entry(NGINX, content.index, platforms=("linux/amd64",))
    assert check([old], registry, MirrorMap(), stand_ins=known) == CheckResult(present=1)
    layer = content.amd64.layers[1].digest
    drop(content, layer)
    lacking = check([locked], registry, MirrorMap(), deep=True)
    assert [(found.name, found.digest) for found in lacking.missing] == [(NGINX, layer)]


def test_another_image_of_the_same_platform_is_stale(content: Content, registry: Registry) -> None:
    with Store.open(content.path) as store:
        other = put_image(store, [b"another layer"], architecture="amd64", os="linux")
    tag(content, NGINX, other)
    locked = entry(NGINX, content.index, platforms=("linux/amd64",), children=(content.amd64.digest,))
    result = check([locked], registry, MirrorMap())
    assert result.present == 0
    assert [found.why for found in result.stale] == [
        f"it points to {other.digest} instead of {content.index.digest}"
    ]


def test_several_images_need_their_index(content: Content, registry: Registry) -> None:
    tag(content, NGINX, content.amd64)
    children = tuple(sorted((content.amd64.digest, content.arm64.digest)))
    assert len(check([entry(NGINX, content.index, children=children)], registry, MirrorMap()).stale) == 1


def test_a_reference_by_digest_needs_that(content: Content, registry: Registry) -> None:
    drop(content, content.index.digest)
    name = f"docker.io/library/nginx:latest@{content.index.digest}"
    locked = entry(name, content.index, platforms=("linux/amd64",), children=(content.amd64.digest,))
    assert [found.why for found in check([locked], registry, MirrorMap()).missing] == ["it is not there"]


def test_missing_child_counts_only_where_it_was_locked(content: Content, registry: Registry) -> None:
    drop(content, content.arm64.digest)
    assert both(content, registry, [entry(NGINX, content.index, platforms=("linux/amd64",))]).present == 1
    result = both(content, registry, [entry(NGINX, content.index)])
    assert [found.why for found in result.missing] == [
        f"its part {content.arm64.digest} (linux/arm64) is not there"
    ]
    shallow = check([entry(NGINX, content.index)], registry, MirrorMap())
    assert shallow.missing == result.missing


def test_missing_blob(content: Content, registry: Registry) -> None:
    layer = content.amd64.layers[1].digest
    drop(content, layer)
    result = both(content, registry, lock_of(content))
    assert [(found.name, found.digest) for found in result.missing] == [(NGINX, layer)]
    assert result.present == 3


def test_missing_referrer(content: Content, registry: Registry) -> None:
    drop(content, content.signature.digest)
    result = both(content, registry, lock_of(content))
    assert [found.why for found in result.missing] == [
        f"its referrer {content.signature.digest} ({SIGNATURE}) is not there"
    ]


def test_damaged_manifest(content: Content, registry: Registry) -> None:
    with Store.open(content.path) as store:
        path = store.blob_path(content.docker.digest)
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
        result = check_store(lock_of(content), store)
    assert {found.name for found in result.missing} == {
        f"quay.io/a/b@{content.docker.digest}",
        "localhost:5000/team/app:Edge",
    }
    assert all("damaged" in found.why for found in result.missing)


def test_entries_of_which_the_lock_does_not_say_the_name_are_not_passed_over(
    content: Content, registry: Registry
) -> None:
    lock = [LockEntry("file", "https://example.org/a.zip", content.pause.digest)]
    assert both(content, registry, lock).missing[0].why.startswith("the lock does not say what a file is called")


def test_findings_are_documents(content: Content, registry: Registry) -> None:
    result = check([entry("quay.io/none:1", content.pause)], registry, MirrorMap())
    assert msgspec.json.decode(msgspec.json.encode(result)) == {
        "present": 0,
        "missing": [
            {
                "name": "quay.io/none:1",
                "why": "it is not there",
                "digest": content.pause.digest,
                "inside": "mirror/quay.io/none",
            }
        ],
        "stale": [],
    }


def test_no_registry_is_not_a_list_of_missing_references(content: Content) -> None:
    with (
        connect("127.0.0.1:1", ConnectionOptions(plain_http=True, retries=0)) as nobody,
        pytest.raises(UnreachableError) as caught,
    ):
        check(lock_of(content), nobody, MirrorMap())
    assert caught.value.code == "unreachable"


def test_wrong_locks(content: Content, registry: Registry) -> None:
    with pytest.raises(UsageError) as caught:
        check([entry("NOT//a name", content.pause)], registry, MirrorMap())
    assert caught.value.code == "invalid-lock"
    colliding = [entry("a.io/x/y:1", content.pause), entry("b.io/x/y:1", content.pause)]
    with pytest.raises(UsageError) as caught:
        check(colliding, registry, MirrorMap("flat", ""))
    assert caught.value.code == "mapping-collision"


def test_empty_lock(content: Content, registry: Registry) -> None:
    assert check([], registry, MirrorMap()) == CheckResult(present=0)
