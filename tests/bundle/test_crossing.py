"""A bundle goes out of one store and into another, whole, byte for byte."""

import subprocess
from pathlib import Path

import pytest

from isthmus.bundle import (
    BundleReference,
    KeyPaths,
    load_private_key,
    load_public_key,
    pack,
    plan_bundle,
    unpack,
    verify,
)
from isthmus.errors import IncompleteError, UsageError, VerificationError
from isthmus.oci import Platform
from isthmus.store import Store
from tests.bundle.conftest import Bundle, put_blob, put_image, put_index, tree


def test_crosses_whole(signed: Bundle, keys: KeyPaths, tmp_path: Path) -> None:
    public = [load_public_key(keys.public)]
    assert len(signed.volumes) > 4
    assert verify([signed.out], public).complete
    result = unpack([signed.out], tmp_path / "site", public)
    assert tree(tmp_path / "site") == signed.tree
    assert result.signed_by == keys.key_id
    assert (result.blobs, result.missing) == (signed.result.blobs, ())
    assert not (tmp_path / "site.incoming").exists()
    with Store.open(tmp_path / "site") as store:
        app = next(ref for ref in store.references() if ref.name.endswith("app:1.0"))
        assert len(store.referrers(app.repository, app.descriptor.digest)) == 1
