"""The store: an OCI image layout on disk, written atomically, resumable, collected safely.

Not here: talking to anything else; `transfer` copies between a store and a registry.
"""

from typing import TYPE_CHECKING

from isthmus.late import names_of

if TYPE_CHECKING:
    from isthmus.store.blobs import DamagedBlob
    from isthmus.store.collect import CollectResult
    from isthmus.store.elsewhere import Elsewhere, FilePart
    from isthmus.store.index import Entry, StoredReference
    from isthmus.store.staging import Staging
    from isthmus.store.store import Store
    from isthmus.store.uploads import Running, Upload

_HOME = {
    "DamagedBlob": "isthmus.store.blobs",
    "CollectResult": "isthmus.store.collect",
    "Elsewhere": "isthmus.store.elsewhere",
    "FilePart": "isthmus.store.elsewhere",
    "Entry": "isthmus.store.index",
    "StoredReference": "isthmus.store.index",
    "Staging": "isthmus.store.staging",
    "Store": "isthmus.store.store",
    "Running": "isthmus.store.uploads",
    "Upload": "isthmus.store.uploads",
}
"""Imported when first asked for: a command that finds nothing to do needs little of this room."""

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

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, globals(), _HOME)
