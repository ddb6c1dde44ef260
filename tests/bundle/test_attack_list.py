"""The list of attacks, each tried with the commands: the exit status, and that nothing is written beyond staging.

How each is found is tested where it is found: test_forgeries, test_attacks, test_policy, test_damage.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import KeyPaths, load_private_key, open_volume, pack, plan_bundle
from isthmus.bundle.layout import HEADER_SIZE, RECORD_HEADER_SIZE, Kind, pack_header, pack_record, parse_header
from isthmus.bundle.manifest import Blob
from isthmus.cli.main import main
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, put_image

Attack = Callable[["Scene"], list[Path]]
ATTACKS: dict[str, tuple[Attack, set[int], set[str]]] = {}


class Scene:
    """Good volumes in a directory, another bundle by the same key, and a place for the site."""

    def __init__(self, place: Path, signed: Bundle, foreign: Bundle, keys: KeyPaths) -> None:
        self.place, self.signed, self.foreign, self.keys = place, signed, foreign, keys
        self.media = place / "media"
        shutil.copytree(signed.out, self.media)
        self.files = [self.media / path.name for path in signed.volumes]

    def spoil(self, number: int, change: Callable[[bytearray], object]) -> list[Path]:
        data = bytearray(self.files[number].read_bytes())
        change(data)
        self.files[number].write_bytes(data)
        return self.files

    def header(self, number: int, **change: Any) -> list[Path]:
        def changed(data: bytearray) -> None:
            data[:HEADER_SIZE] = pack_header(parse_header(bytes(data))._replace(**change))

        return self.spoil(number, changed)

    def record(self, number: int, **change: Any) -> list[Path]:
        """The first blob's record, with another header that is right in itself."""
        placed = list(open_volume(self.files[number]).records())[1].placed
        assert placed.header
        raw = pack_record(placed.header._replace(**change))
        return self.spoil(
            number,
            lambda data: data.__setitem__(slice(placed.position, placed.position + RECORD_HEADER_SIZE), raw),
        )


def attack(name: str, status: int | set[int], *codes: str) -> Callable[[Attack], Attack]:
    def note(function: Attack) -> Attack:
        ATTACKS[name] = function, status if isinstance(status, set) else {status}, set(codes)
        return function

    return note


@attack("volumes of two bundles by the same key are swapped", 4, "foreign-volume")
def swapped(scene: Scene) -> list[Path]:
    shutil.copy(scene.foreign.volumes[1], scene.files[1])
    return scene.files


@attack("the manifest is edited", 4, "damaged-volume")
def edited(scene: Scene) -> list[Path]:
    name = b"registry.example"
    for number in range(len(scene.files)):
        scene.spoil(
            number, lambda data: data.__setitem__(slice(None), bytes(data).replace(name, b"registry.exploit"))
        )
    return scene.files


@attack("the manifest is edited, and has its new digest in the header", 4, "damaged-volume", "bad-signature")
def edited_well(scene: Scene) -> list[Path]:
    import hashlib

    for number, path in enumerate(scene.files):
        data = path.read_bytes()
        size = parse_header(data).manifest_size
        start = HEADER_SIZE + RECORD_HEADER_SIZE
        raw = data[start : start + size].replace(b"registry.example", b"registry.exploit")
        digest = hashlib.sha256(raw).digest()
        scene.spoil(number, lambda d, raw=raw, start=start: d.__setitem__(slice(start, start + len(raw)), raw))  # type: ignore[misc]
        scene.header(number, bundle=digest)
    return scene.files


@attack("a name of an image leads elsewhere", {2, 4}, "invalid-reference", "damaged-volume", "bad-signature")
def traversal(scene: Scene) -> list[Path]:
    import msgspec

    from isthmus.bundle.fitting import fit

    manifest = scene.signed.plan.manifest
    first, *rest = manifest.references
    evil = msgspec.structs.replace(first, name="../../../../tmp/evil:1")
    plan = fit(msgspec.structs.replace(manifest, references=(evil, *rest)), None)
    with Store.open(scene.signed.source) as store:
        pack(plan, store, scene.place / "evil", load_private_key(scene.keys.private))
    return [scene.place / "evil"]


@attack("a volume is a device", 2, "invalid-input")
def device(scene: Scene) -> list[Path]:
    return [*scene.files, Path("/dev/zero")]


@attack("a volume is a pipe", 2, "invalid-input")
def pipe(scene: Scene) -> list[Path]:
    scene.files[1].unlink()
    os.mkfifo(scene.files[1])
    return [scene.media]


@attack("a volume is a link to a device", 2, "invalid-input")
def link_to_device(scene: Scene) -> list[Path]:
    scene.files[1].unlink()
    scene.files[1].symlink_to("/dev/zero")
    return [scene.media]


@attack("a volume is a link to nothing", 2, "file-not-found")
def dangling(scene: Scene) -> list[Path]:
    scene.files[1].unlink()
    scene.files[1].symlink_to(scene.place / "nowhere")
    return scene.files


@attack("a record would swell to a tebibyte", 4, "damaged-volume")
def swelling(scene: Scene) -> list[Path]:
    return scene.record(0, length=2**40, total=2**40)


@attack("a sparse file of a tebibyte says it is a volume", 4, "damaged-volume")
def sparse(scene: Scene) -> list[Path]:
    scene.header(0, size=2**40)
    os.truncate(scene.files[0], 2**40)
    return scene.files


@attack("a manifest of exbibytes", 4, "damaged-volume")
def large_manifest(scene: Scene) -> list[Path]:
    return scene.header(0, manifest_size=2**62)


@attack("four thousand million records", 4, "damaged-volume")
def many_records(scene: Scene) -> list[Path]:
    return scene.header(0, records=2**32 - 1)


@attack("four thousand million volumes", 4, "damaged-volume")
def many_volumes(scene: Scene) -> list[Path]:
    return scene.header(0, volumes=2**32 - 1)


@attack("a record is there twice", 4, "damaged-volume")
def twice(scene: Scene) -> list[Path]:
    placed = list(open_volume(scene.files[0]).records())[1].placed
    end = placed.position + RECORD_HEADER_SIZE + placed.length + 32
    return scene.spoil(0, lambda data: data.__setitem__(slice(end, end), data[placed.position : end]))


@attack("a record of one blob says it is another", 4, "damaged-volume")
def another_blob(scene: Scene) -> list[Path]:
    other: Blob = scene.signed.plan.manifest.blobs[-1]
    return scene.record(0, digest=other.digest, total=other.size)


@attack("a record says it is of another kind", 4, "damaged-volume")
def another_kind(scene: Scene) -> list[Path]:
    return scene.record(0, kind=Kind.PARITY)


@attack("another bundle's signature", 4, "bad-signature")
def stolen_signature(scene: Scene) -> list[Path]:
    stolen = open_volume(scene.foreign.volumes[0]).header.signatures
    for number in range(len(scene.files)):
        scene.header(number, signatures=stolen)
    return scene.files


@attack("no signature", 4, "unsigned", "bad-signature")
def no_signature(scene: Scene) -> list[Path]:
    for number in range(len(scene.files)):
        scene.header(number, signatures=())
    return scene.files


def isthmus(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert isinstance(ended.value.code, int)
    return ended.value.code, said


@pytest.mark.parametrize("name", ATTACKS)
def test_refused_before_anything_is_written(
    name: str, signed: Bundle, foreign: Bundle, keys: KeyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, statuses, codes = ATTACKS[name]
    (tmp_path / "site").mkdir()
    scene = Scene(tmp_path, signed, foreign, keys)
    files = make(scene)
    started = time.monotonic()
    status, said = isthmus(capsys, "unpack", *files, "--store", tmp_path / "site" / "store", "--key", keys.public)
    assert status in statuses, said
    assert said["error"]["code"] in codes, said
    assert time.monotonic() - started < 30, "nothing of that size may be read"
    left = {path.name for path in (tmp_path / "site").iterdir()}
    assert left <= {"store.incoming"}, "nothing but the staging area"
    status, said = isthmus(capsys, "verify", *files, "--key", keys.public)
    assert status in statuses or name == "a name of an image leads elsewhere", said


def test_an_older_bundle_is_not_taken_for_a_new_one(
    keys: KeyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.create(tmp_path / "source") as store:
        for sequence in (1, 2):
            put_image(store, "a.example/b", str(sequence), [str(sequence).encode() * 100])
            plan = plan_bundle(store, sequence=sequence)
            pack(plan, store, tmp_path / str(sequence), load_private_key(keys.private))
    site = tmp_path / "site"
    words = ["--store", site, "--key", keys.public]
    assert isthmus(capsys, "unpack", tmp_path / "2", *words)[0] == 0
    before = {name: found for name, found in everything(site).items() if not name.startswith("index.db")}
    status, said = isthmus(capsys, "unpack", tmp_path / "1", *words)
    assert (status, said["error"]["code"]) == (4, "older-bundle")
    assert {name: found for name, found in everything(site).items() if not name.startswith("index.db")} == before


def test_another_key_and_the_wrong_half(
    signed: Bundle, keys: KeyPaths, other_keys: KeyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, expected in ((other_keys.public, (4, "bad-signature")), (keys.private, (2, "invalid-key"))):
        status, said = isthmus(capsys, "unpack", signed.out, "--store", tmp_path / "site", "--key", key)
        assert (status, said["error"]["code"]) == expected
    assert not (tmp_path / "site").exists()
