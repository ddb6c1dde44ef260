"""Proxies: which one, and the words to it. Against small proxies that really forward (simulators)."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UnreachableError, UsageError
from isthmus.registry import connect
from isthmus.registry.endpoint import Origin
from isthmus.registry.proxy import Proxy, find_proxy, parse_proxy
from tests.registry.faults import FaultServer, Reply
from tests.registry.samples import options

OK = Reply(200, b"{}")
ENVIRONMENT = {
    "HTTPS_PROXY": "http://secure.example:1",
    "http_proxy": "plain.example",
    "ALL_PROXY": "socks5://all.example",
}


def _host_for(scheme: str, host: str, environment: dict[str, str], port: int = 443) -> str | None:
    origin = Origin("https" if scheme == "https" else "http", host, port)
    found = find_proxy(origin, None, environment)
    return found.host if found else None


def test_the_environment() -> None:
    assert _host_for("https", "quay.io", ENVIRONMENT) == "secure.example"
    assert _host_for("http", "quay.io", ENVIRONMENT) == "plain.example"
    assert _host_for("https", "quay.io", {"ALL_PROXY": "socks5://all.example"}) == "all.example"
    assert _host_for("https", "quay.io", {}) is None
    assert _host_for("https", "127.0.0.1", ENVIRONMENT) is None
    assert _host_for("https", "localhost", ENVIRONMENT) is None


@pytest.mark.parametrize(
    ("exempt", "host", "through"),
    [
        ("quay.io", "quay.io", False),
        ("quay.io", "cdn.quay.io", False),
        (".quay.io", "cdn.quay.io", False),
        ("*.quay.io", "cdn.quay.io", False),
        ("quay.io", "notquay.io", True),
        ("a, quay.io ,b", "QUAY.io", False),
        ("*", "quay.io", False),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("2001:db8::/32", "2001:db8::1", False),
        ("quay.io:443", "quay.io", False),
        ("quay.io:5000", "quay.io", True),
        ("", "quay.io", True),
    ],
)
def test_no_proxy(exempt: str, host: str, through: bool) -> None:
    assert (_host_for("https", host, {**ENVIRONMENT, "no_proxy": exempt}) is not None) is through


def test_urls() -> None:
    assert parse_proxy("socks5h://u%40:p%3A@h:9") == Proxy("socks5", "h", 9, "u@", "p:")
    assert parse_proxy("proxy.example") == Proxy("http", "proxy.example", 8080)
    assert "p:" not in repr(parse_proxy("socks5h://u:p%3A@h:9"))


@given(st.text())
def test_any_url_is_a_proxy_or_our_error(url: str) -> None:
    with contextlib.suppress(UsageError):
        parse_proxy(url)


class ForwardingProxy:
    """Speaks SOCKS 5 and HTTP CONNECT, and leads everywhere to one server; a simulator."""

    def __init__(self, port: int, *, socks_reply: int = 0, http_status: int = 200, password: bytes = b"") -> None:
        self.asked: list[bytes] = []
        self._port, self._socks_reply, self._http_status, self._password = port, socks_reply, http_status, password
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._spawn(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            greet = self._socks if client.recv(1, socket.MSG_PEEK) == b"\x05" else self._connect
            if not greet(client):
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join(10)

    def _socks(self, client: socket.socket) -> bool:
        methods = client.recv(300)[2:]
        if self._password:
            client.sendall(b"\x05\x02" if b"\x02" in methods else b"\x05\xff")
            good = self._password in client.recv(600)
            client.sendall(b"\x01\x00" if good else b"\x01\x01")
        else:
            client.sendall(b"\x05\x00")
        self.asked.append(client.recv(300))
        client.sendall(bytes([5, self._socks_reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        return self._socks_reply == 0

    def _connect(self, client: socket.socket) -> bool:
        self.asked.append(client.recv(4000))
        client.sendall(f"HTTP/1.1 {self._http_status} X\r\nVia: x\r\n\r\n".encode())
        return self._http_status == 200


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _proxy(port: int, **given_: object) -> Iterator[ForwardingProxy]:
    proxy = ForwardingProxy(port, **given_)  # type: ignore[arg-type]
    try:
        yield proxy
    finally:
        proxy.close()


def test_socks_resolves_the_name(faults: FaultServer) -> None:
    faults.on("GET", "/v2/", OK)
    with _proxy(faults.port) as proxy:
        given_ = options(proxy=f"socks5://{proxy.address}", plain_http=True)
        with connect("registry.invalid", given_) as registry:
            registry.ping()
            registry.ping()
        assert proxy.asked == [b"\x05\x01\x00\x03\x10registry.invalid\x00\x50"]
    assert faults.requests[0].header("host") == "registry.invalid"


@pytest.mark.parametrize(("password", "good"), [("hush", True), ("hush-wrong", False)])
def test_socks_with_a_password(faults: FaultServer, password: str, good: bool) -> None:
    faults.on("GET", "/v2/", OK)
    with _proxy(faults.port, password=b"\x04hush") as proxy:
        given_ = options(proxy=f"socks5://user:{password}@{proxy.address}", plain_http=True, retries=0)
        with connect("registry.invalid", given_) as registry:
            if good:
                registry.ping()
                return
            with pytest.raises(UnreachableError) as caught:
                registry.ping()
    assert "hush" not in str(caught.value.as_document())


def test_a_tunnel_for_tls(tls_faults: FaultServer, ca_file: Path) -> None:
    tls_faults.on("GET", "/v2/", OK)
    with _proxy(tls_faults.port) as proxy:
        given_ = options(proxy=f"http://user:hush@{proxy.address}", ca_file=ca_file)
        with connect("x", given_, "https://127.0.0.1:1") as registry:  # the name in the certificate
            registry.ping()
        assert proxy.asked[0].startswith(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjpodXNo\r\n" in proxy.asked[0]
    assert tls_faults.requests[0].header("proxy-authorization") == ""


def test_plain_http_is_sent_to_the_proxy_as_such(faults: FaultServer) -> None:
    faults.on("GET", "http://registry.invalid/v2/", OK)
    given_ = options(proxy=f"http://user:hush@{faults.address}", plain_http=True)
    with connect("registry.invalid", given_) as registry:
        registry.ping()
    assert faults.requests[0].header("host") == "registry.invalid"
    assert faults.requests[0].header("proxy-authorization") == "Basic dXNlcjpodXNo"


@pytest.mark.parametrize(("scheme", "failing"), [("socks5", {"socks_reply": 5}), ("http", {"http_status": 407})])
def test_proxies_that_refuse(faults: FaultServer, failing: dict[str, int], scheme: str) -> None:
    with _proxy(faults.port, **failing) as proxy:
        registry = connect("registry.invalid", options(proxy=f"{scheme}://{proxy.address}", retries=0))
        with registry, pytest.raises(UnreachableError) as caught:
            registry.ping()
    assert "proxy" in caught.value.message
    assert not faults.requests
