"""A load generator that is not the bottleneck: python -I -S bench/serve_load.py reads a JSON job, answers in JSON.

`blobs`: so many connections take one blob after the other, each in a thread; bytes are dropped (without TLS by
`MSG_TRUNC`, which copies nothing). `manifests`: GETs at a fixed rate on connections of their own, whose latencies
count from when each was due. Not here: servers, and what the numbers mean (`serve`).
"""

import json
import socket
import ssl
import sys
import threading
import time
from typing import Any

BUFFER = 1024 * 1024


class Connection:
    """One HTTP/1.1 connection that is kept."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._host, self._port = job["host"], job["port"]
        self._context = None
        if job.get("ca"):
            self._context = ssl.create_default_context(cafile=job["ca"])
        self._socket: socket.socket | None = None

    def get(self, path: str, buffer: memoryview) -> int:
        """The bytes of the body; raises RuntimeError for anything but 200."""
        if self._socket is None:
            raw = socket.create_connection((self._host, self._port), timeout=60)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._context.wrap_socket(raw, server_hostname=self._host) if self._context else raw
        sock = self._socket
        accept = "application/vnd.oci.image.manifest.v1+json, application/octet-stream, */*"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {accept}\r\n\r\n".encode())
        head = bytearray()
        while b"\r\n\r\n" not in head:
            count = sock.recv_into(buffer[:65536])
            if not count:
                raise RuntimeError("closed")
            head += buffer[:count]
        lines, _, body = bytes(head).partition(b"\r\n\r\n")
        if not lines.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(lines[:200].decode("latin-1"))
        length = next(
            int(line[15:]) for line in lines.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        left = length - len(body)
        while left > 0:
            if self._context is None:
                count = sock.recv_into(buffer, min(left, BUFFER), socket.MSG_TRUNC)
            else:
                count = sock.recv_into(buffer, min(left, BUFFER))
            if not count:
                raise RuntimeError("cut off")
            left -= count
        return length


def pull(job: dict[str, Any], paths: list[str], result: dict[str, Any]) -> None:
    """Take these blobs, one after the other; where the job has `seconds`, again and again for so long."""
    connection, buffer = Connection(job), memoryview(bytearray(BUFFER))
    until = time.perf_counter() + job.get("seconds", 0)
    try:
        while True:
            for path in paths:
                result["bytes"] += connection.get(path, buffer)
            if time.perf_counter() >= until:
                return
    except (OSError, RuntimeError, StopIteration) as error:
        result["errors"].append(str(error)[:200])


def ask(job: dict[str, Any], number: int, stop: threading.Event, result: dict[str, Any]) -> None:
    """Ask for manifests at this thread's share of the rate until `stop`."""
    connection, buffer = Connection(job), memoryview(bytearray(BUFFER))
    step = job["threads"] / job["rate"]
    due = time.perf_counter() + step * number / job["threads"]
    paths = job["manifests"]
    turn = number
    while not stop.is_set():
        now = time.perf_counter()
        if due > now:
            time.sleep(due - now)
        try:
            connection.get(paths[turn % len(paths)], buffer)
        except (OSError, RuntimeError, StopIteration) as error:
            result["errors"].append(str(error)[:200])
            return
        turn += 1
        result["seconds"].append(time.perf_counter() - due)
        due += step


def main() -> int:
    """Run a job."""
    job = json.load(sys.stdin)
    results: list[dict[str, Any]] = []
    stop = threading.Event()
    threads = []
    if job["kind"] == "blobs":
        for number in range(job["threads"]):
            result = {"bytes": 0, "errors": []}
            results.append(result)
            threads.append(
                threading.Thread(target=pull, args=(job, job["paths"][number :: job["threads"]], result))
            )
    else:
        for number in range(job["threads"]):
            result = {"seconds": [], "errors": []}
            results.append(result)
            threads.append(threading.Thread(target=ask, args=(job, number, stop, result), daemon=True))
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    if job["kind"] == "manifests":
        sys.stdin.close()
        time.sleep(job["seconds"])
        stop.set()
    for thread in threads:
        thread.join(120 + job.get("seconds", 0))
    json.dump({"wall": time.perf_counter() - start, "results": results}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
