"""The steps of `isthmus cross`: which command each is, when it need not run, and what is remembered of it.

A step is a command as people type it. What it was made from is remembered as a fingerprint; where that is the
same and its result is still there, the step is not run again. Not here: running them (`cross`).
"""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from isthmus.errors import UnreachableError
from isthmus.inventory.config import Config
from isthmus.inventory.model import Inventory

STATE: Final = "cross.json"
INVENTORY: Final = "inventory.json"


class State(msgspec.Struct):
    """What former runs did: `done` has a fingerprint a step, `packing` that of the bundle with this `number`."""

    number: int = 0
    packing: str = ""
    complete: bool = False
    done: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Places:
    """Where the crossing reads and writes."""

    lock: Path
    workspace: Path
    bundles: Path
    site: Path
    number: int = 1

    @property
    def store(self) -> Path:
        """The store of the workspace."""
        return self.workspace / "store"

    @property
    def bundle(self) -> Path:
        """The directory of this crossing's bundle."""
        return self.bundles / f"{self.number:04d}"


@dataclass(frozen=True)
class Step:
    """A command with its words. `made_from` gives the fingerprint; None where the step is always run."""

    name: str
    words: tuple[str, ...]
    made_from: Callable[[], str] | None = None
    is_there: Callable[[], bool] = field(default=lambda: True)

    @property
    def line(self) -> str:
        """As it is typed."""
        return shlex.join(("isthmus", self.name, *self.words))


def plan_steps(
    config: Config, places: Places, to: str, mirror: bool, sources: Sequence[str], inventory: Callable[[], str]
) -> tuple[Step, ...]:
    """All steps in order. `inventory` gives the fingerprint of what the scan found."""
    lock = str(places.lock)
    steps = [
        Step("scan", (*sources, "--out", str(places.workspace / INVENTORY))),
        Step("lock", (*sources, "--out", lock), inventory, places.lock.exists),
        Step("pull", ("--lock", lock), lambda: fingerprint([places.lock]), lambda: _is_held(places)),
        _pack(config, places),
    ]
    if to:
        # Volumes of every bundle have the same names: each goes into a directory of its own there, too.
        there = to if to.startswith("diode://") else f"{to.rstrip('/')}/{places.number:04d}"
        steps.append(Step("send", (str(places.bundle), there), lambda: fingerprint(listing(places.bundle), to)))
    if mirror:
        target, words = _target(config)
        steps += [
            Step("mirror", ("--lock", lock, *words), lambda: fingerprint([places.lock], target)),
            Step("configure", ("--lock", lock, "--out", str(places.site))),
            Step("check", ("--lock", lock)),
        ]
    return tuple(steps)


def _pack(config: Config, places: Places) -> Step:
    cross = config.cross
    options = {"--volume-size": cross.volume_size, "--parity": cross.parity}
    words = [word for option, value in options.items() if value for word in (option, value)]
    lists = {
        "--sign": cross.sign, "--encrypt-to": cross.encrypt_to, "--since": cross.since,
        "--receipt-key": cross.receipt_keys,
    }  # fmt: skip
    words += [word for option, values in lists.items() for value in values for word in (option, value)]
    words += [] if cross.tool else ["--no-tool"]

    def made_from() -> str:
        return fingerprint([places.lock, *cross.sign, *cross.since, *cross.receipt_keys], *words)

    given = ("--lock", str(places.lock), "--store", str(places.store), "--out", str(places.bundle))
    numbered = ("--sequence", str(places.number))
    return Step("pack", (*given, *numbered, *words), made_from, (places.bundle / "SHA256SUMS").exists)


def _is_held(places: Places) -> bool:
    """Whether the store has what every name of the lock leads to."""
    from isthmus.inventory.lock import read_lock
    from isthmus.store import Store

    if not (places.store / "index.json").exists():
        return False
    with Store.open(places.store) as store:
        return all(store.blob_size(entry.digest) is not None for entry in read_lock(places.lock).references)


def _target(config: Config) -> tuple[str, tuple[str, ...]]:
    registry = config.site.registry
    host = registry.host.rpartition("://")[2].rstrip("/")
    target = f"{host}/{registry.prefix.strip('/')}".rstrip("/")
    return target, ("--to", target, *(() if registry.mapping == "prefix" else ("--mapping", registry.mapping)))


def fingerprint(parts: Iterable[str | os.PathLike[str]], *words: str) -> str:
    """The SHA-256 of the contents of files, in order, and of words. A file that is not there counts as such."""
    hasher = hashlib.sha256()
    for path in parts:
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            digest = "absent"
        except OSError as error:
            raise UnreachableError("io-failed", error.strerror or "it cannot be read", where=str(path)) from error
        hasher.update(f"{digest}\n".encode())
    hasher.update(json.dumps(words).encode())
    return hasher.hexdigest()


def listing(directory: Path) -> list[Path]:
    """What lies beside the volumes of a bundle: the checksums stand for these."""
    return sorted(path for path in directory.glob("*") if path.is_file() and ".isv" not in path.name)


def load_state(workspace: Path) -> State:
    """What is remembered; nothing, where there is nothing or it cannot be understood."""
    try:
        return msgspec.json.decode((workspace / STATE).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return State()


def save_state(workspace: Path, state: State) -> None:
    """Remember, at once or not at all; raises UnreachableError `io-failed`."""
    path = workspace / STATE
    temporary = path.with_name(f".{STATE}.partial")
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        raise UnreachableError("io-failed", error.strerror or "it cannot be written", where=str(path)) from error


def of_inventory(inventory: Inventory, *words: str) -> str:
    """The fingerprint of an inventory and of words."""
    return hashlib.sha256(msgspec.json.encode([inventory, words], enc_hook=str)).hexdigest()
