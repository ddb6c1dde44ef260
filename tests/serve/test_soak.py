"""kill -9 while many push, and collection beside them: what was acknowledged is there, and whole.

With one process and with two workers, each killed with its parent. ISTHMUS_SOAK=200x10 has 200 clients push
through ten kills; the default is small enough for every run.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isthmus.oci import Digest
from isthmus.oci.descriptor import OCI_MANIFEST
from isthmus.store import Store

CLIENTS, KILLS = (int(part) for part in os.environ.get("ISTHMUS_SOAK", "24x4").split("x"))
SERVER = (
    "import sys; from pathlib import Path; from isthmus.serve import Listen, serve_forever;"
    "from isthmus.inventory.mapping import MirrorMap;"
    "serve_forever(Path(sys.argv[1]), MirrorMap(), Listen(writable=True, workers=int(sys.argv[2])),"
    "              ready=lambda a, _: print(a, flush=True))"
)


def start(store: Path, workers: int) -> tuple[subprocess.Popen[str], str]:
    """In a group of its own, so that all its processes can be killed at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(store), str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address
    return process, address


@dataclass
class Pushers:
    """Clients that push until they are told to stop or the server is gone; `done` is what was acknowledged."""

    address: str
    done: dict[str, Digest] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        rng = random.Random(number)
        try:
            connection = http.client.HTTPConnection(self.address, timeout=30)
            while not self.stopping.is_set():
                self._push(connection, f"team/app{number % 7}", f"{number}-{rng.randrange(1 << 60):x}", rng)
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()

    def _push(self, connection: http.client.HTTPConnection, name: str, tag: str, rng: random.Random) -> None:
        layers = [rng.randbytes(rng.choice([10, 5_000, 300_000])), b"shared by all" * 1000]
        entries = [self._blob(connection, name, data, rng) for data in (b"{}", *layers)]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entries[0], "layers": entries[1:]}
        raw = json.dumps(document | {"annotations": {"tag": tag}}).encode()
        status, _ = ask(connection, "PUT", f"/v2/{name}/manifests/{tag}", raw, {"Content-Type": OCI_MANIFEST})
        if status == 201:
            self.done[f"{name}/manifests/{tag}"] = Digest.of(raw)
        else:
            self.wrong.append(f"PUT {name}:{tag} was answered {status}")

    def _blob(
        self, connection: http.client.HTTPConnection, name: str, data: bytes, rng: random.Random
    ) -> dict[str, object]:
        digest = Digest.of(data)
        if ask(connection, "HEAD", f"/v2/{name}/blobs/{digest}")[0] != 200:
            _, headers = ask(connection, "POST", f"/v2/{name}/blobs/uploads/")
            where = headers["Location"]
            half = rng.randrange(len(data))
            ask(connection, "PATCH", where, data[:half])
            status, _ = ask(connection, "PUT", f"{where}?digest={digest}", data[half:])
            if status != 201:
                self.wrong.append(f"a blob of {name} was answered {status}")
        return {"mediaType": "application/octet-stream", "digest": str(digest), "size": len(data)}


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, http.client.HTTPMessage]:
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    response.read()
    return response.status, response.headers


def collect(store: Path, stopping: threading.Event, removed: list[int]) -> None:
    while not stopping.is_set():
        with Store.open(store) as held:
            removed.append(held.collect(grace_seconds=0).blobs)
        time.sleep(0.05)


def check(address: str, done: dict[str, Digest]) -> int:
    """Every image that was acknowledged, byte for byte; how many blobs were read."""
    connection = http.client.HTTPConnection(address, timeout=60)
    seen: set[str] = set()
    for path, digest in done.items():
        name = path.partition("/manifests/")[0]
        connection.request("GET", f"/v2/{path}")
        raw = connection.getresponse().read()
        assert Digest.of(raw) == digest, (path, raw[:300])
        document = json.loads(raw)
        for entry in (document["config"], *document["layers"]):
            key = f"{name}/blobs/{entry['digest']}"
            if key not in seen:
                seen.add(key)
                connection.request("GET", f"/v2/{key}")
                assert Digest.of(connection.getresponse().read()) == entry["digest"], key
    connection.close()
    return len(seen)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_while_many_push(tmp_path: Path, workers: int) -> None:
    store = tmp_path / "store"
    Store.create(store).close()
    done: dict[str, Digest] = {}
    removed: list[int] = []
    for kill in range(KILLS):
        process, address = start(store, workers)
        check(address, done)
        pushers = Pushers(address)
        threads = [threading.Thread(target=pushers.run, args=(kill * 1000 + n,)) for n in range(CLIENTS)]
        threads.append(threading.Thread(target=collect, args=(store, pushers.stopping, removed)))
        for thread in threads:
            thread.start()
        wanted = random.Random(kill).randrange(1, CLIENTS)
        patience = time.monotonic() + 30
        while len(pushers.done) < wanted and time.monotonic() < patience:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pushers.stopping.set()
        for thread in threads:
            thread.join()
        assert process.stdout is not None
        process.stdout.close()
        assert pushers.wrong == []
        done |= pushers.done
    assert len(done) >= KILLS  # something was acknowledged at all
    process, address = start(store, workers)
    assert check(address, done) > KILLS
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert process.stdout is not None
    process.stdout.close()
    with Store.open(store) as held:
        held.collect(grace_seconds=0)
        assert list(held.scrub()) == []
        named = {one.descriptor.digest for one in held.references()}
        assert set(done.values()) <= named
    print(f"{len(done)} pushes acknowledged, {sum(removed)} blobs collected beside them")
