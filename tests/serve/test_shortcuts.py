"""Answers that are given again without being made again: they must always be what the long way would say."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.serve import Listen, ServerThread
from isthmus.serve import shortcuts as module
from isthmus.serve.turns import AT_ONCE, Turns, read_cached
from isthmus.store import Store, StoredReference
from tests.serve.conftest import Client, fill

PAUSE = "/v2/mirror/registry.k8s.io/pause/manifests/3.10"
HEAD_LINES = b" HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every answer that took the short way."""
    answers: list[bytes] = []
    before = module.Shortcuts.answer

    def noting(self: module.Shortcuts, data: bytes, handler: object, remote: str) -> bytes | None:
        answer = before(self, data, handler, remote)
        if answer is not None:
            answers.append(answer)
        return answer

    monkeypatch.setattr(module.Shortcuts, "answer", noting)
    return answers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, ServerThread, Client]]:
    fill(tmp_path / "store")
    listen = Listen(writable=True, audit=tmp_path / "audit")
    thread = ServerThread(tmp_path / "store", MirrorMap(), listen)
    client = Client(thread.address)
    yield tmp_path, thread, client
    client.close()
    thread.stop()


def test_it_says_the_same(site: tuple[Path, ServerThread, Client], given: list[bytes]) -> None:
    path, _, client = site
    digest = str(Digest.of(client.get(PAUSE).body))
    by_digest = PAUSE.replace("3.10", digest)
    for target in (PAUSE, by_digest):
        for headers in ({}, {"If-None-Match": f'"{digest}"'}):
            for method in ("GET", "HEAD"):
                answers = [client.request(method, target, headers) for _ in range(4)]
                first = answers[0]
                for answer in answers:
                    assert (answer.status, answer.body) == (first.status, first.body)
                    assert sorted(answer.headers.keys()) == sorted(first.headers.keys())
                    without = [(k, v) for k, v in answer.headers.items() if k != "Date"]
                    assert sorted(without) == sorted((k, v) for k, v in first.headers.items() if k != "Date")
    assert len(given) >= 8 * 3
    lines = [json.loads(line) for line in (path / "audit").read_text().splitlines()]
    assert len(lines) == 1 + 8 * 4
    assert {line["name"] for line in lines} == {"mirror/registry.k8s.io/pause"}
    assert {line["from"] for line in lines} == {"127.0.0.1"}
    metrics = client.get("/metrics").body.decode()
    assert 'isthmus_requests_total{method="HEAD",kind="manifests",status="200"} 8' in metrics


def test_what_changes_is_seen_at_once(site: tuple[Path, ServerThread, Client], given: list[bytes]) -> None:
    path, _, client = site
    one, other = client.get(PAUSE).body, client.get(PAUSE.replace("3.10", "3.9")).body
    assert client.get(PAUSE).body == one
    assert given
    headers = {"Content-Type": json.loads(other)["mediaType"]}
    assert client.request("PUT", PAUSE, headers, other).status == 201
    again = Client(client.address)
    assert [again.get(PAUSE).body for _ in range(3)] == [other] * 3
    assert again.request("DELETE", PAUSE).status == 202
    assert [again.get(PAUSE).status for _ in range(3)] == [404] * 3
    with Store.open(path / "store") as store:  # by another process, such as unpack
        manifest = store.manifest_by_digest(Digest.of(one))
        store.set_references([StoredReference("registry.k8s.io/pause:3.10", manifest.descriptor())])
    assert [again.get(PAUSE).body for _ in range(3)] == [one] * 3
    assert again.request("DELETE", PAUSE.replace("3.10", str(Digest.of(one)))).status == 202
    assert again.get(PAUSE.replace("3.10", str(Digest.of(one)))).status == 404
    again.close()


def test_order_holds_for_pipelined_and_cut_requests(
    site: tuple[Path, ServerThread, Client], given: list[bytes]
) -> None:
    _, thread, client = site
    tag = b"GET " + PAUSE.encode() + HEAD_LINES
    ping = b"GET /v2/" + HEAD_LINES
    body = client.get(PAUSE).body
    host, _, port = thread.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock, sock.makefile("rb") as stream:

        def answer() -> bytes:
            assert stream.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            return stream.read(length)

        for _ in range(3):
            sock.sendall(tag)
            assert answer() == body
        assert len(given) == 2
        for _ in range(50):  # one after the other without waiting, in pieces of their own
            sock.sendall(ping)
            sock.sendall(tag)
        assert [answer() for _ in range(100)] == [b"{}", body] * 50
        sock.sendall(ping[:20])
        sock.sendall(ping[20:] + tag)
        sock.sendall(tag)
        assert [answer() for _ in range(3)] == [b"{}", body, body]
        before = len(given)
        sock.sendall(tag)  # after half a request, this connection goes the long way for good
        assert answer() == body
        assert len(given) == before


def test_users_always_go_the_long_way(tmp_path: Path, given: list[bytes]) -> None:
    fill(tmp_path / "store")
    users = tmp_path / "users"
    users.write_text("user:$2y$04$jza5UQLflduAl4ZGYDs88.WRLsdMuYx6WVdPF5aLxqZ80.UfswQDO\n")
    thread = ServerThread(tmp_path / "store", MirrorMap(), Listen(auth=users))
    client = Client(thread.address)
    for _ in range(3):
        assert client.get(PAUSE, Authorization="Basic dXNlcjpzZWNyZXQ=").status == 200
        assert client.get(PAUSE).status == 401
    assert given == []
    client.close()
    thread.stop()


def test_a_request_with_a_body_is_never_taken_for_one_without() -> None:
    whole = module._is_whole
    assert whole(b"GET /v2/" + HEAD_LINES)
    assert whole(b"HEAD /v2/" + HEAD_LINES)
    for data in (
        b"GET /v2/ HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\ntransfer-Encoding: chunked\r\n\r\n",
        b"GET /v2/" + HEAD_LINES * 2,
        b"GET /v2/" + HEAD_LINES[:-1],
        b"GET /v2/ HTTP/1.1\r\nA: b\n\nGET /v2/" + HEAD_LINES,
        b"PUT /v2/" + HEAD_LINES,
        b"",
    ):
        assert not whole(data), data


def test_turns_are_few_at_once_and_first_come_first_served() -> None:
    async def run() -> None:
        turns, order, ticks = Turns(), [], 0

        async def piece(number: int) -> None:
            await turns.wait()
            order.append((ticks, number))

        tasks = [asyncio.create_task(piece(number)) for number in range(5 * AT_ONCE)]
        tasks[AT_ONCE + 1].cancel()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            ticks += 1
        numbers = [number for _, number in order]
        assert numbers == sorted(numbers)
        assert len(numbers) == 5 * AT_ONCE - 1
        for tick in range(ticks):
            assert sum(1 for one, _ in order if one == tick) <= AT_ONCE

    asyncio.run(run())


def test_only_what_is_in_memory_is_read_at_once() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 5000)
        file.flush()
        into = memoryview(bytearray(4000))
        assert read_cached(file.fileno(), into, 500) == (bytes(into) == b"x" * 4000)
        assert not read_cached(file.fileno(), into, 2000)
        assert os.fstat(file.fileno()).st_size == 5000
