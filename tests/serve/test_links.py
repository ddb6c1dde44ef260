"""Two workers note and look at once: nothing fails as locked, and what one was told the other finds."""

import threading
from pathlib import Path

from isthmus.oci import Digest
from isthmus.serve.links import Links

COUNT = 100


def test_two_workers_write_while_both_look(tmp_path: Path) -> None:
    path = tmp_path / "serve.sqlite"
    both = [Links(path, writable=True, worker=number) for number in (0, 1)]
    digests = [[Digest.of(f"{number}-{one}".encode()) for one in range(COUNT)] for number in (0, 1)]
    failures: list[BaseException] = []
    done = threading.Event()

    def write(number: int) -> None:
        try:
            for digest in digests[number]:
                both[number].add("a/b", digest, "blob")
        except BaseException as error:
            failures.append(error)

    def look(number: int) -> None:
        while not done.is_set():
            if both[number].is_stale():
                both[number].refresh()

    writers = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    lookers = [threading.Thread(target=look, args=(number,)) for number in (0, 1)]
    for thread in (*writers, *lookers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in lookers:
        thread.join()
    assert failures == []
    for links in both:
        links.refresh()
        assert not links.is_stale()
        assert links.needed() == {*digests[0], *digests[1]}
    both[0].remove("a/b", digests[1][:1], "blob")
    assert both[1].is_stale()
    assert not both[0].is_stale()
    assert both[1].refresh()
    assert not both[1].has("a/b", digests[1][0], "blob")
    for links in both:
        links.close()
