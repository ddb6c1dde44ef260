"""A rehearsal from beginning to end: build the world, pull and fetch everything, try entry points, take it away.

Not here: each of those.
"""

import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.inventory.lock import LockEntry
from isthmus.oci import Platform, Reference
from isthmus.progress import Progress, silent
from isthmus.rehearse import fetching, traces
from isthmus.rehearse.egress import sum_up
from isthmus.rehearse.network import SITE_ADDRESS, ClosedNetwork, Namespace, closed_network
from isthmus.rehearse.node import Node, running_node
from isthmus.rehearse.programs import require
from isthmus.rehearse.result import Failure, RehearsalResult
from isthmus.rehearse.site import RunningSite, running_site
from isthmus.site.containerd import configure as containerd_part
from isthmus.site.output import write_files
from isthmus.site.plan import Site

PROGRAMS = ("ip", "nsenter", "unshare", "setpriv", "containerd", "ctr", "runc")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Options:
    """`seconds` is how long an entry point runs; 0 starts none. `sink`: see `names.NameServer`."""

    jobs: int = 4
    seconds: float = 0.0
    sink: bool = True
    pull_timeout: float = 600.0


def rehearse(
    site: Site, store: Path, options: Options = Options(), progress: Progress = silent
) -> RehearsalResult:
    """Rehearse the lock of a site with the content of a store.

    Raises UsageError: `missing-program`, `wrong-usage` where the machine does not allow it; UnreachableError
    `program-failed` where the world itself does not work. What could not be pulled is in the result.
    """
    require(*PROGRAMS)
    traces.clean()
    started = time.monotonic()
    directory = traces.scratch_directory()
    resolver = directory / "resolv.conf"
    resolver.write_text(f"nameserver {SITE_ADDRESS}\noptions timeout:2 attempts:2\n", encoding="utf-8")
    try:
        with (
            closed_network(str(resolver)) as network,
            running_site(site, store, network, directory, sink=options.sink) as running,
        ):
            world = _World(network, running, directory, resolver, options, progress)
            return world.rehearse(started)
    finally:
        traces.remove_directory(directory)


