"""Where the content comes from: a store, volumes of a bundle, or a store whose blobs are in an object storage.

What is made once is made before workers are started; each of them opens its own store. Not here: serving it.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from isthmus.serve.options import Listen
from isthmus.store import Store

Opener: TypeAlias = Callable[[], Store]


@contextmanager
def place_of(store: Path, listen: Listen) -> Iterator[Opener]:
    """What opens the store. Raises as `Store.open`, and as `bundle_store.lay_out`."""
    if listen.bundle:
        from isthmus.bundle import load_public_key
        from isthmus.serve.bundle_store import lay_out

        keys = [load_public_key(path) for path in listen.keys]
        with tempfile.TemporaryDirectory(prefix="isthmus-bundle-") as name:
            blobs = lay_out(listen.bundle, keys, Path(name) / "store")
            yield lambda: Store.open(Path(name) / "store", also=blobs)
        return
    if listen.blobs:
        from isthmus.store.object_storage import open_storage, parse_storage

        where = parse_storage(listen.blobs)
        Store.create(store).close()
        # In each worker: its threads do not outlive a fork.
        yield lambda: Store.create(store, durable=True, also=open_storage(where, redirect=listen.blobs_redirect))
        return
    if listen.writable:
        Store.create(store).close()
        yield lambda: Store.create(store, durable=True)  # whoever was answered must find it again
        return
    yield lambda: Store.open(store)
