"""Volumes through a pipe, front to back; and a single volume written once more."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.bundle import (
    KeyPaths,
    load_private_key,
    load_public_key,
    pack_again,
    pack_stream,
    unpack_stream,
    verify_stream,
)
from isthmus.cli.pack import volume_bytes
from isthmus.errors import IncompleteError, IsthmusError, UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, tree


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(min(size, 7_001))


@pytest.fixture(scope="module")
def stream(signed: Bundle, keys: KeyPaths) -> bytes:
    out = io.BytesIO()
    with Store.open(signed.source) as store:
        result = pack_stream(signed.plan, store, out, load_private_key(keys.private))
    assert result == signed.result
    return out.getvalue()


def test_a_stream_is_the_volumes_one_after_the_other(stream: bytes, signed: Bundle) -> None:
    assert stream == b"".join(path.read_bytes() for path in signed.volumes)


@pytest.mark.parametrize("behind", [0, 1, 1000])
def test_a_stream_crosses(stream: bytes, signed: Bundle, keys: KeyPaths, tmp_path: Path, behind: int) -> None:
    """Also from a tape, which fills its last block up."""
    public = [load_public_key(keys.public)]
    found = verify_stream(Trickle(stream + bytes(behind)), public)  # type: ignore[arg-type]
    assert (found.complete, found.damaged, found.signed_by) == (True, (), keys.key_id)
    result = unpack_stream(Trickle(stream), tmp_path / "site", public)  # type: ignore[arg-type]
    assert (tree(tmp_path / "site"), result.signed_by) == (signed.tree, keys.key_id)
    assert not (tmp_path / "site.incoming").exists()


def test_any_order_and_the_rest_later(signed: Bundle, tmp_path: Path) -> None:
    volumes = [path.read_bytes() for path in signed.volumes]
    with pytest.raises(IncompleteError):
        unpack_stream(io.BytesIO(b"".join(reversed(volumes[2:]))), tmp_path / "site")
    assert not (tmp_path / "site").exists()
    unpack_stream(io.BytesIO(volumes[1] + volumes[0]), tmp_path / "site")
    assert tree(tmp_path / "site") == signed.tree


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_or_cut(stream: bytes, signed: Bundle, tmp_path: Path, data: st.DataObject) -> None:
    spoiled = bytearray(stream)
    start = data.draw(st.sampled_from(range(0, len(stream), 100_000)))
    place = data.draw(st.one_of(st.integers(0, len(stream) - 1), st.integers(start, start + 1300)))
    place = min(place, len(stream) - 1)
    if data.draw(st.booleans(), label="cut"):
        del spoiled[place:]
    else:
        spoiled[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    for run in (
        lambda: unpack_stream(io.BytesIO(spoiled), tmp_path / "site"),
        lambda: _complete(bytes(spoiled)),
    ):
        with pytest.raises(IsthmusError):
            run()
    assert not (tmp_path / "site").exists()
    shutil.rmtree(tmp_path / "site.incoming", ignore_errors=True)  # what is staged would count the next time


def _complete(data: bytes) -> None:
    error = verify_stream(io.BytesIO(data)).error()
    if error:
        raise error


def test_what_is_not_signed_as_required_is_not_read(
    stream: bytes, other_keys: KeyPaths, foreign: Bundle, keys: KeyPaths, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError) as error:
        unpack_stream(io.BytesIO(stream), tmp_path / "site", [load_public_key(other_keys.public)])
    assert error.value.code == "bad-signature"
    assert not list(tmp_path.iterdir())
    public = [load_public_key(keys.public)]
    mixed = stream[:100_000] + foreign.volumes[1].read_bytes()
    with pytest.raises(VerificationError) as error:
        unpack_stream(io.BytesIO(mixed), tmp_path / "site", public)
    assert error.value.code == "foreign-volume"
    with pytest.raises(UsageError):
        unpack_stream(io.BytesIO(b""), tmp_path / "site")


@pytest.mark.parametrize("before", ["gone", "damaged", "elsewhere"])
def test_a_lost_volume_is_written_again(signed: Bundle, keys: KeyPaths, tmp_path: Path, before: str) -> None:
    shutil.copytree(signed.out, tmp_path / "out")
    out = tmp_path / ("other" if before == "elsewhere" else "out")
    lost = out / signed.volumes[2].name
    if before == "gone":
        lost.unlink()
    elif before == "damaged":
        lost.write_bytes(b"nothing")
    with Store.open(signed.source) as store:
        result = pack_again(signed.plan, 3, store, out, load_private_key(keys.private))
    assert [volume.file for volume in result.volumes] == [lost.name]
    assert lost.read_bytes() == signed.volumes[2].read_bytes()
    names = {lost.name} if before == "elsewhere" else {path.name for path in signed.out.iterdir()}
    assert {path.name for path in out.iterdir()} == names


def test_a_volume_of_a_damaged_store_is_not_written_again(signed: Bundle, tmp_path: Path) -> None:
    shutil.copytree(signed.source, tmp_path / "store")
    segment = next(r for r in signed.plan.manifest.volumes[2].records if r.offset)
    with Store.open(tmp_path / "store") as store:
        path = store.blob_path(signed.plan.manifest.blobs[segment.blob].digest)
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(VerificationError) as error:
            pack_again(signed.plan, 3, store, tmp_path / "out")
    assert error.value.code == "damaged-store"
    assert everything(tmp_path / "out") == {}


def test_names_of_media() -> None:
    assert [volume_bytes(name) for name in ("fat32", "DVD", "650MB")] == [2**32 - 1, 4_695_000_000, 650_000_000]
    with pytest.raises(UsageError):
        volume_bytes("floppy")


def test_the_commands_in_a_pipe(signed: Bundle, tmp_path: Path) -> None:
    isthmus = f"{sys.executable} -m isthmus"
    script = (
        f"{isthmus} pack --no-tool --store {signed.source} --volume-size 100000 --out - "
        f"| tee >({isthmus} verify - --json > verified) | {isthmus} unpack - --store site"
    )
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], cwd=tmp_path, check=True, capture_output=True, env=os.environ
    )
    assert tree(tmp_path / "site") == signed.tree
