"""Whatever is wrong with the volumes: an error that names volume and references, and the store untouched."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.bundle import KeyPaths, PublicKey, load_public_key, unpack, verify
from isthmus.errors import IncompleteError, IsthmusError, VerificationError
from tests.bundle.conftest import Bundle, everything, tree

SHARED = [HealthCheck.function_scoped_fixture]


class Site:
    """A site with something in its store, and copies of a bundle's volumes that may be spoiled."""

    def __init__(self, bundle: Bundle, foreign: Bundle, place: Path) -> None:
        self.bundle = bundle
        self.media = place / "media"
        self.store = place / "store"
        unpack([foreign.out], self.store)
        self.before = everything(self.store)
        self.reset()

    def reset(self) -> None:
        shutil.rmtree(self.media, ignore_errors=True)
        shutil.copytree(self.bundle.out, self.media)

    def volume(self, number: int) -> Path:
        return self.media / self.bundle.volumes[number - 1].name

    def refuses(self, code: str, number: int, keys: tuple[PublicKey, ...] = ()) -> IsthmusError:
        """Verify and unpack both say so, name volume and references, and leave the store as it was."""
        checked = verify([self.media], keys)
        found = checked.error()
        assert found is not None
        assert not checked.complete
        with pytest.raises(IsthmusError) as caught:
            unpack([self.media], self.store, keys)
        assert everything(self.store) == self.before
        affected = self.bundle.plan.manifest.affected_by_volume(number)
        for error in (found, caught.value):
            assert error.code == code
            assert self.bundle.volumes[number - 1].name in error.message
            assert any(name in error.message for name in affected)
        return caught.value


@pytest.fixture
def site(signed: Bundle, foreign: Bundle, tmp_path: Path) -> Site:
    return Site(signed, foreign, tmp_path)


@settings(max_examples=120, deadline=None, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_flipped_bit(site: Site, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(site.bundle.volumes)))
    path = site.volume(number)
    sound = path.read_bytes()
    size = len(sound)
    place = data.draw(
        st.one_of(st.integers(0, size - 1), st.integers(0, 1300), st.integers(size - 1200, size - 1)), label="byte"
    )
    spoiled = bytearray(sound)
    spoiled[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(spoiled)
    try:
        checked = verify([site.media])
        error = checked.error()
        assert isinstance(error, VerificationError)
        assert error.code == "damaged-volume" or (16 <= place < 48)
        assert path.name in error.message
        assert set(checked.references) <= set(site.bundle.plan.manifest.affected_by_volume(number))
        assert checked.references
        with pytest.raises(VerificationError, match=path.name):
            unpack([site.media], site.store)  # whatever earlier attempts have staged
        assert everything(site.store) == site.before
    finally:
        path.write_bytes(sound)


@settings(max_examples=40, deadline=None, suppress_health_check=SHARED)
@given(data=st.data())
def test_any_truncation_or_extension(site: Site, data: st.DataObject) -> None:
    path = site.volume(2)
    sound = path.read_bytes()
    length = data.draw(st.integers(0, len(sound) + 200).filter(lambda n: n != len(sound)))
    path.write_bytes((sound + bytes(300))[:length])
    try:
        site.refuses("damaged-volume", 2)
    finally:
        path.write_bytes(sound)


def test_a_single_volume_whose_manifest_is_damaged_still_names_references(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, None, seed=1)
    data = bytearray(bundle.volumes[0].read_bytes())
    data[1500] ^= 1
    bundle.volumes[0].write_bytes(data)
    error = verify([bundle.out]).error()
    assert isinstance(error, VerificationError)
    assert "registry.example/team/app:1.0" in error.items[0]["references"]


def test_missing(site: Site) -> None:
    site.volume(3).unlink()
    assert isinstance(site.refuses("missing-volume", 3), IncompleteError)
    checked = verify([site.media])
    assert [missing.file for missing in checked.missing] == ["bundle-0003.isv"]


def test_missing_and_damaged_is_damaged(site: Site) -> None:
    site.volume(3).unlink()
    site.volume(1).write_bytes(site.volume(1).read_bytes()[:-1])
    assert site.refuses("damaged-volume", 1).status == 4


@pytest.mark.parametrize("keep_manifest", [True, False])
def test_foreign(site: Site, foreign: Bundle, keep_manifest: bool) -> None:
    shutil.copy(foreign.volumes[1], site.volume(2))
    if not keep_manifest:
        (site.media / "manifest.json").unlink()
    assert site.refuses("foreign-volume", 2).status == 4


def test_wrong_key(site: Site, other_keys: KeyPaths) -> None:
    error = site.refuses("bad-signature", 1, (load_public_key(other_keys.public),))
    assert isinstance(error, VerificationError)
    assert "none of the given keys" in error.message


def test_unsigned(foreign: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, 100_000, seed=1)
    Site(bundle, foreign, tmp_path / "site").refuses("unsigned", 1, (load_public_key(keys.public),))


def test_a_mended_volume_completes(site: Site) -> None:
    path = site.volume(2)
    sound = path.read_bytes()
    spoiled = bytearray(sound)
    for place in range(30_000, 90_000, 7_000):
        spoiled[place] ^= 1
    path.write_bytes(spoiled)
    site.refuses("damaged-volume", 2)
    path.write_bytes(sound)
    unpack([path], site.store)
    assert site.bundle.tree.items() - tree(site.store).items() <= {("index.json", site.bundle.tree["index.json"])}


def test_a_damaged_copy_beside_an_intact_one_does_no_harm(site: Site) -> None:
    copy = site.media / "copy.isv"
    copy.write_bytes(site.volume(1).read_bytes()[:-10])
    assert verify([site.media]).complete


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.write_bytes(b""), lambda path: path.write_text("x" * 5000)]
)
def test_junk_is_refused(signed: Bundle, tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "bundle-0001.isv"
    make(path)
    with pytest.raises(IsthmusError):
        unpack([path], tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_pipe_or_device_does_not_hang(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "bundle-0001.isv")
    for path in (tmp_path / "bundle-0001.isv", Path("/dev/zero")):
        with pytest.raises(IsthmusError) as error:
            verify([path])
        assert error.value.code == "invalid-input"


def test_what_rots_while_it_waits_is_read_again(site: Site) -> None:
    """Staged pieces are hashed as a whole before they count, and forgotten where they are not the blob."""
    last = site.bundle.volumes[-1]
    (site.media / last.name).unlink()
    with pytest.raises(IncompleteError):
        unpack([site.media], site.store)
    parts = list(site.store.with_name("store.incoming").glob("*/parts/sha256-*[0-9a-f]"))
    assert parts
    for part in parts:
        data = bytearray(part.read_bytes())
        data[10] ^= 1
        part.write_bytes(data)
    with pytest.raises(IsthmusError):
        unpack([last], site.store)
    assert everything(site.store) == site.before
    unpack([site.bundle.out], site.store)
    assert site.bundle.tree.items() - tree(site.store).items() <= {("index.json", site.bundle.tree["index.json"])}
