"""Fixtures of this room: an empty store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.store import Store


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    with Store.create(place) as made:
        yield made
