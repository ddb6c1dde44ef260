"""A platform of stand-in images that really run, a rehearsal of it, and what of it would be left here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isthmus.demo.images import Layer, make_layer, name_it, put_image
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Manifest, Reference
from isthmus.store import Store
from tests.real.programs import output

APPLETS = ("sh", "cat", "dd", "kill", "nc", "nslookup", "sed", "sleep", "tail", "touch", "yes")


class Platform:
    """A store and its lock, filled image by image."""

    def __init__(self, directory: Path, base: Layer | None = None) -> None:
        self.directory = directory
        self.entries: list[LockEntry] = []
        busybox = Path("/bin/busybox").read_bytes()
        self.base = base or make_layer({f"bin/{name}": busybox for name in APPLETS})

    def image(self, store: Store, name: str, command: Sequence[str], *, named: bool = True) -> None:
        manifest = put_image(store, Reference.parse(name).repository, [self.base], command=command)
        if named:
            name_it(store, name, manifest)
        self.lock(name, manifest)

    def lock(self, name: str, manifest: Manifest, kind: str = "image") -> None:
        found = manifest.descriptor()
        self.entries.append(
            LockEntry(
                kind="artifact" if kind == "artifact" else "image",
                name=str(Reference.parse(name)),
                digest=found.digest,
                media_type=found.media_type,
                size=found.size,
            )
        )

    def write(self) -> None:
        write_lock(self.directory / "isthmus.lock", Lock(references=tuple(self.entries)))


def rehearse(directory: Path, *words: str, timeout: float = 170) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "isthmus", "rehearse", "--store", "store", "--json", *words]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def host_network() -> str:
    """What a rehearsal must not touch."""
    shown = [
        output("ip", "-details", "link"),
        output("ip", "address"),
        output("ip", "route", "show", "table", "all"),
    ]
    return "\n".join([*shown, Path("/etc/resolv.conf").read_text()])


def leftovers() -> list[str]:
    found = [str(path) for path in Path("/tmp").glob("isthmus-rehearsal-*")]
    return found + [line for line in output("ip", "netns").split() if "isthmus-rehearsal" in line]
