"""Builds the whole set of a mode: two bases, a layer an image, one layout; a second call returns at once.

Built beside its final place and moved there when complete; a lock makes parallel test workers wait for
one of them to build.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.images import catalogue, debian
from bench.images.catalogue import BuiltImage
from bench.images.layers import Layer, base_layer, busybox_layer, package_layer
from bench.images.layout import Layout
from bench.images.table import IMAGES, Generation, ImageSpec, Mode

Say = Callable[[str], None]
GENERATIONS: tuple[Generation, ...] = ("v1", "v2")


def ensure(mode: Mode, say: Say, root: Path | None = None) -> list[BuiltImage]:
    """Return the images of the mode, building them when they are not there."""
    root = root or catalogue.cache_root()
    cached = catalogue.load(mode, root)
    if cached is not None:
        return cached
    codename = debian.require()
    root.mkdir(parents=True, exist_ok=True)
    with _only_one(root / f".{mode}.lock"):
        cached = catalogue.load(mode, root)
        if cached is None:
            _build_in_place(root, mode, codename, say)
            cached = catalogue.load(mode, root)
    assert cached is not None
    return cached


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _build_in_place(root: Path, mode: Mode, codename: str, say: Say) -> None:
    final, partial = root / mode, root / f".{mode}.partial"
    for leftover in (partial, final):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    with tempfile.TemporaryDirectory(prefix="isthmus-images-") as work:
        # mmdebstrap refuses a target directory that other users cannot pass through.
        Path(work).chmod(0o755)
        images = _build(partial, Path(work), mode, codename, say)
    catalogue.save(partial, mode, images)
    partial.rename(final)


def _build(directory: Path, work: Path, mode: Mode, codename: str, say: Say) -> list[BuiltImage]:
    layout = Layout(directory / "layout")
    # Two generations at a time: mmdebstrap, apt and zlib all leave the interpreter free.
    with ThreadPoolExecutor(max_workers=2) as pool:
        parts = list(pool.map(lambda g: _layers(layout, work / g, mode, codename, g, say), GENERATIONS))
    architecture = debian.run("dpkg", "--print-architecture").strip()
    images = [
        _add(layout, spec, generation, tag, layers, architecture)
        for generation, by_name in zip(GENERATIONS, parts, strict=True)
        for spec in IMAGES
        if (tag := spec.tag(generation)) and (layers := by_name[spec.name])
    ]
    layout.close()
    return images


def _layers(
    layout: Layout, work: Path, mode: Mode, codename: str, generation: Generation, say: Say
) -> dict[str, list[Layer]]:
    """Make all layers of one generation: image name → its layers, the base first."""
    work.mkdir()
    archive = debian.sources(codename, generation)
    say(f"{generation}: base from {', '.join(source.suite for source in archive)}")
    root = work / "base.tar"
    debian.make_base(codename, archive, mode, root)
    base = base_layer(root, layout.blobs, f"{generation}-base")
    fetcher = debian.PackageFetcher(work / "apt", archive, root)
    made: dict[tuple[str, ...], Layer] = {}
    result: dict[str, list[Layer]] = {}
    for spec in IMAGES:
        if spec.tag(generation) is None:
            continue
        packages = spec.contents(mode)
        if packages and packages not in made:
            label = f"{generation}-{'+'.join(packages)}"
            made[packages] = _layer(layout, spec, fetcher.fetch(packages), label)
        own = [made[packages]] if packages else []
        result[spec.name] = own if spec.static else [base, *own]
        say(f"{generation}: {spec.name}")
    return result


def _layer(layout: Layout, spec: ImageSpec, files: list[Path], label: str) -> Layer:
    if spec.static:
        return busybox_layer(files[0], layout.blobs, label)
    if not files:
        raise debian.BuildError(f"{spec.name}: its packages add nothing to the base")
    return package_layer(files, layout.blobs, label)


def _add(
    layout: Layout, spec: ImageSpec, generation: Generation, tag: str, layers: list[Layer], architecture: str
) -> BuiltImage:
    others = [name for name in ("amd64", "arm64") if name != architecture] if spec.multi_platform else []
    top, size = layout.add_image(spec, tag, layers, [architecture, *others])
    return BuiltImage(
        name=spec.name,
        tag=tag,
        layout=layout.path,
        ref=f"{spec.name}:{tag}",
        digest=top["digest"],
        size=size,
        generation=generation,
        media_type=top["mediaType"],
        by_digest=spec.by_digest,
        static=spec.static,
    )
