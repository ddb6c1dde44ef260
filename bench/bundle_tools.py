"""How each tool carries a whole OCI layout across: into files on a disk, and out of them again.

All keep every digest and platform. Not here: measuring.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import peers
from bench.contenders import program
from bench.images import BuiltImage
from bench.measure import Cost, MeasureError, run

OURS = "isthmus"
BASE = "cp + hash"
DURABLE = "cp + sync + hash"


class Carrier(Protocol):
    """One way to carry."""

    def out(self, bundle: Path) -> Cost:
        """Make the files; the directory is not there yet."""
        ...

    def into(self, bundle: Path, site: Path) -> Cost:
        """Make an OCI layout of the files; the directory is not there yet."""
        ...

    def verify(self, bundle: Path) -> Cost | None:
        """Look whether the files are whole; None where there is no such way."""
        ...


@dataclass(frozen=True)
class Workshop:
    """The outside's store, and keys; `home` is nobody's."""

    place: Path
    store: Path
    home: Path
    images: tuple[BuiltImage, ...]

    @classmethod
    def prepare(cls, place: Path, built: Sequence[BuiltImage]) -> "Workshop":
        """Copy the images' layout, so that all read the same files from the same disk."""
        home, store = place / "home", place / "store"
        home.mkdir()
        shutil.copytree(built[0].layout, store)
        workshop = cls(place, store, home, tuple(built))
        workshop.run([program(), "keys", "new", "--out", home / "keys", "--age"])
        workshop.run([program(), "keys", "new", "--out", home / "keys"])
        return workshop

    def run(self, command: Sequence[str | Path]) -> Cost:
        """Run a command with a home of its own."""
        env = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "TMPDIR"), str(self.home))
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.home / "bytecode")}
        return run(command, cwd=self.home, env=env | bytecode)

    def shell(self, script: str, *words: str | Path) -> Cost:
        """Run a shell script that ends where a part of it fails."""
        return self.run(["/bin/bash", "-euo", "pipefail", "-c", script, "bash", *words])


class Isthmus:
    """`isthmus pack`, `unpack` and `verify`, with options of `pack` and of the other two."""

    def __init__(
        self, workshop: Workshop, packed: Sequence[str | Path] = (), read: Sequence[str | Path] = ()
    ) -> None:
        self._workshop = workshop
        self._packed, self._read = tuple(packed), tuple(read)

    def out(self, bundle: Path) -> Cost:
        keys = self._workshop.home / "keys"
        words = ["--no-tool", *self._packed, "--store", self._workshop.store, "--sign", keys / "isthmus.key"]
        return self._workshop.run([program(), "pack", "-q", "--out", bundle, *words])

    def into(self, bundle: Path, site: Path) -> Cost:
        return self._workshop.run([program(), "unpack", "-q", bundle, "--store", site, *self._common()])

    def verify(self, bundle: Path) -> Cost | None:
        return self._workshop.run([program(), "verify", "-q", bundle, *self._common()])

    def _common(self) -> tuple[str | Path, ...]:
        return ("--key", self._workshop.home / "keys" / "isthmus.pub", *self._read)


class Shell:
    """A shell line for each way: $1 is the source, $2 the target; all files of a target are made by it."""

    def __init__(self, workshop: Workshop, out: str, into: str, verify: str = "") -> None:
        self._workshop = workshop
        self._out, self._into, self._verify = out, into, verify

    def out(self, bundle: Path) -> Cost:
        return self._workshop.shell(self._out, self._workshop.store, bundle)

    def into(self, bundle: Path, site: Path) -> Cost:
        return self._workshop.shell(self._into, bundle, site)

    def verify(self, bundle: Path) -> Cost | None:
        return self._workshop.shell(self._verify, bundle) if self._verify else None


class Skopeo:
    """`skopeo copy` to one OCI archive an image, and back, in one shell loop."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def out(self, bundle: Path) -> Cost:
        line = 'skopeo copy -q --all --preserve-digests "oci:$A:$REF" "oci-archive:$B/$N.tar:$REF"'
        return self._each(f'mkdir "$B"; {_LOOP.format(line=line)}', self._workshop.store, bundle)

    def into(self, bundle: Path, site: Path) -> Cost:
        line = 'skopeo copy -q --all --preserve-digests "oci-archive:$A/$N.tar:$REF" "oci:$B:$REF"'
        return self._each(_LOOP.format(line=line), bundle, site)

    def verify(self, bundle: Path) -> Cost | None:  # noqa: ARG002  # an archive has no checksums but in itself
        return None

    def _each(self, script: str, source: Path, target: Path) -> Cost:
        words = [image.ref for image in self._workshop.images]
        return self._workshop.shell(f"A=$1 B=$2 N=0; shift 2; {script}", source, target, *words)


_LOOP = "for REF; do N=$((N + 1)); {line}; done"


def carriers(workshop: Workshop, wanted: Sequence[str]) -> Mapping[str, Carrier]:
    """Those whose programs are here; ours and copying always."""
    digest = "openssl dgst -sha256" if peers.find("openssl") else "sha256sum"
    hashed = f'find "$2" -type f -print0 | xargs -0 {digest} >/dev/null'
    copied = f'cp -r "$1" "$2"; {hashed}'
    synced = f'cp -r "$1" "$2"; find "$2" -type f -print0 | xargs -0 sync; {hashed}'
    only_hashed = hashed.replace("$2", "$1")
    home = workshop.home / "keys"
    recipient = _recipient(home)
    plain = ("--no-release",)  # what the others do not make either
    found: dict[str, Carrier] = {
        OURS: Isthmus(workshop, plain),
        f"{OURS}, release and SBOM": Isthmus(workshop),
        f"{OURS}, 50 MB volumes": Isthmus(workshop, (*plain, "--volume-size", "50MB")),
        f"{OURS}, 10 % parity": Isthmus(workshop, (*plain, "--volume-size", "50MB", "--parity", "10%")),
        f"{OURS}, encrypted": Isthmus(
            workshop, (*plain, "--encrypt-to", recipient), ("--identity", home / "isthmus.age")
        ),
        BASE: Shell(workshop, copied, copied, only_hashed),
        DURABLE: Shell(workshop, synced, synced),
    }
    others: dict[str, Carrier] = {}
    if peers.find("zstd") and peers.find("tar"):
        out = 'mkdir "$2"; tar -cf - -C "$1" . | zstd -q -T0 -o "$2/layout.tar.zst"'
        into = 'mkdir "$2"; zstd -q -d -c "$1/layout.tar.zst" | tar -xf - -C "$2"'
        others["tar + zstd"] = Shell(workshop, out, into, 'zstd -q -t "$1/layout.tar.zst"')
    if peers.find("skopeo"):
        others["skopeo oci-archive"] = Skopeo(workshop)
    return found | {name: carrier for name, carrier in others.items() if not wanted or name in wanted}


def _recipient(keys: Path) -> str:
    for path in sorted(keys.glob("*.age.pub")):
        return path.read_text().strip()
    raise MeasureError(f"no age recipient was made in {keys}")
