"""Any sequence of writes, interruptions, names, restarts and collections, compared with a model."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from isthmus.errors import VerificationError
from isthmus.oci import Digest
from isthmus.store import Store, StoredReference
from tests.store import content

DATA = [bytes([n]) * (50 + 10 * n) for n in range(4)]
BLOBS = [content.describe(data) for data in DATA]
which = st.integers(0, len(DATA) - 1)


class Stores(RuleBasedStateMachine):
    """The model: which blobs must be there, which may be, how much of each was written, and the names."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="isthmus-stateful-"))
        self.store = Store.create(self.path / "store")
        self.whole: set[Digest] = set()
        self.partial: dict[Digest, int] = {}
        self.names: dict[str, Digest] = {}
        self.parts: dict[Digest, set[Digest]] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.path)

    @rule(n=which, share=st.floats(0, 1), wrong=st.booleans())
    def write(self, n: int, share: float, wrong: bool) -> None:
        blob, data = BLOBS[n], DATA[n]
        with self.store.write_blob("x", blob) as writer:
            if blob.digest in self.whole:
                assert writer.offset == blob.size
                return
            assert writer.offset == self.partial.pop(blob.digest, 0)
            end = max(writer.offset, round(share * blob.size))
            writer.write(memoryview(data)[writer.offset : end])
            if end:
                self.partial[blob.digest] = end
            if wrong and end < blob.size:
                with pytest.raises(VerificationError):
                    writer.commit()
                self.partial.pop(blob.digest, None)
            elif end == blob.size:
                writer.commit()
                del self.partial[blob.digest]
                self.whole.add(blob.digest)

    @rule(parts=st.sets(which, min_size=1), name=st.sampled_from(["a", "b"]))
    def name(self, parts: set[int], name: str) -> None:
        config, *layers = [BLOBS[n] for n in sorted(parts)]
        image = content.manifest(config, layers)
        self.store.put_manifest("quay.io/x/y", image, name)
        self.whole.add(image.digest)
        self.names[f"quay.io/x/y:{name}"] = image.digest
        self.parts[image.digest] = {BLOBS[n].digest for n in parts}

    @rule(name=st.sampled_from(["a", "b"]), other=st.sampled_from(["a", "b"]))
    def move_a_name(self, name: str, other: str) -> None:
        name, other = f"quay.io/x/y:{name}", f"quay.io/x/y:{other}"
        found = {reference.name: reference for reference in self.store.references()}.get(other)
        added = [StoredReference(name, found.descriptor)] if found else []
        self.store.set_references(added, remove=[name])
        if found:
            self.names[name] = found.descriptor.digest
        else:
            self.names.pop(name, None)

    @rule()
    def restart_and_collect(self) -> None:
        self.store.close()
        needed = set(self.names.values())
        for digest in list(needed):
            needed |= self.parts[digest]
        result = self.store.collect(grace_seconds=-1)
        assert set(result.digests) == self.whole - needed
        assert result.partials == len(self.partial)
        self.whole &= needed
        self.partial.clear()

    @rule(n=which)
    def truncate(self, n: int) -> None:
        """A power cut."""
        blob = BLOBS[n]
        if blob.digest in self.whole:
            os.truncate(self.store.blob_path(blob.digest), blob.size - 1)
            assert not self.store.has_blob("x", blob)
            self.store.discard_blob(blob.digest)
            self.whole.remove(blob.digest)

    @rule(what=st.sampled_from(["database", "handle"]))
    def lose(self, what: str) -> None:
        self.store.close()
        if what == "database":
            for path in (self.path / "store").glob("index.sqlite*"):
                path.unlink()
        self.store = Store.open(self.path / "store")

    @invariant()
    def is_as_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        assert {digest for digest, _ in self.store.iter_blobs()} == self.whole
        assert {r.name: r.descriptor.digest for r in self.store.references()} == self.names
        assert list(self.store.scrub()) == []


Stores.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStores = Stores.TestCase
