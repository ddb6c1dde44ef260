"""A token server (Distribution's auth/token) for a registry that checks what it gives: signed, and soon over.

The registry is a real one that trusts its certificate. Not a test file.
"""

import base64
import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "isthmus-test", "registry"
_LEEWAY = 60
"""Seconds for which Distribution still takes a token that has ended."""


class TokenServer:
    """Gives whoever has the password what is asked for: for `life` seconds, while it says `announced`."""

    def __init__(self, directory: Path, password: str, *, life: float, announced: float) -> None:
        self.granted: list[str] = []
        self.life, self.announced = life, announced
        self.certificates = directory / "tokens.pem"
        self.realm = ""
        self._basic = "Basic " + base64.b64encode(f"user:{password}".encode()).decode()
        self._key = rsa.generate_private_key(65537, 2048)
        certificate = _certificate(self._key)
        self.certificates.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    @property
    def auth(self) -> dict[str, object]:
        """The section `auth` of the registry's configuration."""
        settings = {"realm": self.realm, "service": SERVICE, "issuer": ISSUER}
        return {"token": {**settings, "rootcertbundle": str(self.certificates)}}

    def answer(self, target: str, authorization: str) -> tuple[int, bytes]:
        """What to say to a request."""
        if authorization != self._basic:
            return 401, b"{}"
        access: list[dict[str, object]] = []
        for scope in (
            word for value in parse_qs(urlsplit(target).query).get("scope", []) for word in value.split()
        ):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        token = self._token(access)
        self.granted.append(token)
        return 200, json.dumps({"token": token, "expires_in": self.announced}).encode()

    def _token(self, access: list[dict[str, object]]) -> str:
        now = time.time()
        claims = {
            "iss": ISSUER, "sub": "user", "aud": SERVICE, "access": access, "jti": uuid.uuid4().hex,
            "iat": int(now) - _LEEWAY, "nbf": int(now) - _LEEWAY, "exp": int(now + self.life) - _LEEWAY,
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": self._chain}
        signed = f"{_encoded(json.dumps(head).encode())}.{_encoded(json.dumps(claims).encode())}"
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def giving_tokens(directory: Path, password: str, *, life: float, announced: float) -> Iterator[TokenServer]:
    """A token server that listens until the end of the block."""
    tokens = TokenServer(directory, password, life=life, announced=announced)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = tokens.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tokens.realm = f"http://127.0.0.1:{server.server_port}/token"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
    )
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )
