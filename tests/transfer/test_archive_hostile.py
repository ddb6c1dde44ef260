"""Archives that are damaged or made to harm: our errors and nothing else, nothing written, no hang."""

import contextlib
import gzip
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import IsthmusError, UsageError
from isthmus.store import Store
from isthmus.transfer.archive import bring, opening, tar
from tests.transfer.archives import Files, config_of, layers, old_docker, pack, skopeo

NAME = "registry.k8s.io/pause:3.10"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store") as held:
        yield held


def refused(store: Store, path: Path, data: bytes) -> IsthmusError:
    path.write_bytes(data)
    before = sorted(store.path.rglob("blobs/*/*"))
    with pytest.raises(IsthmusError) as caught:
        bring([path], store)
    assert store.references() == ()
    assert sorted(store.path.rglob("blobs/*/*")) == before
    return caught.value


def archive(**changed: bytes | tuple[str, bytes] | None) -> bytes:
    files = skopeo(NAME, layers())
    for name, content in changed.items():
        if content is None:
            files.pop(name, None)
        else:
            files[name] = content
    return pack(files)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/cron.d/x", "blobs/sha256/../../x"])
def test_names_that_lead_out_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    error = refused(store, tmp_path / "a.tar", archive(**{name: b"x"}))
    assert (error.code, error.status) == ("invalid-input", 2)
    assert "leads out" in error.message


@pytest.mark.parametrize("key", ["Config", "Layers"])
def test_paths_in_manifest_json_that_lead_out_are_refused(store: Store, tmp_path: Path, key: str) -> None:
    files = skopeo(NAME, layers())
    document = json.loads(files["manifest.json"])  # type: ignore[arg-type]
    document[0][key] = ["../../etc/shadow", "x"] if key == "Layers" else "../../etc/shadow"
    files["manifest.json"] = json.dumps(document).encode()
    assert "leads out" in refused(store, tmp_path / "a.tar", pack(files)).message


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_not_followed(store: Store, tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(config_of(layers()))
    files = skopeo(NAME, layers())
    config = json.loads(files["manifest.json"])[0]["Config"]  # type: ignore[arg-type]
    files[config] = (str(secret), kind)
    assert refused(store, tmp_path / "a.tar", pack(files)).code == "missing-content"
    assert refused(store, tmp_path / "a.tar", archive(**{"manifest.json": (str(secret), kind)})).status == 2


def test_one_name_twice_is_refused(store: Store, tmp_path: Path) -> None:
    first = archive()
    while first.endswith(bytes(512)):
        first = first[:-512]
    assert "twice" in refused(store, tmp_path / "a.tar", first + pack({"manifest.json": b"[]"})).message


def test_one_image_name_for_two_images_is_refused(store: Store, tmp_path: Path) -> None:
    files = old_docker({"a:1": layers(1), "b:1": layers(2)})
    files["manifest.json"] = files["manifest.json"].replace(b'"b:1"', b'"a:1"')  # type: ignore[union-attr]
    assert "two images" in refused(store, tmp_path / "a.tar", pack(files)).message


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[",
        b"{}",
        b"[null]",
        b'[{"Config":1}]',
        b'[{"Config":"none"}]',
        b"[" * 100_000,
        b'[{"Config":"x","Layers":"y"}]',
        "[\ud800]".encode("utf-8", "surrogatepass"),
    ],
)
def test_documents_that_are_none(store: Store, tmp_path: Path, document: bytes) -> None:
    refused(store, tmp_path / "a.tar", archive(**{"manifest.json": document}))


@pytest.mark.parametrize("config", [b"{}", b'{"rootfs":{"diff_ids":["x"]}}', b'{"rootfs":{}}', b"[]", b"\xff{"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_configs_that_are_none(
    store: Store, tmp_path: Path, config: bytes, wrap: Callable[[bytes], bytes]
) -> None:
    files = skopeo(NAME, layers())
    path = json.loads(files["manifest.json"])[0]["Config"]  # type: ignore[arg-type]
    files[path] = config
    refused(store, tmp_path / "a.tar", wrap(pack(files)))


def test_no_image_at_all(store: Store, tmp_path: Path) -> None:
    error = refused(store, tmp_path / "a.tar", pack({"readme": b"hello"}))
    assert "neither manifest.json nor index.json" in error.message
    assert "docker save" in error.hint


@pytest.mark.parametrize(
    "data", [b"", b"hello", bytes(10240), b"x" * 5000, b"\x1f\x8b", b"PK\x03\x04" + bytes(600)]
)
def test_files_that_are_no_tar(store: Store, tmp_path: Path, data: bytes) -> None:
    refused(store, tmp_path / "a.tar", data)


@pytest.mark.parametrize("magic", [b"BZh9", b"\xfd7zXZ\x00"])
def test_other_compressions_are_named(store: Store, tmp_path: Path, magic: bytes) -> None:
    error = refused(store, tmp_path / "a.tar", magic + bytes(100))
    assert "compressed with" in error.message


@pytest.mark.parametrize("cut", [1, 511, 600, 30_000, 60_000])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_truncated(store: Store, tmp_path: Path, cut: int, wrap: Callable[[bytes], bytes]) -> None:
    refused(store, tmp_path / "a.tar", wrap(archive())[:cut])


def test_what_is_not_a_file(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, code in ((tmp_path, "invalid-input"), (tmp_path / "pipe", "invalid-input"), (tmp_path / "n", "")):
        with pytest.raises(UsageError) as caught:
            bring([path], store)
        assert caught.value.code == (code or "file-not-found")


def header(name: str = "x", size: bytes = b"0" * 11 + b"\0", kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (header(size=b"\x80" + bytes(2) + b"\xff" * 9), "size"),
        (header(size=b"\xff" * 12), "size"),
        (header(size=b"9z"), "size"),
        (header(size=b"77777777777"), "middle"),
        (header(kind=b"x", size=b"77777777777"), "header in it has"),
        (header(kind=b"L", size=b"00010000001"), "header in it has"),
        (header(kind=b"x", size=b"10") + b"5 a=".ljust(512, b"\0"), "extended header"),
        (header(kind=b"x", size=b"14") + b"12 size=-10\n".ljust(512, b"\0") + header(), "size"),
        (header(kind=b"S"), "sparse"),
        (header(kind=b"L", size=b"10"), "middle"),
    ],
)
def test_headers_that_lie(store: Store, tmp_path: Path, block: bytes, why: str) -> None:
    assert why in refused(store, tmp_path / "a.tar", block).message


def test_a_bomb_ends_early(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_FREE_ALLOWANCE", 1 << 20)
    monkeypatch.setattr(opening, "MAX_RATIO", 10)
    size = 50 << 20
    data = gzip.compress(header(size=f"{size:011o}".encode()) + bytes(size), 1)
    assert "times its size" in refused(store, tmp_path / "a.tar", data).message


def test_many_members_end_early(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_MEMBERS", 100)
    many: Files = {f"file{number}": b"" for number in range(101)}
    assert "members" in refused(store, tmp_path / "a.tar", pack(many)).message


def test_long_and_large_names_and_sizes_of_other_writers(tmp_path: Path) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as held:
            for name in ("a" * 300, "ä/" * 80 + "x", "./plain", "d/" * 45 + "ustar"):
                member = tarfile.TarInfo(name)
                member.size = 5
                held.addfile(member, io.BytesIO(b"12345"))
        (tmp_path / "a.tar").write_bytes(out.getvalue())
        file = opening.ArchiveFile(tmp_path / "a.tar")
        with file.stream() as stream:
            members = list(tar.read_members(stream, "a"))
        assert [m.name for m in members] == ["a" * 300, "ä/" * 80 + "x", "plain", "d/" * 45 + "ustar"]
        assert {file.read_at(m.offset, m.size) for m in members} == {b"12345"}
        file.close()


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_gives_our_errors_or_the_right_content(
    tmp_path: Path, wrap: Callable[[bytes], bytes], data: st.DataObject
) -> None:
    whole = bytearray(wrap(pack(old_docker({NAME: layers(2, 2000)}))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    (tmp_path / "a.tar").write_bytes(whole)
    started = time.monotonic()
    with Store.create(tmp_path / "store") as store:
        with contextlib.suppress(IsthmusError):
            bring([tmp_path / "a.tar"], store)
        assert list(store.scrub()) == []
        for stored in store.references():
            assert store.manifest_by_digest(stored.descriptor.digest).config is not None
    assert time.monotonic() - started < 30