class _World:
    """What the steps share."""

    def __init__(
        self,
        network: ClosedNetwork,
        running: RunningSite,
        directory: Path,
        resolver: Path,
        options: Options,
        progress: Progress,
    ) -> None:
        self._network = network
        self._running = running
        self._directory = directory
        self._resolver = resolver
        self._options = options
        self._progress = progress
        self._images: dict[str, str] = {}
        self._failed: list[Failure] = []
        self._notes: list[str] = []

    def rehearse(self, started: float) -> RehearsalResult:
        site = self._running.site
        mine, others = _for_this_machine(site.entries)
        if others:
            self._notes.append(
                f"{len(others)} images are for other machines than this one and were not pulled: "
                + ", ".join(entry.name for entry in others[:5])
            )
        things = [entry for entry in site.entries if entry.kind != "image"]
        total = len(mine) * (2 if self._options.seconds else 1) + len(things)
        self._progress(0, total, "rehearse")
        certs = self._directory / "site" / "containerd" / "certs.d"
        write_files(containerd_part(site).files, self._directory / "site")
        with running_node(self._directory, self._network.node, certs) as node:
            pulled = self._pull(node, mine, total)
            started_images = self._try(node, pulled, len(mine), total) if self._options.seconds else 0
        fetched = self._fetch(things)
        self._progress(total, total, "rehearse")
        decided = site.config.platform.decide
        return RehearsalResult(
            pulled=len(pulled),
            fetched=fetched,
            started=started_images,
            failed=tuple(sorted(self._failed)),
            egress=sum_up(self._running.attempts, self._images, decided),
            notes=tuple(self._notes),
            seconds=time.monotonic() - started,
        )

    def _pull(self, node: Node, entries: Sequence[LockEntry], total: int) -> list[LockEntry]:
        self._notes.append(f"pulled by {node.client} through the generated hosts.toml")

        def pull(entry: LockEntry) -> LockEntry | None:
            try:
                node.pull(entry.name, timeout=self._options.pull_timeout)
            except IsthmusError as error:
                self._failed.append(Failure(entry.name, _last(error.message)))
                return None
            digest = node.digest(entry.name)
            if digest and digest != str(entry.digest):
                self._failed.append(Failure(entry.name, f"the site has {digest} instead of {entry.digest}"))
                return None
            return entry

        done = []
        with ThreadPoolExecutor(self._options.jobs, thread_name_prefix="isthmus-pull") as pool:
            for number, entry in enumerate(pool.map(pull, entries), start=1):
                self._progress(number, total, "rehearse")
                if entry is not None:
                    done.append(entry)
        return done

    def _try(self, node: Node, entries: Sequence[LockEntry], before: int, total: int) -> int:
        """Entry points, each with a network of its own; returns how many started."""
        prepared = [(entry, self._program(entry.name)) for entry in entries]

        def run(item: tuple[LockEntry, Namespace]) -> str:
            entry, program = item
            return node.try_entry_point(entry.name, program, self._resolver, self._options.seconds)

        count = 0
        with ThreadPoolExecutor(self._options.jobs, thread_name_prefix="isthmus-try") as pool:
            for number, ((entry, program), why) in enumerate(
                zip(prepared, pool.map(run, prepared), strict=True), 1
            ):
                self._progress(before + number, total, "rehearse")
                if why:
                    self._notes.append(f"{entry.name} did not start: {why}")
                count += not why
                self._network.remove(program)
        return count

    def _program(self, image: str) -> Namespace:
        program = self._network.program()
        inode = Path(program.path).stat().st_ino
        for address in (program.address, program.address_6):
            self._images[address] = image
            (self._running.programs / address).write_text(str(inode), encoding="ascii")
        return program

    def _fetch(self, entries: Sequence[LockEntry]) -> int:
        """Files, charts, artifacts: fetched from the node's side; returns how many were right."""
        if not entries:
            return 0
        items = [{"name": entry.name, "parts": _parts(entry, self._running)} for entry in entries]
        settings = self._directory / "fetch.json"
        settings.write_text(json.dumps({"items": items}), encoding="utf-8")
        words = [sys.executable, "-I", "-m", "isthmus.rehearse.fetching", str(settings)]
        if self._running.site.ca is not None:
            trust = self._directory / "ca.pem"
            trust.write_bytes(self._running.site.ca)
            words = ["env", f"SSL_CERT_FILE={trust}", *words]
        right = 0
        for line in self._network.node.output(*words, timeout=3600).splitlines():
            found = json.loads(line)
            right += not found["why"]
            if found["why"]:
                self._failed.append(Failure(found["name"], found["why"]))
        return right


def _parts(entry: LockEntry, running: RunningSite) -> list[dict[str, Any]]:
    if entry.serve and entry.contents:
        paths = (
            (entry.serve if entry.kind == "file" else f"{entry.serve}/{part.path}", part)
            for part in entry.contents
        )
        return [fetching.file_part(running.files_url, path, str(part.digest)) for path, part in paths]
    repository = running.site.mapping.repository(Reference.parse(entry.stored_name))
    return [fetching.manifest_part(running.site.registry, repository, str(entry.digest))]


def _for_this_machine(entries: Iterable[LockEntry]) -> tuple[list[LockEntry], list[LockEntry]]:
    mine: list[LockEntry] = []
    others: list[LockEntry] = []
    machine = _MACHINES.get(platform.machine(), platform.machine())
    for entry in entries:
        if entry.kind != "image":
            continue
        architectures = {Platform.parse(text).architecture for text in entry.platforms}
        fits = not architectures or machine.partition("/")[0] in architectures
        (mine if fits else others).append(entry)
    return mine, others


def _last(message: str) -> str:
    """The last line that says something: containerd repeats the whole way to it before."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "it could not be pulled").strip()[:500]
