"""Where built images are cached and how they are listed (images.json).

This is the reading side: tests and benchmarks import it without being able to build anything.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.images.table import BUSYBOX_APPLETS, FORMAT, IMAGES, Generation, Mode

LIST = "images.json"


@dataclass(frozen=True)
class BuiltImage:
    """One image in the OCI layout."""

    name: str
    tag: str
    layout: Path
    ref: str
    digest: str
    size: int
    generation: Generation
    media_type: str
    by_digest: bool
    static: bool

    @property
    def reference(self) -> str:
        """The reference as a platform writes it: by tag, or by digest where the table says so."""
        return f"{self.name}@{self.digest}" if self.by_digest else f"{self.name}:{self.tag}"


def cache_root() -> Path:
    """Return $ISTHMUS_BENCH_IMAGES, or the user's cache directory."""
    chosen = os.environ.get("ISTHMUS_BENCH_IMAGES")
    if chosen:
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "isthmus-bench-images"


def recipe(mode: Mode) -> str:
    """Return a digest of everything the project decides about the images; another one means build again."""
    text = json.dumps([FORMAT, mode, BUSYBOX_APPLETS, [asdict(spec) for spec in IMAGES]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load(mode: Mode, root: Path | None = None) -> list[BuiltImage] | None:
    """Return the cached images of that mode; None when they were not built or by another recipe."""
    directory = (root or cache_root()) / mode
    try:
        document: dict[str, Any] = json.loads((directory / LIST).read_text())
    except FileNotFoundError:
        return None
    if document["recipe"] != recipe(mode):
        return None
    return [BuiltImage(**{**entry, "layout": directory / entry["layout"]}) for entry in document["images"]]


def save(directory: Path, mode: Mode, images: list[BuiltImage]) -> None:
    """Write images.json; layout paths are relative to it, so that the cache can be moved."""
    entries = [{**asdict(image), "layout": os.path.relpath(image.layout, directory)} for image in images]
    document = {"recipe": recipe(mode), "mode": mode, "images": entries}
    (directory / LIST).write_text(json.dumps(document, indent=1) + "\n")
