"""Servers under load, each filled with the same blobs: ours, Debian's docker-registry, Distribution 3, and nginx.

nginx serves the very files of our store, and is the limit of what a server can do; the others are filled by
pushes. Not here: the load (`serve_load`), and measuring (`serve`).
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.oci import Descriptor, Digest, parse_manifest
from isthmus.store import Store, StoredReference
from tests.real import docker_registry, go_tools
from tests.real.docker_registry import Tls
from tests.real.programs import Program

NAME = "bench/app"
OCI = "application/vnd.oci.image.manifest.v1+json"
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Content:
    """Blobs by digest in a store, and manifests by digest, each of which is small."""

    store: Path
    blobs: Sequence[tuple[str, int]]
    manifests: Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Server:
    """A running one. `pid` is that of the process whose children count too."""

    host: str
    port: int
    pid: int
    blobs: Sequence[str]
    manifests: Sequence[str]


def make_content(place: Path, count: int, size: int, manifests: int) -> Content:
    """A store with `count` blobs of `size` bytes, in so many manifests."""
    store = place / "store"
    blobs, raws = [], []
    with Store.create(store) as held:
        config = _put(held, b"{}")
        piece = os.urandom(CHUNK)
        for number in range(count):
            data = number.to_bytes(8) + (piece * (size // CHUNK + 1))[: size - 8]
            blobs.append((_put(held, data), size))
        references = []
        for number in range(manifests):
            layers = [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": length}
                for digest, length in blobs[number % count :: manifests]
            ]
            raw = json.dumps({
                "schemaVersion": 2, "mediaType": OCI, "annotations": {"number": str(number)},
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
                "layers": layers,
            }).encode()  # fmt: skip
            manifest = parse_manifest(raw)
            held.put_manifest(NAME, manifest)
            raws.append((str(manifest.digest), raw))
            references.append(StoredReference(f"localhost/{NAME}:{number}", manifest.descriptor()))
        held.set_references(references)
    return Content(store, blobs, raws)


def _put(store: Store, data: bytes) -> str:
    blob = Descriptor("application/octet-stream", Digest.of(data), len(data))
    with store.write_blob("", blob) as writer:
        writer.write(memoryview(data)[writer.offset :])
        writer.commit()
    return str(blob.digest)


def _paths(content: Content) -> tuple[list[str], list[str]]:
    blobs = [f"/v2/{NAME}/blobs/{digest}" for digest, _ in content.blobs]
    return blobs, [f"/v2/{NAME}/manifests/{digest}" for digest, _ in content.manifests]


@contextlib.contextmanager
def isthmus(content: Content, place: Path, tls: Tls | None, *options: str) -> Iterator[Server]:
    """Ours, as many workers as there are cores."""
    command = [sys.executable, "-m", "isthmus", "serve", "--store", str(content.store), "--listen", "127.0.0.1:0"]
    command += ["--no-console", *options]
    command += ["--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)] if tls else []
    log = place / "isthmus.log"
    program = Program(command, log)
    try:
        port = program.wait_until(lambda: _said(log, r"at https?://127\.0\.0\.1:(\d+); Ctrl-C"))
        yield Server("127.0.0.1", int(port), program.pid, *_paths(content))
    finally:
        program.stop()


@contextlib.contextmanager
def debian(content: Content, place: Path, tls: Tls | None) -> Iterator[Server]:
    """Debian's docker-registry (Distribution 2.8)."""
    registry = docker_registry.start(place / "docker-registry", tls=tls)
    try:
        push(content, registry.port, tls)
        yield Server("127.0.0.1", registry.port, registry.pid, *_paths(content))
    finally:
        registry.stop()


@contextlib.contextmanager
def distribution(content: Content, place: Path, tls: Tls | None) -> Iterator[Server]:
    """Distribution 3, where it was built."""
    binary = go_tools.REGISTRY_3.built()
    assert binary is not None
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(place / "registry-3")}},
        "http": {"addr": "127.0.0.1:0", "secret": "not-secret"}
        | ({"tls": {"certificate": str(tls.certificate), "key": str(tls.key)}} if tls else {}),
    }
    port = _free_port()
    config["http"]["addr"] = f"127.0.0.1:{port}"  # type: ignore[index]
    path = place / "registry-3.yml"
    path.write_text(json.dumps(config))
    program = Program([str(binary), "serve", str(path)], place / "registry-3.log")
    try:
        program.wait_until(lambda: _answers(port, tls))
        push(content, port, tls)
        yield Server("127.0.0.1", port, program.pid, *_paths(content))
    finally:
        program.stop()


@contextlib.contextmanager
def nginx(content: Content, place: Path, tls: Tls | None) -> Iterator[Server]:
    """The limit: the store's files as they lie there."""
    port = _free_port()
    secure = f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};" if tls else ""
    config = place / "nginx.conf"
    user = "user root; " if os.geteuid() == 0 else ""
    config.write_text(f"""{user}daemon off; worker_processes auto; pid {place}/nginx.pid;
        error_log {place}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
          server {{ listen 127.0.0.1:{port} {"ssl" if tls else ""}; {secure} root {content.store}/blobs; }} }}""")
    program = Program(["nginx", "-p", str(place), "-c", str(config)], place / "nginx.out")
    try:
        program.wait_until(lambda: _answers(port, tls))
        yield Server(
            "127.0.0.1", port, program.pid,
            ["/" + digest.replace(":", "/") for digest, _ in content.blobs],
            ["/" + digest.replace(":", "/") for digest, _ in content.manifests],
        )  # fmt: skip
    finally:
        program.stop()


def push(content: Content, port: int, tls: Tls | None) -> None:
    """Push everything, blobs in one request each."""
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=120, context=ssl.create_default_context(cafile=str(tls.certificate))
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    config = b"{}"
    blobs = [*content.blobs, (f"sha256:{hashlib.sha256(config).hexdigest()}", 2)]
    for digest, size in blobs:
        place = _ask(connection, "POST", f"/v2/{NAME}/blobs/uploads/").partition(f":{port}")[2]
        with open(content.store / "blobs" / digest.replace(":", "/"), "rb") as file:
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            mark = "&" if "?" in place else "?"
            _ask(connection, "PUT", f"{place}{mark}digest={digest}", headers, file)
    for number, (_, raw) in enumerate(content.manifests):
        _ask(connection, "PUT", f"/v2/{NAME}/manifests/{number}", {"Content-Type": OCI}, raw)
    connection.close()


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: object = None,
) -> str:
    connection.request(method, path, body=body, headers=headers or {"Content-Length": "0"})  # type: ignore[arg-type]
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status}")
    return answer.headers.get("Location", "")


def _said(log: Path, pattern: str) -> str | None:
    match = re.search(pattern, log.read_text(errors="replace"))
    return match[1] if match else None


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _answers(port: int, tls: Tls | None) -> bool | None:
    context = ssl.create_default_context(cafile=str(tls.certificate)) if tls else None
    try:
        with urllib.request.urlopen(
            f"http{'s' if tls else ''}://127.0.0.1:{port}/v2/", timeout=2, context=context
        ):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return None
