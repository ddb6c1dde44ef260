"""The update between the two generations of the benchmark's images carries what is new, and hardly more."""

from pathlib import Path

import pytest

from bench.bundle_update import update_table
from bench.images.build import ensure
from bench.images.debian import CannotBuildHereError

pytestmark = pytest.mark.real


def test_an_update_carries_the_new_blobs_and_less_than_one_per_cent_more(tmp_path: Path) -> None:
    try:
        built = ensure("small", print)
    except CannotBuildHereError as error:
        pytest.skip(str(error))
    table, failures = update_table(built, tmp_path / "update")
    assert failures == []
    assert "kept" in table.notes[0]
