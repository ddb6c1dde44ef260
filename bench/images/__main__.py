"""Command line: python -m bench.images [--small] builds the images, or says that they are there.

Exit status: 0 the images are there, 1 building failed, 77 this machine cannot build them (tests skip).
"""

import argparse
import sys
import time

from bench.images import cache_root
from bench.images.build import ensure
from bench.images.debian import BuildError, CannotBuildHereError
from bench.images.table import Mode

CANNOT_BUILD_HERE = 77


def main() -> int:
    """Build and print the list."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__)
    parser.add_argument("--small", action="store_true", help="few packages an image, for CI")
    arguments = parser.parse_args()
    mode: Mode = "small" if arguments.small else "full"
    start = time.monotonic()
    try:
        images = ensure(mode, lambda text: print(f"{time.monotonic() - start:6.1f}s {text}", file=sys.stderr))
    except CannotBuildHereError as error:
        print(f"bench.images: cannot build here: {error}", file=sys.stderr)
        return CANNOT_BUILD_HERE
    except BuildError as error:
        print(f"bench.images: {error}", file=sys.stderr)
        return 1
    for image in images:
        print(f"{image.generation} {image.size / 1e6:8.1f} MB  {image.reference}")
    blobs = images[0].layout / "blobs" / "sha256"
    total = sum(path.stat().st_size for path in blobs.iterdir())
    print(f"{len(images)} images, {total / 1e6:.0f} MB of blobs in {cache_root() / mode}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
