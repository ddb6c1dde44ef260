import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.inventory.lock import (
    Lock,
    LockedReferrer,
    LockEntry,
    changed,
    format_lock,
    parse_lock,
    read_lock,
    write_lock,
)
from isthmus.oci import Digest


def digest(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


DIGESTS = st.integers(0, 2**64).map(digest)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
REFERRERS = st.builds(LockedReferrer, DIGESTS, TEXTS, TEXTS, st.integers(0, 2**63 - 1))
ENTRIES = st.builds(
    LockEntry,
    kind=st.sampled_from(["image", "artifact", "file", "chart"]),
    name=TEXTS,
    digest=DIGESTS,
    media_type=TEXTS,
    size=st.integers(0, 2**63 - 1),
    platforms=st.sets(TEXTS, max_size=3).map(lambda names: tuple(sorted(names))),
    referrers=st.sets(REFERRERS, max_size=2).map(lambda held: tuple(sorted(held))),
    evidence=st.sets(TEXTS, max_size=3).map(lambda lines: tuple(sorted(lines))),
    children=st.sets(DIGESTS, max_size=3).map(lambda digests: tuple(sorted(digests))),
)
LOCKS = st.builds(
    Lock,
    platforms=st.sets(TEXTS, max_size=2).map(lambda names: tuple(sorted(names))),
    references=st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry.key).map(
        lambda entries: tuple(sorted(entries, key=lambda entry: entry.key))
    ),
)


@given(LOCKS)
def test_what_is_written_is_read(lock: Lock) -> None:
    assert parse_lock(format_lock(lock).encode()) == lock


@given(LOCKS)
def test_other_yaml_parsers_read_the_same(lock: Lock) -> None:
    document = yaml.safe_load(format_lock(lock))
    assert [entry["name"] for entry in document["references"]] == [entry.name for entry in lock.references]
    assert [entry.get("evidence", []) for entry in document["references"]] == [
        list(entry.evidence) for entry in lock.references
    ]


@given(LOCKS)
def test_the_order_does_not_matter(lock: Lock) -> None:
    assert format_lock(Lock(platforms=lock.platforms, references=lock.references[::-1])) == format_lock(lock)


def test_it_reads_well() -> None:
    entry = LockEntry(
        "image",
        "registry.k8s.io/pause:3.10",
        digest(1),
        "application/vnd.oci.image.index.v1+json",
        1234,
        ("linux/amd64",),
        (LockedReferrer(digest(2), "application/vnd.oci.image.manifest.v1+json", "application/x", 5),),
        ("manifests:a.yaml Pod/p .spec.containers[0].image",),
    )
    assert format_lock(Lock(platforms=("linux/amd64",), references=(entry,))).splitlines()[2:] == [
        "version: 1",
        "platforms:",
        "- linux/amd64",
        "references:",
        "- kind: image",
        "  name: registry.k8s.io/pause:3.10",
        f"  digest: {digest(1)}",
        "  media_type: application/vnd.oci.image.index.v1+json",
        "  size: 1234",
        "  platforms:",
        "  - linux/amd64",
        "  referrers:",
        f"  - digest: {digest(2)}",
        "    media_type: application/vnd.oci.image.manifest.v1+json",
        "    artifact_type: application/x",
        "    size: 5",
        "  evidence:",
        '  - "manifests:a.yaml Pod/p .spec.containers[0].image"',
    ]


def test_the_images_of_an_index_in_part_are_named_and_nothing_else_is_new() -> None:
    def written(*children: Digest) -> list[str]:
        return format_lock(Lock(references=(LockEntry("image", "a.io/b:1", digest(1), children=children),))).split(
            "\n"
        )[2:]

    plain = ["version: 1", "platforms: []", "references:", "- kind: image", "  name: a.io/b:1"]
    plain += [f"  digest: {digest(1)}"]
    assert written() == [*plain, ""]
    assert written(digest(3), digest(2)) == [*plain, "  children:", f"  - {digest(2)}", f"  - {digest(3)}", ""]


def test_only_one_image_can_stand_in_for_an_index() -> None:
    def stand_in(*children: Digest) -> Digest | None:
        return LockEntry("image", "a.io/b:1", digest(1), children=children).stand_in

    assert (stand_in(), stand_in(digest(2)), stand_in(digest(2), digest(3))) == (None, digest(2), None)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "isthmus.lock"
    first = Lock(references=(LockEntry("image", "a.io/b:1", digest(1)),))
    write_lock(path, first)
    assert read_lock(path) == first
    write_lock(path, Lock())
    assert read_lock(path) == Lock()
    assert os.listdir(tmp_path) == ["isthmus.lock"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_lock(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        write_lock(tmp_path / "none" / "isthmus.lock", Lock())
    assert caught.value.code == "io-failed"
    (tmp_path / "isthmus.lock").mkdir()
    with pytest.raises(UnreachableError):
        write_lock(tmp_path / "isthmus.lock", Lock())
    assert os.listdir(tmp_path) == ["isthmus.lock"]


def test_thousands_of_entries_are_quick(tmp_path: Path) -> None:
    entries = tuple(
        LockEntry(
            "image", f"registry.k8s.io/group/name-{n}:v1.{n}", digest(n), "application/x", n, ("linux/amd64",)
        )
        for n in range(5000)
    )
    started = time.process_time()
    write_lock(tmp_path / "isthmus.lock", Lock(references=entries))
    assert len(read_lock(tmp_path / "isthmus.lock").references) == 5000
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "version: 2\nreferences: []",
        "version: 1\nreferences: 7",
        "version: 1\nnew: 1",
        "version: 1\nreferences: [{kind: image, name: a, digest: sha256:00}]",
        "version: 1\nreferences: [{kind: wrong, name: a, digest: 'sha256:%s'}]" % ("0" * 64),
        "version: 1\nreferences: [{kind: image, name: a, digest: 'sha256:%s', size: -1}]" % ("0" * 64),
        "version: 1\nreferences: [{kind: image, name: a, digest: 'sha256:%s', children: [a]}]" % ("0" * 64),
        "version: 1\nreferences: [{kind: image, name: a, digest: 'sha256:%s', children: 7}]" % ("0" * 64),
        "version: 1\nreferences: [&e {kind: image, name: a, digest: 'sha256:%s'}, *e]" % ("0" * 64),
        "version: 1\n---\nversion: 1",
        "version: [",
        "\x00",
    ],
)
def test_what_is_no_lock(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lock(text.encode())
    assert caught.value.code == "invalid-lock"


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IsthmusError) as caught:
        read_lock(tmp_path / "isthmus.lock")
    assert caught.value.code == "file-not-found"


def test_differences() -> None:
    def lock(**names: int) -> Lock:
        return Lock(references=tuple(LockEntry("image", name, digest(number)) for name, number in names.items()))

    assert changed(lock(a=1, b=2, c=3), lock(b=2, c=4, d=5)) == [
        "removed a",
        f"changed c {digest(3)} {digest(4)}",
        "added d",
    ]
    assert changed(lock(a=1), lock(a=1)) == []
