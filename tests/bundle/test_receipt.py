"""A receipt says what a store holds, the same every time, and cannot be changed once signed."""

import json
from pathlib import Path

import pytest

from isthmus.bundle import KeyPaths, load_private_key, load_public_key, make_receipt, read_receipt
from isthmus.errors import UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import Bundle


@pytest.fixture
def receipt(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> Path:
    with Store.open(signed.source) as store:
        data = make_receipt(store, load_private_key(keys.private))
        assert data == make_receipt(store, load_private_key(keys.private))
    (tmp_path / "receipt.json").write_bytes(data)
    return tmp_path / "receipt.json"


def test_says_what_is_held(receipt: Path, signed: Bundle, keys: KeyPaths) -> None:
    found = read_receipt(receipt, [load_public_key(keys.public)])
    assert set(found.blobs) == set(signed.plan.manifest.blobs)
    assert list(found.blobs) == sorted(found.blobs)
    assert [r.name for r in found.references] == [r.name for r in signed.plan.manifest.references]


def test_needs_the_right_signature(
    receipt: Path, signed: Bundle, keys: KeyPaths, other_keys: KeyPaths, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError) as error:
        read_receipt(receipt, [load_public_key(other_keys.public)])
    assert error.value.code == "bad-signature"
    document = json.loads(receipt.read_bytes())
    document["blobs"].pop()
    receipt.write_text(json.dumps(document))
    with pytest.raises(VerificationError):
        read_receipt(receipt, [load_public_key(keys.public)])
    with Store.open(signed.source) as store:
        receipt.write_bytes(make_receipt(store))
    assert read_receipt(receipt).signatures == ()
    with pytest.raises(VerificationError) as error:
        read_receipt(receipt, [load_public_key(keys.public)])
    assert error.value.code == "unsigned"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 50_000,
        b'{"format":"isthmus-receipt","version":2,"blobs":[],"references":[]}',
    ],
)
def test_junk_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "r").write_bytes(data)
    with pytest.raises(UsageError) as error:
        read_receipt(tmp_path / "r")
    assert error.value.code == "invalid-input"
