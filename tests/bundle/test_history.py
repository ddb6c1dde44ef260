"""What `unpack` leaves for whoever looks later: a line for each bundle, and how far it is while it goes on."""

from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, load_public_key, unpack
from isthmus.bundle.history import received_bundles
from isthmus.bundle.waiting import waiting_bundles
from isthmus.errors import IncompleteError
from tests.bundle.conftest import Bundle


def test_a_bundle_is_on_record_with_its_signer(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    result = unpack([signed.out], tmp_path / "site", [load_public_key(keys.public)])
    (found,) = received_bundles(tmp_path / "site")
    assert (found.bundle, found.signed_by, found.claimed_by) == (result.bundle, keys.key_id, (keys.key_id,))
    assert (found.blobs, found.bytes, found.references) == (result.blobs, result.bytes, result.references)
    unpack([signed.out], tmp_path / "site", [load_public_key(keys.public)])
    assert len(received_bundles(tmp_path / "site")) == 1


def test_a_bundle_that_waits_for_volumes_is_seen_and_then_gone(signed: Bundle, tmp_path: Path) -> None:
    with pytest.raises(IncompleteError):
        unpack(signed.volumes[:2], tmp_path / "site")
    (waiting,) = waiting_bundles(tmp_path / "site")
    assert 0 < waiting.done <= waiting.total < waiting.bundle_bytes
    assert received_bundles(tmp_path / "site") == ()
    unpack(signed.volumes[2:], tmp_path / "site")
    assert waiting_bundles(tmp_path / "site") == ()
    (found,) = received_bundles(tmp_path / "site")
    assert found.signed_by is None
    assert found.claimed_by
