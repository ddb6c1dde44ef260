"""Images that the real cosign signed cross, and `unpack` asks for those signatures; what is forged is refused.

cosign is built from its Go module, pinned, once a machine, as the conformance suite is; without that, one that is
installed is taken. Skipped without Go.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import parse_manifest
from isthmus.registry import connect
from isthmus.serve import Listen, serving
from isthmus.store import Store
from tests.bundle.conftest import put_image, put_index
from tests.real import programs

MODULE = "github.com/sigstore/cosign/v3/cmd/cosign"
VERSION = "v3.1.3"
BUILD_SECONDS = 150  # a big module; what a run did not finish, Go keeps for the next

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="session")
def binary() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = caches / "isthmus-tests" / f"cosign-{VERSION}"
    found = place / "bin" / "cosign"
    if found.exists():
        return found
    if installed := shutil.which("cosign"):
        return Path(installed)
    programs.require("go")
    environment = os.environ | {
        "GOPATH": str(place / "go"),
        "GOBIN": str(found.parent),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
    }
    command = ["go", "install", "-ldflags=-s -w", f"{MODULE}@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"cosign was not built within {BUILD_SECONDS} seconds; the next run goes on")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cosign cannot be built: {error.stderr.strip().splitlines()[-1]}")
    return found


@dataclass
class World:
    """A registry with three images, and cosign."""

    binary: Path
    place: Path
    address: str
    digests: dict[str, str]

    def cosign(self, *arguments: str, experimental: bool = False) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.place), "COSIGN_PASSWORD": ""}
        environment |= {"COSIGN_EXPERIMENTAL": "1"} if experimental else {}
        done = subprocess.run(
            [self.binary, *arguments], check=False, capture_output=True, text=True, env=environment,
            cwd=self.place, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, name: str) -> Path:
        self.cosign("generate-key-pair", "--output-key-prefix", name)
        return self.place / f"{name}.pub"

    def name(self, image: str) -> str:
        return f"{self.address}/mirror/{self.repository(image)}"

    def repository(self, image: str) -> str:
        return f"registry.example/team/{image}"

    def sign(self, image: str, key: Path, *, bundle: bool, digest: str = "") -> None:
        where = f"{self.name(image)}@{digest or self.digests[image]}"
        self.cosign("sign", *self.common(key, bundle=bundle), where)

    def attest(self, image: str, key: Path, *, bundle: bool) -> None:
        predicate = self.place / "predicate.json"
        predicate.write_text(json.dumps({"spdxVersion": "SPDX-2.3", "name": image, "packages": []}))
        common = self.common(key, bundle=bundle)
        where = f"{self.name(image)}@{self.digests[image]}"
        self.cosign("attest", *common, "--type", "spdxjson", "--predicate", str(predicate), where)

    def common(self, key: Path, *, bundle: bool) -> list[str]:
        return [
            f"--key={key.with_suffix('.key')}", "--use-signing-config=false", "--tlog-upload=false", "--yes",
            "--allow-http-registry", f"--new-bundle-format={'true' if bundle else 'false'}",
        ]  # fmt: skip

    def packed(self) -> Path:
        """Everything as the commands carry it: lock, pull, pack."""
        images = self.place / "images.txt"
        images.write_text("".join(f"{self.name(image)}:1\n" for image in self.digests))
        work = ["--workspace", str(self.place / "work"), "-q"]
        lock = str(self.place / "isthmus.lock")
        assert run(["lock", f"images:{images}", "--out", lock, *work]) == 0
        assert run(["pull", "--lock", lock, *work]) == 0
        out = self.place / "bundle"
        assert run(["pack", "--no-tool", "--lock", lock, "--out", str(out), *work]) == 0
        return out

    def unpack(self, out: Path, *options: str) -> int:
        return run(["unpack", str(out), "--store", str(self.place / "site"), "-q", *options])


@pytest.fixture
def world(binary: Path, tmp_path: Path) -> Iterator[World]:
    digests = {}
    with Store.create(tmp_path / "upstream") as store:
        for image in ("one", "two"):
            manifest = put_image(store, f"registry.example/team/{image}", "1", [f"layer of {image}".encode()])
            digests[image] = str(manifest.digest)
        child = put_image(store, "registry.example/team/many", "", [b"amd64"])
        many = put_index(store, "registry.example/team/many", "1", [(child, "linux/amd64")])
    place = tmp_path / "work"
    place.mkdir()
    with serving(tmp_path / "upstream", MirrorMap(), Listen(writable=True)) as address:
        yield World(binary, place, address, digests | {"many": str(many.digest)})


@pytest.mark.parametrize("bundle", [True, False], ids=["sigstore-bundle", "simple-signing"])
def test_signed_images_are_taken_and_others_named(
    world: World, bundle: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    key, other = world.key("cosign"), world.key("other")
    for image in ("one", "many"):
        world.sign(image, key, bundle=bundle)
    world.sign("two", other, bundle=bundle)
    world.attest("one", key, bundle=bundle)
    out = world.packed()
    capsys.readouterr()
    assert world.unpack(out, "--require-signed-by", str(key)) == 4
    said = capsys.readouterr().err
    assert "image-unsigned" in said
    assert f"{world.name('two')}:1: it has signatures, but none by {key}" in said
    assert "team/one" not in said
    assert "team/many" not in said
    assert not (world.place / "site").exists()
    attested = ["--require-signed-by", f"{key}=*/one", "--require-attestation", "spdxjson=*/one"]
    assert world.unpack(out, *attested, "--require-attestation", "vuln=*/one") == 4
    assert world.unpack(out, *attested, "--require-attestation", "spdx=*/many") == 4
    each = ["--require-signed-by", f"{key}=*/many", "--require-signed-by", f"{other}=*/two"]
    assert world.unpack(out, *each, *attested) == 0


@pytest.mark.parametrize("bundle", [True, False], ids=["sigstore-bundle", "simple-signing"])
def test_a_signature_of_another_image_does_not_count(world: World, bundle: bool) -> None:
    """The signature of `one` is put where that of `two` should be."""
    key = world.key("cosign")
    world.sign("one", key, bundle=bundle)
    with Store.open(world.place.parent / "upstream") as store:
        moved = _signature(store, world, "one", bundle=bundle)
        if bundle:
            document = json.loads(moved)
            subject = store.manifest(world.repository("two"), "1")
            document["subject"] |= {"digest": str(subject.digest), "size": subject.size}
            moved = json.dumps(document).encode()
    _put(world, "two", moved, bundle=bundle)
    out = world.packed()
    assert world.unpack(out, "--require-signed-by", f"{key}=*/one") == 0
    assert world.unpack(out, "--require-signed-by", f"{key}=*/two") == 4


def _signature(store: Store, world: World, image: str, *, bundle: bool) -> bytes:
    digest = store.manifest(world.repository(image), "1").digest
    if bundle:
        return store.manifest_by_digest(store.referrers(world.repository(image), digest)[0].digest).raw
    return store.manifest(world.repository(image), f"sha256-{digest.hex}.sig").raw


def _put(world: World, image: str, raw: bytes, *, bundle: bool) -> None:
    tag = "" if bundle else f"{world.digests[image].replace(':', '-')}.sig"
    with closing(connect(world.address)) as registry:
        manifest = parse_manifest(raw)
        for blob in manifest.blobs:
            assert registry.mount_blob(
                f"mirror/{world.repository(image)}", blob, f"mirror/{world.repository('one')}"
            )
        registry.put_manifest(f"mirror/{world.repository(image)}", manifest, tag)


def test_simple_signing_in_referrers(world: World) -> None:
    """The form in between: cosign 2 with `--registry-referrers-mode=oci-1-1`."""
    key = world.key("cosign")
    common = world.common(key, bundle=False)
    for image in ("one", "many"):
        where = f"{world.name(image)}@{world.digests[image]}"
        world.cosign("sign", *common, "--registry-referrers-mode=oci-1-1", where, experimental=True)
    with Store.open(world.place.parent / "upstream") as store:
        digest = store.manifest(world.repository("one"), "1").digest
        (referrer,) = store.referrers(world.repository("one"), digest)
        assert referrer.artifact_type == "application/vnd.dev.cosign.artifact.sig.v1+json"
    out = world.packed()
    assert world.unpack(out, "--require-signed-by", f"{key}=*/two") == 4
    assert world.unpack(out, "--require-signed-by", f"{key}=*/one", "--require-signed-by", f"{key}=*/many") == 0
