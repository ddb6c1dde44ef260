"""What is counted behind the pages and /metrics: by a thread, by another process, once for all workers."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread, disk, survey
from isthmus.serve.console import holdings
from isthmus.serve.disk import Counted, count_blobs
from isthmus.serve.facts import Facts, find_facts
from isthmus.serve.shared import Share
from isthmus.serve.surveying import Surveys
from isthmus.store import Store
from tests.serve.conftest import Client, Content, fill


def wanted(content: Content) -> list[Digest]:
    return [content.pause.digest, content.index.digest, Digest.of(b"nothing")]


def test_another_process_finds_the_same(content: Content) -> None:
    found: dict[Digest, Facts] = {}
    surveys = Surveys(content.path)
    surveys.facts(lambda: wanted(content), found.update)
    with Store.open(content.path) as store:
        descriptors = [content.pause.descriptor(), content.index.descriptor()]
        assert [found[one.digest] for one in descriptors] == [find_facts(store, one) for one in descriptors]
        sizes = dict(store.iter_blobs())
    assert not found[Digest.of(b"nothing")].is_readable
    counted = surveys.counted(0.0)
    assert counted is not None
    assert (counted.blobs, counted.stored) == (len(sizes), sum(sizes.values()))


def test_workers_look_once(content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Surveys(content.path, Share(number, 2, tmp_path)) for number in range(2))
    found: dict[Digest, Facts] = {}
    one.facts(lambda: wanted(content), lambda _: None)
    before = time.time()
    counted = one.counted(before - 60)
    monkeypatch.setattr("sys.executable", "/bin/false")
    other.facts(lambda: [digest for digest in wanted(content) if digest not in found], found.update)
    assert found.keys() == set(wanted(content))
    assert other.counted(before - 60) == counted
    assert other.counted(time.time()) is None  # which asks anew, and that fails


def test_a_look_that_goes_on_is_stopped(content: Content, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sleep").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "sleep").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "sleep"))
    surveys = Surveys(content.path)
    found: list[Counted | None] = []
    looking = threading.Thread(target=lambda: found.append(surveys.counted(0.0)))
    looking.start()
    time.sleep(0.3)
    surveys.stop()
    looking.join(10)
    assert found == [None]
    assert surveys.counted(0.0) is None


@pytest.mark.parametrize("filtered", [True, False])
def test_no_priority_is_asked_for_where_that_may_end_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, filtered: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("os.nice", asked.append)
    monkeypatch.setattr(survey, "_STATUS", tmp_path / "status")
    (tmp_path / "status").write_text(
        f"Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t{2 if filtered else 0}\nSeccomp_filters:\t1\n"
    )
    rest = survey.gently()
    time.sleep(0.05)
    began = time.monotonic()
    rest()
    assert asked == ([] if filtered else [10])
    assert (time.monotonic() - began > 0.04) == filtered


def test_only_blobs_are_counted(tmp_path: Path) -> None:
    content = fill(tmp_path / "store")
    before = count_blobs(content.path)
    place = content.path / "blobs" / "sha256"
    (place / "stranger").write_bytes(b"x")
    os.symlink("/etc/passwd", place / ("0" * 64))
    (place / ("1" * 64)).mkdir()
    after = count_blobs(content.path)
    assert before is not None
    assert after is not None
    assert (after.blobs, after.stored) == (before.blobs, before.stored)
    assert count_blobs(content.path, before.blobs) is not None
    assert count_blobs(content.path, before.blobs - 1) is None


@pytest.mark.parametrize("is_large", [False, True])
def test_it_is_there_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr(holdings, "_MANY", 1)
        monkeypatch.setattr(disk, "FEW", 1)
    content = fill(tmp_path / "store")
    thread = ServerThread(content.path, MirrorMap(), Listen())
    client = Client(thread.address)
    try:
        time.sleep(0.3)
        deadline = time.monotonic() + 20
        while b"isthmus_store_blobs" not in client.get("/metrics").body and time.monotonic() < deadline:
            time.sleep(0.05)
        text = client.get("/metrics").body.decode()
        with Store.open(content.path) as store:
            sizes = dict(store.iter_blobs())
        assert f"\nisthmus_store_blobs {len(sizes)}\n" in text
        assert f"\nisthmus_store_bytes {sum(sizes.values())}\n" in text
        while re.search(rb"Still reading|[Cc]ounting", client.get("/console/").body):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert b"5&nbsp;images" in client.get("/console/").body
    finally:
        client.close()
        thread.stop()


def test_pages_say_that_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing was read, no page tells a number or a kind that it does not know."""
    monkeypatch.setattr(holdings, "_MANY", 0)
    monkeypatch.setattr(disk, "FEW", 0)
    (tmp_path / "sleep").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "sleep").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "sleep"))
    content = fill(tmp_path / "store")
    thread = ServerThread(content.path, MirrorMap(), Listen())
    client = Client(thread.address)
    try:
        overview = client.get("/console/").body.decode()
        assert "counting…" in overview
        for wrong in ("0&nbsp;blobs", "No lock", "becomes stale", "&nbsp;images"):
            assert wrong not in overview
        assert "Counting what this store has" in client.get("/console/disk").body.decode()
        assert "No lock is known" not in client.get("/console/coverage").body.decode()
        assert "not known without a lock" not in client.get("/console/contents?by=component").body.decode()
        assert "<td>image</td>" not in client.get("/console/search").body.decode()
        page = client.get("/console/reference/registry.k8s.io/pause:3.10").body.decode()
        assert "<dd>image</dd>" in page  # that one alone is read at once
        assert "Still reading" in page
        metrics = client.get("/metrics").body.decode()
        assert "isthmus_store_free_bytes" in metrics
        assert "isthmus_store_blobs" not in metrics
    finally:
        client.close()
        began = time.monotonic()
        thread.stop()
    assert time.monotonic() - began < 10
