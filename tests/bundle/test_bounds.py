"""Memory stays bounded whatever the size of a blob, and nothing is copied to the side."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.bundle import verify
from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.store import Store
from tests.bundle.conftest import put_image, tree

MEBIBYTE = 1024 * 1024
SIZE = 256 * MEBIBYTE

RUN = """
import sys
from pathlib import Path
from isthmus.bundle import pack, plan_bundle, unpack
from isthmus.store import Store
source, out, site = sys.argv[1:]
with Store.open(source) as store:
    pack(plan_bundle(store, volume_size=100 * 1024 * 1024), store, out)
unpack([out], site)
# Not getrusage: its peak survives exec and so counts the process that started this one.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""


@pytest.mark.slow
def test_memory_and_disk(tmp_path: Path) -> None:
    chunk = bytes(MEBIBYTE)
    with Store.create(tmp_path / "source") as store:
        manifest = put_image(store, "a.example/large", "1", [b"small"])
        digest = large_digest(chunk)
        blob = Descriptor("application/octet-stream", digest, SIZE)
        with store.write_blob("a.example/large", blob) as writer:
            for _ in range(SIZE // MEBIBYTE):
                writer.write(memoryview(chunk))
            writer.commit()
        raw = manifest.raw.replace(str(manifest.layers[0].digest).encode(), str(digest).encode())
        raw = raw.replace(b'"size": 5', b'"size": %d' % SIZE)
        store.put_manifest("a.example/large", parse_manifest(raw), "1")
    places = [str(tmp_path / name) for name in ("source", "out", "site")]
    done = subprocess.run([sys.executable, "-c", RUN, *places], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150 * 1024, f"peak of {int(done.stdout)} KiB"
    carried = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert carried < 1.001 * SIZE
    assert verify([tmp_path / "out"]).complete
    source = tree(tmp_path / "source")
    assert all(source[name] == value for name, value in tree(tmp_path / "site").items())


def large_digest(chunk: bytes) -> Digest:
    digest = hashlib.sha256()
    for _ in range(SIZE // MEBIBYTE):
        digest.update(chunk)
    return Digest(f"sha256:{digest.hexdigest()}")
