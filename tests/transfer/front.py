"""A fault-injecting front of a real registry: asks for tokens, passes requests on, and spoils what it is told to.

Rules that a test adds come before passing on, so that each fault is a line. Not a test file.
"""

import http.client
import re
from collections.abc import Mapping
from dataclasses import replace

from tests.registry.faults import Answer, Asked, FaultServer, Reply, Rule

PASSWORD = "password-that-nobody-may-see"
TOKEN = "token-that-nobody-may-see"
SIGNATURE = "signature-that-nobody-may-see"
SECRETS = (PASSWORD, TOKEN, SIGNATURE)

_PASSED = (
    "Content-Type",
    "Content-Range",
    "Docker-Content-Digest",
    "Location",
    "Range",
    "Docker-Upload-UUID",
    "Link",
)


class Front(FaultServer):
    """In front of the registry at `behind`; a token is good for `uses` requests."""

    def __init__(self, behind: str, *, uses: int = 1_000_000) -> None:
        super().__init__()
        self.tokens: dict[str, int] = {}
        self._behind = behind
        self._uses = uses
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            self.on(method, "/token.*" if method == "GET" else "/none", self._token)
            self.on(method, "/.*", self._authorised)

    def spoil(self, method: str, target: str, answer: Answer, times: int | None = None) -> None:
        """Answer so instead; tried before what was there."""
        self.rules.insert(0, Rule(method, target, answer, times))

    def pass_on(self, asked: Asked) -> Reply:
        """The real registry's answer."""
        connection = http.client.HTTPConnection(self._behind, timeout=20)
        try:
            headers = {name: asked.header(name) for name in ("Accept", "Content-Type", "Content-Range", "Range")}
            sent = {name: value for name, value in headers.items() if value}
            connection.request(asked.method, asked.target, asked.body or None, {"Host": self.address, **sent})
            answer = connection.getresponse()
            body = answer.read()
            passed: Mapping[str, str] = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
            if asked.method == "HEAD":
                passed = {**passed, "Content-Length": answer.headers.get("Content-Length", "0")}
            return Reply(answer.status, body, passed)
        finally:
            connection.close()

    def _authorised(self, asked: Asked) -> Reply:
        token = asked.header("Authorization").removeprefix("Bearer ")
        if self.tokens.get(token, 0) <= 0:
            name = re.match(r"/v2/(.+)/(?:manifests|blobs|referrers|tags)/", asked.target)
            scope = f',scope="repository:{name[1]}:pull,push"' if name else ""
            challenge = f'Bearer realm="{self.url}/token",service="front"{scope}'
            return Reply(401, b"{}", {"WWW-Authenticate": challenge})
        self.tokens[token] -= 1
        return self.pass_on(asked)

    def _token(self, asked: Asked) -> Reply:
        token = f"{TOKEN}-{len(self.tokens)}"
        self.tokens[token] = self._uses
        return Reply(200, f'{{"token":"{token}","expires_in":300}}'.encode(), {"Content-Type": "application/json"})


def cut_after(front: Front, count: int) -> Answer:
    """The right answer, broken off after so many bytes."""
    return lambda asked: replace(front.pass_on(asked), cut=count)


def other_bytes(front: Front) -> Answer:
    """As many bytes, but others."""

    def answer(asked: Asked) -> Reply:
        right = front.pass_on(asked)
        return replace(right, body=bytes(byte ^ 1 for byte in right.body))

    return answer
