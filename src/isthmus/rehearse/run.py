"""A rehearsal from beginning to end: build the world, pull and fetch everything, try entry points, take it away.

Not here: each of those.
"""

import json
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
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
from isthmus.rehearse.node import running_node
from isthmus.rehearse.podman import running_podman
from isthmus.rehearse.programs import require, stoppable
from isthmus.rehearse.result import Failure, RehearsalResult
from isthmus.rehearse.runtime import Runtime, last_line
from isthmus.rehearse.site import Real, RunningSite, running_site
from isthmus.site.containerd import configure as containerd_part
from isthmus.site.output import write_files
from isthmus.site.plan import Site
from isthmus.site.podman import FILE as REGISTRIES_CONF
from isthmus.site.podman import configure as podman_part

PROGRAMS = ("ip", "nsenter", "unshare", "setpriv", "runc")
_RUNTIMES = {"containerd": ("containerd", "ctr"), "podman": ("podman",)}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "ppc64le": "ppc64le", "s390x": "s390x"}


_NOTHING_REAL = Real()


@dataclass(frozen=True)
class Options:
    """`seconds` is how long an entry point runs; 0 starts none. `sink`: see `names.NameServer`.

    `runtime` is containerd or podman; `scratch` is where images are unpacked, and with `discard` each is removed
    when it was seen.
    """

    jobs: int = 4
    seconds: float = 0.0
    sink: bool = True
    pull_timeout: float = 600.0
    runtime: str = "containerd"
    scratch: Path | None = None
    discard: bool = False
    real: Real = _NOTHING_REAL


def rehearse(
    site: Site, store: Path | None, options: Options = Options(), progress: Progress = silent
) -> RehearsalResult:
    """Rehearse the lock of a site with the content of a store, or with real servers.

    Raises UsageError: `missing-program`, `wrong-usage` where the machine does not allow it; UnreachableError
    `program-failed` where the world itself does not work. What could not be pulled is in the result.
    """
    require(*PROGRAMS, *_RUNTIMES[options.runtime])
    traces.clean(options.scratch)
    started = time.monotonic()
    with stoppable(), ExitStack() as stack:
        directory = traces.own_directory()
        stack.callback(traces.remove_directory, directory)
        content = directory
        if options.scratch is not None:
            content = traces.scratch_directory(options.scratch)
            stack.callback(traces.remove_directory, content)
        pools: list[ThreadPoolExecutor] = []
        stack.callback(_settle, pools)
        return _rehearse(site, store, options, progress, directory, content, pools, started)


def _settle(pools: Iterable[ThreadPoolExecutor]) -> None:
    """When we were stopped, what was under way ends now that its containerd and namespaces are gone."""
    for pool in pools:
        pool.shutdown(wait=True, cancel_futures=True)
    traces.end_containers(traces.run_name())


def _rehearse(
    site: Site,
    store: Path | None,
    options: Options,
    progress: Progress,
    directory: Path,
    content: Path,
    pools: list[ThreadPoolExecutor],
    started: float,
) -> RehearsalResult:
    resolver = directory / "resolv.conf"
    resolver.write_text(f"nameserver {SITE_ADDRESS}\noptions timeout:3 attempts:4\n", encoding="utf-8")
    resolver.with_name("hosts").write_text("127.0.0.1 localhost\n::1 localhost\n", encoding="utf-8")
    with (
        closed_network(str(resolver)) as network,
        running_site(site, store, network, directory, sink=options.sink, real=options.real) as running,
    ):
        world = _World(network, running, directory, content, resolver, options, progress, pools)
        return world.rehearse(started)


