"""A platform of stand-in images that really run, a rehearsal of it, and what of it would be left here."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from isthmus.demo.images import Layer, make_layer, name_it, put_image
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.oci import Digest, Manifest, Reference
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

    def lock(self, name: str, manifest: Manifest, kind: str = "image", children: tuple[Digest, ...] = ()) -> None:
        found = manifest.descriptor()
        self.entries.append(
            LockEntry(
                kind="artifact" if kind == "artifact" else "image",
                name=str(Reference.parse(name)),
                digest=found.digest,
                media_type=found.media_type,
                size=found.size,
                children=children,
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


def of_the_dead(lines: Iterable[str]) -> list[str]:
    """Those that name a rehearsal which is over: others may be under way on the same machine."""
    found = [(line, re.search(r"isthmus-rehearsal-(\d+)", line)) for line in lines]
    return [line for line, match in found if match and not Path(f"/proc/{match[1]}").exists()]


def leftovers() -> list[str]:
    """What is left of rehearsals that are over: directories and namespaces."""
    found = [str(path) for path in Path("/tmp").glob("isthmus-rehearsal-*")]
    return of_the_dead([*found, *output("ip", "netns").split()])


def traces_on_the_machine() -> list[str]:
    """Beside these: mounts, cgroups, and processes."""
    groups = Path("/sys/fs/cgroup")
    found = Path("/proc/mounts").read_text().splitlines()
    found += map(str, [*groups.glob("isthmus-rehearsal-*"), *groups.glob("*/isthmus-rehearsal-*")])
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return of_the_dead(found)
