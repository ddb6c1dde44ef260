"""Against Debian's docker-registry (Distribution 2.8): plain, with passwords, and with TLS."""

import contextlib
import random
import threading
from pathlib import Path

import pytest

from isthmus.errors import UnreachableError, VerificationError
from isthmus.oci import Descriptor, Sink, Source
from isthmus.registry import ConnectionOptions, Credential, FixedCredentials, Registry, connect
from tests.real.docker_registry import DockerRegistry, Tls
from tests.registry.conftest import StartRegistry
from tests.registry.samples import EMPTY, blob, fill, image, index, options, read, write

pytestmark = pytest.mark.real
MIB = 1 << 20
LAYER = random.Random(4).randbytes(3 * MIB + 17)


def _push(registry: Registry, repository: str, tag: str, *layers: bytes) -> None:
    for data in (EMPTY, *layers):
        if not registry.has_blob(repository, blob(data)):
            write(registry.write_blob(repository, blob(data)), data)
    registry.put_manifest(repository, image(*layers), tag)


@pytest.mark.parametrize("chunk", [0, MIB])
def test_there_and_back(debian_registry: DockerRegistry, chunk: int) -> None:
    repository = f"there/and-back-{chunk}"
    with connect(debian_registry.address, options(upload_chunk=chunk)) as registry:
        registry.ping()
        _push(registry, repository, "v1", LAYER, b"")
        children = index(image(LAYER, b""))
        registry.put_manifest(repository, children, "all")
        assert registry.manifest(repository, "v1").raw == image(LAYER, b"").raw
        assert registry.manifest(repository, children.digest).raw == children.raw
        assert registry.manifest_digest(repository, "v1") == image(LAYER, b"").descriptor()
        assert registry.manifest_digest(repository, "none") is None
        assert registry.has_manifest(repository, children.digest)
        assert set(registry.tags(repository)) == {"all", "v1"}
        assert repository in registry.catalog()
        for offset in (0, 1, MIB, len(LAYER) - 1, len(LAYER)):
            assert read(registry.open_blob(repository, blob(LAYER), offset)) == LAYER[offset:]


def test_as_source_and_sink(debian_registry: DockerRegistry) -> None:
    with connect(debian_registry.address, options()) as registry:
        both: list[tuple[Source, Sink]] = [(registry, registry)]  # the type checker is the test
    assert both


def test_an_upstream_with_a_prefix(debian_registry: DockerRegistry) -> None:
    with (
        connect(debian_registry.address, options()) as registry,
        connect("registry.k8s.io", options(), f"{debian_registry.url}/registry.k8s.io") as upstream,
    ):
        _push(registry, "registry.k8s.io/pause", "3.10", LAYER)
        assert upstream.manifest("pause", "3.10").raw == image(LAYER).raw
        assert upstream.tags("pause") == ("3.10",)
        assert "pause" in upstream.catalog()
        assert read(upstream.open_blob("pause", blob(LAYER))) == LAYER


def test_mounting_moves_no_bytes(debian_registry: DockerRegistry) -> None:
    data = LAYER[:-1]
    with connect(debian_registry.address, options()) as registry:
        assert not registry.mount_blob("mount/to", blob(data), "mount/nowhere")
        write(registry.write_blob("mount/from", blob(data)), data)
        assert registry.mount_blob("mount/to", blob(data), "mount/from")
        assert registry.has_blob("mount/to", blob(data))


def test_many_tags_in_pages(debian_registry: DockerRegistry) -> None:
    with connect(debian_registry.address, options()) as registry:
        _push(registry, "many/tags", "t0", b"x")
        tags = {f"t{number}" for number in range(30)}
        for tag in tags:
            registry.put_manifest("many/tags", image(b"x"), tag)
        assert set(registry.tags("many/tags")) == tags


def test_referrers_by_tag(debian_registry: DockerRegistry) -> None:
    subject = image(b"subject")
    signature = image(b"signature", subject=subject, artifact_type="application/x-signature", note="mine")
    with connect(debian_registry.address, options()) as registry:
        _push(registry, "signed", "v1", b"subject")
        write(registry.write_blob("signed", blob(b"signature")), b"signature")
        assert registry.referrers("signed", subject.digest) == ()
        for _ in range(2):
            registry.put_manifest("signed", signature)
        (found,) = registry.referrers("signed", subject.digest)
    assert found == signature.descriptor()
    assert (found.artifact_type, found.annotations) == ("application/x-signature", {"note": "mine"})


def test_an_interrupted_upload_goes_on_where_the_registry_stands(debian_registry: DockerRegistry) -> None:
    data = random.Random(5).randbytes(4 * MIB)
    with connect(debian_registry.address, options(upload_chunk=MIB)) as registry:
        with registry.write_blob("resume", blob(data)) as writer:
            fill(writer, data[: 2 * MIB])
        with registry.write_blob("resume", blob(data)) as writer:
            assert writer.offset == 2 * MIB
            fill(writer, data[writer.offset :])
            writer.commit()
        assert read(registry.open_blob("resume", blob(data))) == data


