"""kill -9 at random points of pack and unpack, again and again: running once more completes, to the same bytes."""

import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.bundle import load_private_key, pack, unpack
from isthmus.store import Store
from tests.bundle.conftest import Bundle, everything, tree

KILLS = 20


def start(work: Callable[[], object]) -> int:
    """Run work in a process of its own and return its id; a fork spares starting Python every time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # no other thread runs here
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Whether the work was killed; False where it was done before."""
    child = start(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "the work failed by itself"
    return os.WIFSIGNALED(status)


def time_of(work: Callable[[], object]) -> float:
    before = time.monotonic()
    _, status = os.waitpid(start(work), 0)
    assert status == 0
    return time.monotonic() - before


@pytest.mark.parametrize("seed", [1, 2])
def test_pack(signed: Bundle, keys: object, tmp_path: Path, seed: int) -> None:
    key = load_private_key(keys.private)  # type: ignore[attr-defined]
    expected = {path.name: path.read_bytes() for path in signed.out.iterdir()}
    out = tmp_path / "out"

    def work() -> None:
        with Store.open(signed.source) as store:
            pack(signed.plan, store, out, key)

    whole = time_of(work)
    chance = random.Random(seed)
    kills = 0
    while kills < KILLS:
        if chance.random() < 0.5:  # from nothing, or from where the last was killed
            shutil.rmtree(out, ignore_errors=True)
        kills += killed(work, chance.uniform(0, whole))
        for path in out.glob("*"):
            if not path.name.endswith(".partial"):
                assert path.read_bytes() == expected[path.name], "something half-written has a final name"
    work()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected


@pytest.mark.parametrize("seed", [1, 2])
def test_unpack(signed: Bundle, tmp_path: Path, seed: int) -> None:
    site = tmp_path / "site"
    chance = random.Random(seed)
    order = list(signed.volumes)

    def work() -> None:
        unpack(order, site)

    def forget() -> None:
        for path in (site, tmp_path / "site.incoming"):
            shutil.rmtree(path, ignore_errors=True)

    whole = time_of(work)
    forget()
    kills = 0
    while kills < KILLS:
        if chance.random() < 0.5:
            forget()
        chance.shuffle(order)
        kills += killed(work, chance.uniform(0, whole))
        for name, found in tree(site).items():
            if name.startswith("blobs/"):
                assert found == signed.tree[name], "a blob that is not whole has its final name"
        if (site / "oci-layout").exists():
            with Store.open(site) as store:
                names = {reference.name for reference in store.references()}
            assert names in (set(), {reference.name for reference in signed.plan.manifest.references})
    work()
    assert tree(site) == signed.tree
    assert not (tmp_path / "site.incoming").exists()


@pytest.mark.parametrize("step", range(0, 60, 3))
def test_unpack_killed_after_each_record(signed: Bundle, tmp_path: Path, step: int) -> None:
    """The same at known points: it kills itself after a number of records."""
    site = tmp_path / "site"
    before = everything(site)
    left = [step]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(start(lambda: unpack([signed.out], site, progress=count)), 0)
    assert everything(site) == before or tree(site) == signed.tree
    unpack([signed.out], site)
    assert tree(site) == signed.tree
