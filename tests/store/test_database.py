"""The database can be thrown away, be damaged or lie, and nobody notices."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.store import Store
from tests.store import content

LYING = f"""
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE manifests SET subject = 'sha256:{"0" * 64}' WHERE subject IS NULL")
db.execute("INSERT OR REPLACE INTO manifests VALUES ('sha256:{"1" * 64}', 'x', 'sha256:{"2" * 64}')")
db.execute("INSERT OR REPLACE INTO manifests VALUES ('nonsense', 5, 'sha256:{"0" * 64}')")
db.execute("INSERT OR REPLACE INTO edges VALUES ('../..', 'nonsense', 1)")
db.commit()
"""


@pytest.fixture
def filled(place: Path) -> tuple[Path, str, str]:
    with Store.create(place) as store:
        image = content.put_image(store, "a", "1")
        referrer = content.put_referrer(store, image)
    return place, image.digest, referrer.digest


def check(filled: tuple[Path, str, str]) -> None:
    place, image, referrer = filled
    with Store.open(place) as store:
        digest = store.references()[0].descriptor.digest
        assert digest == image
        assert [r.digest for r in store.referrers("x", digest)] == [referrer]
        content.put_image(store, "another", "2")
        assert store.needed_by(store.manifest(content.REPOSITORY, "2").layers[0].digest)


def database(filled: tuple[Path, str, str]) -> Path:
    return filled[0] / "index.sqlite"


def test_missing(filled: tuple[Path, str, str]) -> None:
    database(filled).unlink()
    check(filled)


@pytest.mark.parametrize("data", [b"", b"not a database", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_damaged(filled: tuple[Path, str, str], data: bytes) -> None:
    database(filled).write_bytes(data)
    check(filled)


@pytest.mark.parametrize("at", [100, 4096, 8192, 12288, 20000])
def test_overwritten_in_the_middle(filled: tuple[Path, str, str], at: int) -> None:
    with database(filled).open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 512)
    check(filled)


def test_damaged_while_it_is_open(filled: tuple[Path, str, str]) -> None:
    place, _, referrer = filled
    with Store.open(place) as store:
        digest = store.references()[0].descriptor.digest
        assert len(store.referrers("x", digest)) == 1
        with sqlite3.connect(database(filled)) as other:
            other.execute("DROP TABLE manifests")
        other.close()
        assert [r.digest for r in store.referrers("x", digest)] == [referrer]


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 999",
        "DROP TABLE edges",
        "CREATE TRIGGER evil AFTER INSERT ON manifests BEGIN DELETE FROM manifests; END",
        "CREATE VIEW more AS SELECT 1",
        "ALTER TABLE manifests ADD COLUMN more",
    ],
)
def test_of_another_version(filled: tuple[Path, str, str], statement: str) -> None:
    other = sqlite3.connect(database(filled))
    other.execute(statement)
    other.commit()
    other.close()
    check(filled)


def test_lies_are_not_believed(filled: tuple[Path, str, str]) -> None:
    subprocess.run([sys.executable, "-c", LYING, str(database(filled))], check=True)
    check(filled)
    with Store.open(filled[0]) as store:
        store.collect(grace_seconds=-1)
    check(filled)


def test_images_added_by_another_tool(filled: tuple[Path, str, str], tmp_path: Path) -> None:
    place, _, referrer = filled
    with Store.open(place) as store, Store.create(tmp_path / "other") as other:
        digest = store.references()[0].descriptor.digest
        assert len(store.referrers("x", digest)) == 1
        new = content.put_image(other, "new", "new")
        more = content.put_referrer(other, store.manifest(content.REPOSITORY, "1"), "application/vnd.other")
        nested = content.index_of(content.index_of(more.descriptor()).descriptor(), new.descriptor())
        other.put_manifest("quay.io/x/y", content.index_of(more.descriptor()))
        other.put_manifest("quay.io/x/y", nested, "all")
        shutil.copytree(tmp_path / "other" / "blobs", place / "blobs", dirs_exist_ok=True)
        added = json.loads((tmp_path / "other" / "index.json").read_bytes())["manifests"]
        document = json.loads((place / "index.json").read_bytes())
        document["manifests"] += [e for e in added if "dev.isthmus.referrer-of" not in e.get("annotations", {})]
        (place / "index.json").write_text(json.dumps(document))
        assert {r.digest for r in store.referrers("x", digest)} == {referrer, more.digest}
        assert "quay.io/x/y:all" in store.needed_by(new.layers[0].digest)


def test_an_interrupted_write_leaves_no_false_referrer(filled: tuple[Path, str, str]) -> None:
    place = filled[0]
    with Store.open(place) as store:
        digest = store.references()[0].descriptor.digest
        store.blob_path(store.referrers("x", digest)[0].digest).unlink()
        assert store.referrers("x", digest) == ()