class _World:
    """What the steps share."""

    def __init__(
        self,
        network: ClosedNetwork,
        running: RunningSite,
        directory: Path,
        content: Path,
        resolver: Path,
        options: Options,
        progress: Progress,
        pools: list[ThreadPoolExecutor],
    ) -> None:
        self._network = network
        self._running = running
        self._directory = directory
        self._content = content
        self._pools = pools
        self._resolver = resolver
        self._options = options
        self._progress = progress
        self._images: dict[str, str] = {}
        self._failed: list[Failure] = []
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self._pulled = 0
        self._started = 0

    def rehearse(self, started: float) -> RehearsalResult:
        site = self._running.site
        mine, others = _for_this_machine(site.entries)
        if others:
            self._notes.append(
                f"{len(others)} images are for other machines than this one and were not pulled: "
                + ", ".join(entry.name for entry in others[:5])
            )
        things = [entry for entry in site.entries if entry.kind != "image"]
        total = len(mine) * self._steps + len(things)
        self._progress(0, total, "rehearse")
        with self._runtime() as node:
            self._notes.append(f"pulled by {node.client}")
            self._see_all(node, mine, total)
        fetched = self._fetch(things)
        self._progress(total, total, "rehearse")
        decided = site.config.platform.decide
        return RehearsalResult(
            pulled=self._pulled,
            fetched=fetched,
            started=self._started,
            failed=tuple(sorted(self._failed)),
            egress=sum_up(self._running.attempts, self._images, decided),
            notes=tuple(self._notes),
            seconds=time.monotonic() - started,
        )

    def _runtime(self) -> AbstractContextManager[Runtime]:
        """The node, with what `configure` writes for its runtime."""
        site, place = self._running.site, self._directory / "site"
        if self._options.runtime == "podman":
            write_files(podman_part(site).files, place)
            certs = place / "crio" / "certs.d"
            config = place / "crio" / "registries.conf.d" / REGISTRIES_CONF
            trust = certs if certs.is_dir() else None
            jobs = self._options.jobs
            return running_podman(self._directory, self._content, self._network.node, config, trust, jobs)
        write_files(containerd_part(site).files, place)
        certs = place / "containerd" / "certs.d"
        return running_node(self._directory, self._content, self._network.node, certs, self._options.jobs)

    def _see_all(self, node: Runtime, entries: Sequence[LockEntry], total: int) -> None:
        """First all pulls and then all entry points, which may keep the machine busy; or image by image."""
        if self._options.discard:
            came = self._each(lambda entry: self._see(node, entry), entries, 0, total, self._steps)
            self._see_again(node, [entry for entry in entries if entry not in came])
            return
        came = self._each(lambda entry: self._pull(node, entry), entries, 0, total)
        if self._options.seconds:
            self._each(lambda entry: self._try(node, entry), came, len(entries), total)

    def _see_again(self, node: Runtime, entries: Sequence[LockEntry]) -> None:
        """What did not come while entry points of others kept the machine busy, once more, one by one."""
        names = {entry.name for entry in entries}
        self._failed = [failure for failure in self._failed if failure.name not in names]
        for entry in entries:
            self._see(node, entry)

    @property
    def _steps(self) -> int:
        return 2 if self._options.seconds else 1

    def _each(
        self,
        step: Callable[[LockEntry], bool],
        entries: Sequence[LockEntry],
        done: int,
        total: int,
        weight: int = 1,
    ) -> list[LockEntry]:
        """Take a step with each, several at once; returns those with which it went well."""
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="isthmus-image")
        self._pools.append(pool)
        well = []
        try:
            for number, (entry, fine) in enumerate(zip(entries, pool.map(step, entries), strict=True), 1):
                self._progress(done + number * weight, total, "rehearse")
                if fine:
                    well.append(entry)
        finally:
            pool.shutdown(wait=sys.exc_info()[0] is None, cancel_futures=True)
        return well

    def _see(self, node: Runtime, entry: LockEntry) -> bool:
        """Pull an image, try its entry point where that is wanted, and remove it."""
        came = self._pull(node, entry)
        if came and self._options.seconds:
            self._try(node, entry)
        node.discard(entry.name)
        return came

    def _pull(self, node: Runtime, entry: LockEntry) -> bool:
        """Whether it came as the lock has it; if not, the result says so."""
        try:
            node.pull(entry.name, timeout=self._options.pull_timeout)
            digest = node.digest(entry.name)
            why = ""
        except IsthmusError as error:
            digest, why = "", last_line(error.message) or "it could not be pulled"
        expected = {str(entry.digest)} | ({str(entry.stand_in)} if "@" not in entry.name else set())
        if digest and expected.isdisjoint(digest.split()):
            why = f"the site has {digest} instead of {entry.digest}"
        with self._lock:
            if why:
                self._failed.append(Failure(entry.name, why))
            self._pulled += not why
        return not why

    def _try(self, node: Runtime, entry: LockEntry) -> bool:
        """Whether the entry point started, in a network of its own; if not, a note says so."""
        program = self._program(entry.name)
        why = node.try_entry_point(entry.name, program, self._resolver, self._options.seconds)
        self._network.remove(program)
        with self._lock:
            if why:
                self._notes.append(f"{entry.name} did not start: {why}")
            self._started += not why
        return not why

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
        words = [sys.executable, "-P", "-m", "isthmus.rehearse.fetching", str(settings)]
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
