"""The site of a rehearsal: our registry and file server under the site's own name and a certificate of the day.

Not here: the network, and the node.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isthmus.rehearse import relay
from isthmus.rehearse.network import FILES_ADDRESS, SITE_ADDRESS, ClosedNetwork, networks
from isthmus.rehearse.programs import Program, output
from isthmus.site.addresses import host_and_port, is_address
from isthmus.site.dns.records import records
from isthmus.site.pki.authority import Authority, Settings
from isthmus.site.plan import Site

_FILES_PORT = 8080
_UNUSED = 65000
FILES_HOST = "files.rehearsal.internal"


@dataclass
class RunningSite:
    """What runs: `site` has the day's certificate authority, `files_url` is where everything but images is."""

    site: Site
    files_url: str
    programs: Path
    attempts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Real:
    """Servers that are already running, as URLs by which this machine reaches them; nothing for our own."""

    registry: str = ""
    files: str = ""


@contextmanager
def running_site(
    site: Site, store: Path | None, network: ClosedNetwork, directory: Path, *, sink: bool, real: Real = Real()
) -> Iterator[RunningSite]:
    """Start recorder, registry and file server, or relays to real ones.

    Raises UnreachableError `program-failed`.
    """
    host, port = host_and_port(site.registry)
    plain = site.files_url.startswith("http://")
    ours = site.files_url if plain else f"http://{FILES_HOST}:{_FILES_PORT}"
    files_url = (site.files_url or real.files) if real.files else ours
    files_host, files_port = host_and_port(files_url)
    programs = directory / "programs"
    programs.mkdir()
    with ExitStack() as stack:
        running = RunningSite(site, files_url, programs)
        names = {record.name: SITE_ADDRESS for record in records(site) if not record.is_wildcard}
        names |= {name: SITE_ADDRESS for name in (host, files_host) if not is_address(name)}
        routes = []
        if real.registry:
            place = _place(host, SITE_ADDRESS, network)
            routes.append(relay.route(place, port, host_and_port(real.registry)))
        if real.files and (files_host, files_port) != (host, port):
            place = SITE_ADDRESS if files_host == host else _place(files_host, FILES_ADDRESS, network)
            names |= {files_host: place} if files_host != host else {}
            routes.append(relay.route(place, files_port, host_and_port(real.files)))
        _record(running, names, network, directory, stack, sink=sink)
        if routes:
            _relay(routes, network, directory, stack)
        if store is not None and not (real.registry and real.files):
            _serve(running, store, network, directory, stack, files_port, real)
        yield running


def _place(host: str, usual: str, network: ClosedNetwork) -> str:
    """Where the site has that server: at `usual`, or at its own address where the nodes know it by that."""
    place = host if is_address(host) else usual
    if place != SITE_ADDRESS:
        bits = 128 if ":" in place else 32
        output("ip", "-n", network.site.name, "address", "add", f"{place}/{bits}", "dev", "site0")
    return place


def _relay(routes: list[dict[str, Any]], network: ClosedNetwork, directory: Path, stack: ExitStack) -> None:
    path = directory / "relay.json"
    path.write_text(json.dumps({"namespace": network.site.path, "routes": routes}), encoding="utf-8")
    program = Program([sys.executable, "-P", "-m", "isthmus.rehearse.relay", str(path)], directory / "relay.log")
    stack.callback(program.stop)
    ports = [route["listen"][1] for route in routes]
    program.wait_until(lambda: _listens(network, *ports))


def _serve(
    running: RunningSite,
    store: Path,
    network: ClosedNetwork,
    directory: Path,
    stack: ExitStack,
    files_port: int,
    real: Real,
) -> None:
    """What is not real: the registry, the file server, or both (the other is then where nobody asks)."""
    site = running.site
    host, port = host_and_port(site.registry)
    port = _UNUSED if real.registry else port
    files_port = _UNUSED if real.files else files_port
    command = [sys.executable, "-m", "isthmus", "serve", "--store", str(store.absolute())]
    command += ["--listen", f"{SITE_ADDRESS}:{port}", "--files", f"http://{SITE_ADDRESS}:{files_port}"]
    command += ["--no-console", "--mapping", site.mapping.mapping, "--prefix", site.mapping.prefix]
    if site.registry.startswith("https://") and not real.registry:
        authority = Authority(directory / "pki", Settings("rehearsal"))
        authority.create()
        place = authority.issue("registry", [host])
        command += ["--tls-cert", str(place / "tls.crt"), "--tls-key", str(place / "tls.key")]
        running.site = replace(site, ca=authority.trust.read_bytes(), ca_path="", skip_verify=False)
    served = Program(command, directory / "serve.log", network.site.enter)
    stack.callback(served.stop)
    served.wait_until(lambda: _listens(network, port, files_port))


def _record(
    running: RunningSite,
    names: dict[str, str],
    network: ClosedNetwork,
    directory: Path,
    stack: ExitStack,
    *,
    sink: bool,
) -> None:
    settings = {
        "address": SITE_ADDRESS,
        "device": "site0",
        "networks": networks(),
        "programs": str(running.programs),
        "records": names,
        "sink": sink,
    }
    path = directory / "recorder.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "isthmus.rehearse.recorder", str(path)]
    recorder = Program(command, directory / "recorder.log", network.site.enter, stdout=subprocess.PIPE)
    stack.callback(recorder.stop)
    lines = recorder.process.stdout
    assert lines is not None
    ready = threading.Event()

    def read() -> None:
        for line in lines:
            document = json.loads(line)
            if document.pop("ready", False):
                ready.set()
            else:
                running.attempts.append(document)

    threading.Thread(target=read, name="isthmus-recorder", daemon=True).start()
    recorder.wait_until(lambda: ready.is_set() or None)


def _listens(network: ClosedNetwork, *ports: int) -> bool | None:
    listening = network.site.output("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :").splitlines()
    heard = {words[1].rpartition(":")[2] for line in listening if (words := line.split())[3:4] == ["0A"]}
    return True if all(f"{port:04X}" in heard for port in ports) else None