def test_an_upload_broken_inside_a_chunk_ends_well(debian_registry: DockerRegistry) -> None:
    data = random.Random(6).randbytes(4 * MIB)
    with connect(debian_registry.address, options(upload_chunk=MIB)) as registry:
        with registry.write_blob("broken", blob(data)) as writer:
            fill(writer, data[: MIB + 1000])
        # 2.8 keeps the part of the chunk, and gives the session up once it finds that out.
        for _ in range(3):
            with contextlib.suppress(UnreachableError), registry.write_blob("broken", blob(data)) as writer:
                assert writer.offset in (0, MIB)
                fill(writer, data[writer.offset :])
                writer.commit()
                break
        assert read(registry.open_blob("broken", blob(data))) == data


@pytest.mark.parametrize("chunk", [0, MIB])
def test_wrong_bytes_are_not_published(debian_registry: DockerRegistry, chunk: int) -> None:
    wanted = blob(random.Random(7).randbytes(2 * MIB))
    with connect(debian_registry.address, options(upload_chunk=chunk)) as registry:
        with pytest.raises(VerificationError) as caught:
            write(registry.write_blob("wrong", wanted), bytes(2 * MIB))
        assert caught.value.code == "digest-mismatch"
        assert not registry.has_blob("wrong", wanted)


def test_what_is_not_there(debian_registry: DockerRegistry) -> None:
    missing = blob(b"missing")
    with connect(debian_registry.address, options()) as registry:
        for ask in (
            lambda: registry.manifest("none", "v1"),
            lambda: registry.tags("none"),
            lambda: registry.open_blob("none", missing),
            lambda: registry.delete_manifest("none", missing.digest),
        ):
            with pytest.raises(UnreachableError) as caught:
                ask()
            assert caught.value.code == "not-found"
            assert "none" in caught.value.where
        assert not registry.has_blob("none", missing)
        assert not registry.has_manifest("none", missing.digest)


def test_a_manifest_whose_parts_are_missing_is_refused_with_the_registrys_words(
    debian_registry: DockerRegistry,
) -> None:
    with connect(debian_registry.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.put_manifest("incomplete", image(b"never pushed"), "v1")
    assert (caught.value.code, caught.value.http_status) == ("refused", 400)
    assert "BLOB_UNKNOWN" in caught.value.message


def test_deleting(debian_registry: DockerRegistry) -> None:
    with connect(debian_registry.address, options()) as registry:
        _push(registry, "delete", "v1", b"deleted")
        registry.delete_manifest("delete", image(b"deleted").digest)
        assert registry.manifest_digest("delete", "v1") is None
        registry.delete_blob("delete", blob(b"deleted"))
        assert not registry.has_blob("delete", blob(b"deleted"))


def test_threads_share_a_registry(debian_registry: DockerRegistry) -> None:
    layers = [random.Random(number).randbytes(MIB) for number in range(100, 112)]
    done: list[Descriptor] = []
    with connect(debian_registry.address, options(max_connections=3)) as registry:

        def there_and_back(data: bytes) -> None:
            write(registry.write_blob("threads", blob(data)), data)
            if read(registry.open_blob("threads", blob(data))) == data:
                done.append(blob(data))

        threads = [threading.Thread(target=there_and_back, args=(data,)) for data in layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == len(layers)


@pytest.fixture(scope="module")
def guarded(start_registry: StartRegistry) -> DockerRegistry:
    return start_registry(users={"user": "hush-hush"})


def _as(password: str | None) -> ConnectionOptions:
    credential = None if password is None else Credential(username="user", password=password)
    return options(credentials=FixedCredentials(credential))


def test_passwords(guarded: DockerRegistry) -> None:
    with connect(guarded.address, _as("hush-hush")) as registry:
        _push(registry, "guarded", "v1", LAYER)
        assert registry.manifest("guarded", "v1").raw == image(LAYER).raw
    for password in (None, "hush-wrong"):
        with connect(guarded.address, _as(password)) as registry, pytest.raises(UnreachableError) as caught:
            registry.manifest("guarded", "v1")
        assert (caught.value.code, caught.value.http_status) == ("unauthorized", 401)
        assert "hush" not in str(caught.value.as_document())


def test_passwords_from_docker_configuration(
    guarded: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(
        f'{{"auths": {{"http://{guarded.address}/v2/": {{"username": "user", "password": "hush-hush"}}}}}}'
    )
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with connect(guarded.address) as registry:
        registry.ping()


def test_tls(start_registry: StartRegistry, certificate_files: tuple[Path, Path], ca_file: Path) -> None:
    server = start_registry(tls=Tls(*certificate_files))
    with connect(server.address, options(ca_file=ca_file)) as registry:
        _push(registry, "tls", "v1", LAYER)
        assert read(registry.open_blob("tls", blob(LAYER))) == LAYER
    with connect(server.address, options()) as registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert caught.value.code == "tls-failed"
    with connect(server.address, options(insecure=True)) as registry:
        assert registry.manifest("tls", "v1").raw == image(LAYER).raw
    with connect("x", options(retries=0), f"http://{server.address}") as registry, pytest.raises(UnreachableError):
        registry.ping()
