"""Install Isthmus from the bundle beside this file: nothing but Python is needed, and no network.

    python3 bootstrap.py --key isthmus.pub [--venv DIR] [MORE DISCS OR DIRECTORIES…]

The manifest's Ed25519 signature is checked with the key that you bring (not from this medium!), then every
wheel against the manifest, and only then is anything unpacked. This file itself is checked by nobody but you:
compare its SHA-256 with the one that `isthmus pack` printed outside. Not here: repairing volumes and reading
encrypted ones; Isthmus does that once it is installed.

It is one file that uses the standard library alone, since it stands where nothing else is. What it reads is
described in docs/bundle-format.md.
"""

import argparse
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

from isthmus.bundle.tool.bootstrap.contents import Contents
from isthmus.bundle.tool.bootstrap.installing import install, take_tool
from isthmus.bundle.tool.bootstrap.medium import Refused, say
from isthmus.bundle.tool.bootstrap.trust import Trust, read_public_key, read_trust
from isthmus.bundle.tool.bootstrap.volumes import list_volumes, read_bundles, require_timely


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bootstrap.py", description="Verify the bundle beside this file and install Isthmus from it.",
        epilog="Bring the key to the site by another way than this medium.",
    )  # fmt: skip
    parser.add_argument("places", nargs="*", metavar="DIR", help="where volumes are  [default: beside this file]")
    parser.add_argument(
        "--key", action="append", default=[], metavar="PUB", help="a trusted public key; repeatable"
    )
    parser.add_argument(
        "--threshold", type=int, default=1, metavar="N", help="so many of the keys must have signed"
    )
    parser.add_argument(
        "--trust", metavar="FILE", help="STORE.trust.json, in place of keys, where the site has one"
    )
    parser.add_argument("--venv", default="isthmus", metavar="DIR", help="where to install  [default: ./isthmus]")
    parser.add_argument("--store", type=Path, help="the site's store, for what an update leaves out")
    parser.add_argument("--check", action="store_true", help="verify only; install nothing")
    return parser.parse_args()


def main() -> int:
    """Do it; the exit status."""
    given = _arguments()
    if bool(given.key) == bool(given.trust) or given.threshold < 1:
        raise Refused(2, "give --key PUB (or --trust STORE.trust.json): without it nobody vouches for the bundle")
    trust = (
        read_trust(given.trust)
        if given.trust
        else Trust(frozenset(map(read_public_key, given.key)), given.threshold, {})
    )
    bundles = read_bundles(list_volumes(given.places or [os.path.dirname(os.path.abspath(__file__))]), trust)
    bundles = [b for b in bundles if any(ref["kind"] == "tool" for ref in b.manifest["references"])]
    if len(bundles) != 1:
        raise Refused(
            3, f"{len(bundles) or 'none'} of the bundles carries Isthmus; name the directory of one that does"
        )
    (bundle,) = bundles
    require_timely(bundle, trust)
    say(f"Bundle {bundle.bundle.hex()[:16]}…: signature verified.")
    with tempfile.TemporaryDirectory(prefix="isthmus-") as scratch:
        tool = take_tool(bundle, Contents(bundle, given.store, Path(scratch)))
        say(f"Isthmus {tool.version}: {len(tool.wheels)} wheels verified.")
        if given.check:
            return 0
        program = install(tool, Path(os.path.abspath(given.venv)))
    say(f"Installed. Next:\n  {program} unpack {min(bundle.files.values()).parent} --store STORE --key PUB")
    return 0


def _end(status: int, message: str) -> NoReturn:
    sys.stderr.write(f"bootstrap.py: {message}\n")
    sys.exit(status)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as error:
        _end(error.status, str(error))
    except OSError as error:
        _end(5, f"{error.filename or ''}: {error.strerror or error}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        _end(4, f"the bundle is signed, but not what this script reads: {type(error).__name__} {error}")
