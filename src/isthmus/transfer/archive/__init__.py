"""Images in files: docker-archives and OCI archives in (`bring`) and out (`write_archive`).

Not here: registries, and the store's own layout on disk.
"""

from isthmus.transfer.archive.reading import Brought, BroughtArchive, BroughtImage, bring
from isthmus.transfer.archive.writing import Exported, ExportedImage, write_archive

__all__ = ["Brought", "BroughtArchive", "BroughtImage", "Exported", "ExportedImage", "bring", "write_archive"]
