"""The store: an OCI image layout on disk, written atomically, resumable, collected safely.

Not here: talking to anything else; `transfer` copies between a store and a registry.
"""

from isthmus.store.blobs import DamagedBlob
from isthmus.store.collect import CollectResult
from isthmus.store.elsewhere import Elsewhere, FilePart
from isthmus.store.index import Entry, StoredReference
from isthmus.store.staging import Staging
from isthmus.store.store import Store
from isthmus.store.uploads import Running, Upload

__all__ = [
    "CollectResult",
    "DamagedBlob",
    "Elsewhere",
    "Entry",
    "FilePart",
    "Running",
    "Staging",
    "Store",
    "StoredReference",
    "Upload",
]
