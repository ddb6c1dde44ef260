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

from isthmus.rehearse.network import SITE_ADDRESS, ClosedNetwork, networks
from isthmus.rehearse.programs import Program
from isthmus.site.addresses import host_and_port, is_address
from isthmus.site.dns.records import records
from isthmus.site.pki.authority import Authority, Settings
from isthmus.site.plan import Site

_FILES_PORT = 8080
FILES_HOST = "files.rehearsal.internal"


@dataclass
class RunningSite:
    """What runs: `site` has the day's certificate authority, `files_url` is where everything but images is."""

    site: Site
    files_url: str
    programs: Path
    attempts: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def running_site(
    site: Site, store: Path, network: ClosedNetwork, directory: Path, *, sink: bool
) -> Iterator[RunningSite]:
    """Start recorder, registry and file server; raises UnreachableError `program-failed`."""
    host, port = host_and_port(site.registry)
    secure = site.registry.startswith("https://")
    files_url = site.files_url if site.files_url.startswith("http://") else f"http://{FILES_HOST}:{_FILES_PORT}"
    files_host, files_port = host_and_port(files_url)
    programs = directory / "programs"
    programs.mkdir()
    with ExitStack() as stack:
        running = RunningSite(site, files_url, programs)
        names = {record.name: SITE_ADDRESS for record in records(site) if not record.is_wildcard}
        names |= {name: SITE_ADDRESS for name in (host, files_host) if not is_address(name)}
        _record(running, names, network, directory, stack, sink=sink)
        command = [sys.executable, "-m", "isthmus", "serve", "--store", str(store.absolute())]
        command += [
            "--listen",
            f"{SITE_ADDRESS}:{port}",
            "--files",
            f"http://{SITE_ADDRESS}:{files_port}",
            "--no-console",
        ]
        command += ["--mapping", site.mapping.mapping, "--prefix", site.mapping.prefix]
        if secure:
            authority = Authority(directory / "pki", Settings("rehearsal"))
            authority.create()
            place = authority.issue("registry", [host])
            command += ["--tls-cert", str(place / "tls.crt"), "--tls-key", str(place / "tls.key")]
            running.site = replace(site, ca=authority.trust.read_bytes(), ca_path="", skip_verify=False)
        served = Program(command, directory / "serve.log", network.site.enter)
        stack.callback(served.stop)
        served.wait_until(lambda: _listens(network, port, files_port))
        yield running


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
    command = [sys.executable, "-I", "-m", "isthmus.rehearse.recorder", str(path)]
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
    listening = network.site.output("cat", "/proc/net/tcp")
    return True if all(f":{port:04X} 00000000:0000 0A" in listening for port in ports) else None
