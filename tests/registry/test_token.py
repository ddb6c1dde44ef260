"""Authentication: challenges, tokens, their life, and where secrets must not go. Against the fault server."""

import base64
import itertools
import json
import threading
import traceback
from urllib.parse import parse_qs, parse_qsl

import pytest

from isthmus.errors import IsthmusError, UnreachableError, UsageError
from isthmus.registry import Credential, FixedCredentials, connect
from tests.registry.faults import Asked, FaultServer, Reply
from tests.registry.samples import blob, image, options, read, write

SECRET = "hush-hush-password"
USER = Credential(username="user", password=SECRET)
BASIC = "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()
IMAGE = image(b"layer")
BLOB = blob(b"layer")


class TokenService:
    """A registry that wants tokens of a token server beside it, both on fault servers; a simulator."""

    def __init__(self, registry: FaultServer, tokens: FaultServer) -> None:
        self.valid: set[str] = set()
        self.life: float | None = 300
        self.field = "token"
        self.granted: list[str] = []
        self._number = itertools.count(1)
        self._realm = f"{tokens.url}/token?extra=1"
        tokens.on("GET", "/token.*", self._give).on("POST", "/token.*", self._give)
        for method, target, reply in (
            ("GET", "/v2/", Reply(200, b"{}")),
            ("GET", "/v2/[^?]*/manifests/.*", Reply(200, IMAGE.raw)),
            ("HEAD", "/v2/.*", Reply(200, b"layer")),
            ("GET", "/v2/.*/blobs/sha256.*", Reply(200, b"layer")),
            ("POST", "/v2/.*", Reply(202, headers={"Location": "/v2/upload/1"})),
            ("PUT", "/v2/.*", Reply(201)),
            ("DELETE", "/v2/.*", Reply(204)),
        ):
            registry.on(method, target, lambda asked, reply=reply: self._guard(asked, reply))  # type: ignore[misc]

    def _guard(self, asked: Asked, reply: Reply) -> Reply:
        if asked.header("authorization").removeprefix("Bearer ") in self.valid:
            return reply
        parts = asked.target.split("/")
        scope = f',scope="repository:{parts[2]}:pull"' if len(parts) > 4 else ""
        challenge = f'Bearer realm="{self._realm}",service="the registry"{scope}'
        return Reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": challenge})

    def _give(self, asked: Asked) -> Reply:
        token = f"token-{next(self._number)}-{'x' * 40}"
        self.valid.add(token)
        self.granted.append(asked.target.partition("?")[2] or asked.body.decode())
        answer = {self.field: token} | ({} if self.life is None else {"expires_in": self.life})
        return Reply(200, json.dumps(answer).encode())


@pytest.fixture
def service(faults: FaultServer, other_faults: FaultServer) -> TokenService:
    return TokenService(faults, other_faults)


def test_an_anonymous_token_is_kept_for_its_scope(
    faults: FaultServer, other_faults: FaultServer, service: TokenService
) -> None:
    with connect(faults.address, options()) as registry:
        for repository in ("a", "a", "b", "a"):
            registry.manifest(repository, "v1")
    assert [parse_qs(query)["scope"] for query in service.granted] == [
        ["repository:a:pull"],
        ["repository:b:pull"],
    ]
    assert parse_qs(service.granted[0])["service"] == ["the registry"]
    assert parse_qs(service.granted[0])["extra"] == ["1"]
    # Only the first request of all is sent in vain.
    assert len(faults.requests) == 5
    assert not any(one.header("authorization") for one in other_faults.requests)


def test_access_token_is_a_name_for_it_too(faults: FaultServer, service: TokenService) -> None:
    service.field, service.life = "access_token", None
    with connect(faults.address, options()) as registry:
        registry.ping()
        registry.ping()
    assert len(service.granted) == 1


def test_the_token_server_sees_the_password_and_the_registry_does_not(
    faults: FaultServer, other_faults: FaultServer, service: TokenService
) -> None:
    with connect(faults.address, options(credentials=FixedCredentials(USER))) as registry:
        registry.manifest("a", "v1")
    assert other_faults.requests[0].header("authorization") == BASIC
    assert parse_qs(service.granted[0])["account"] == ["user"]
    assert not any("Basic" in one.header("authorization") for one in faults.requests)


def test_an_identity_token_is_exchanged_by_oauth(
    faults: FaultServer, other_faults: FaultServer, service: TokenService
) -> None:
    credentials = FixedCredentials(Credential(identity_token="identity"))
    with connect(faults.address, options(credentials=credentials)) as registry:
        registry.manifest("a", "v1")
    assert other_faults.asked() == ["POST /token?extra=1"]
    form = dict(parse_qsl(other_faults.requests[0].body.decode()))
    assert form == {
        "grant_type": "refresh_token", "service": "the registry", "client_id": "isthmus",
        "scope": "repository:a:pull", "refresh_token": "identity",
    }  # fmt: skip


def test_tokens_given_by_hand(faults: FaultServer, service: TokenService) -> None:
    service.valid |= {"given-token", "stored-token"}
    with connect(faults.address, options(token="given-token")) as registry:
        registry.ping()
    stored = FixedCredentials(Credential(registry_token="stored-token"))
    with connect(faults.address, options(credentials=stored)) as registry:
        registry.ping()
    assert service.granted == []
    with pytest.raises(UsageError):
        connect(faults.address, options(token="a\r\nX-Injected: 1"))


def test_a_token_that_ends_in_mid_use_is_renewed(faults: FaultServer, service: TokenService) -> None:
    with connect(faults.address, options()) as registry:
        registry.manifest("a", "v1")
        service.valid.clear()
        registry.manifest("a", "v1")
        service.life = 0
        service.valid.clear()
        for _ in range(3):
            assert read(registry.open_blob("a", BLOB)) == b"layer"
    assert len(service.granted) >= 4


def test_a_token_that_ends_before_an_upload_is_sent(faults: FaultServer, service: TokenService) -> None:
    with connect(faults.address, options()) as registry:
        writer = registry.write_blob("a", BLOB)
        service.valid.clear()
        with pytest.raises(UnreachableError) as caught:
            write(writer, b"layer")
        assert caught.value.temporary
        write(registry.write_blob("a", BLOB), b"layer")


def test_a_token_that_another_renewed_during_an_upload_is_kept(faults: FaultServer, service: TokenService) -> None:
    with connect(faults.address, options()) as registry:
        registry.manifest("a", "v1")
        with registry.write_blob("a", BLOB) as writer:
            writer.write(memoryview(b"lay"))
            service.valid.clear()
            write(registry.write_blob("a", BLOB), b"layer")
            granted = len(service.granted)
            writer.write(memoryview(b"er"))
            with pytest.raises(UnreachableError) as caught:
                writer.commit()
        assert caught.value.temporary
        write(registry.write_blob("a", BLOB), b"layer")
    assert len(service.granted) == granted


def test_many_threads_fetch_one_token(faults: FaultServer, service: TokenService) -> None:
    with connect(faults.address, options()) as registry:
        registry.ping()
        threads = [threading.Thread(target=registry.manifest, args=("a", "v1")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(service.granted) <= 2


def test_pushing_asks_for_both_and_serves_reading_too(faults: FaultServer, service: TokenService) -> None:
    with connect(faults.address, options()) as registry:
        registry.put_manifest("a", IMAGE, "v1")
        registry.manifest("a", "v1")
        assert not registry.mount_blob("b", BLOB, "a")
    scopes = [set(parse_qs(query)["scope"]) for query in service.granted]
    assert scopes == [{"repository:a:pull,push"}, {"repository:a:pull", "repository:b:pull,push"}]


def test_basic(faults: FaultServer) -> None:
    def guard(asked: Asked) -> Reply:
        if asked.header("authorization") == BASIC:
            return Reply(200, b"{}")
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    faults.on("GET", "/v2/", guard)
    with connect(faults.address, options(credentials=FixedCredentials(USER))) as registry:
        registry.ping()
        registry.ping()
    assert len(faults.requests) == 3


REFUSALS = {
    "no challenge": Reply(401),
    "unknown scheme": Reply(401, headers={"WWW-Authenticate": "Negotiate"}),
    "basic": Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'}),
    "realm that is no URL": Reply(401, headers={"WWW-Authenticate": 'Bearer realm="x y"'}),
    "realm on another scheme": Reply(401, headers={"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}),
    "long": Reply(401, b"x" * 1_000_000, headers={"WWW-Authenticate": "Basic " + "a=b, " * 9000}),
}


@pytest.mark.parametrize("reply", REFUSALS.values(), ids=list(REFUSALS))
@pytest.mark.parametrize("credential", [None, USER], ids=["anonymous", "user"])
def test_refusals(faults: FaultServer, reply: Reply, credential: Credential | None) -> None:
    faults.on("GET", "/v2/", reply)
    registry = connect(faults.address, options(credentials=FixedCredentials(credential)))
    with registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert caught.value.code in ("unauthorized", "protocol")
    assert not caught.value.temporary
    assert len(faults.requests) <= 2


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(401, b'{"details":"incorrect username or password"}'), "unauthorized"),
        (Reply(200, b"<html>"), "protocol"),
        (Reply(200, b"{}"), "protocol"),
        (Reply(200, b'{"token":"a\\r\\nb"}'), "protocol"),
        (Reply(200, b'{"token":"x","expires_in":"soon"}'), "protocol"),
        (Reply(200, b"[" * 100_000), "protocol"),
        (Reply(200, b"x", length=10_000_000), "protocol"),
        (Reply(503), "unreachable"),
        (Reply(302, headers={"Location": "http://elsewhere.example/"}), "refused"),
    ],
)
def test_token_servers_that_fail(faults: FaultServer, other_faults: FaultServer, reply: Reply, code: str) -> None:
    challenge = f'Bearer realm="{other_faults.url}/token"'
    faults.on("GET", "/v2/", Reply(401, headers={"WWW-Authenticate": challenge}))
    other_faults.on("GET", "/token.*", reply)
    registry = connect(faults.address, options(credentials=FixedCredentials(USER), retries=1))
    with registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert caught.value.code == code
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_token_server_in_trouble_is_asked_again(faults: FaultServer, other_faults: FaultServer) -> None:
    other_faults.on("GET", "/token.*", Reply(503), times=1).on("GET", "/token.*", Reply(cut=-1), times=1)
    service = TokenService(faults, other_faults)
    with connect(faults.address, options()) as registry:
        registry.ping()
    assert len(service.granted) == 1


def test_a_registry_with_tls_cannot_have_the_password_sent_unencrypted(
    tls_faults: FaultServer, ca_file: str
) -> None:
    challenge = 'Bearer realm="http://tokens.example/token"'
    tls_faults.on("GET", "/v2/", Reply(401, headers={"WWW-Authenticate": challenge}))
    given = options(credentials=FixedCredentials(USER), ca_file=ca_file)
    with connect(tls_faults.address, given) as registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert caught.value.code == "refused"


def test_redirects_to_another_host_carry_no_authorization(faults: FaultServer, other_faults: FaultServer) -> None:
    location = {"Location": f"{other_faults.url}/storage"}
    faults.on("GET", "/v2/a/blobs/.*", Reply(307, headers=location)).on("HEAD", ".*", Reply(307, headers=location))
    faults.on("GET", "/v2/a/manifests/same", Reply(307, headers={"Location": "/elsewhere"}))
    faults.on("GET", "/elsewhere", Reply(200, IMAGE.raw))
    other_faults.on("GET", "/storage", Reply(200, b"layer")).on("HEAD", "/storage", Reply(200, b"layer"))
    with connect(faults.address, options(token="the-token")) as registry:
        assert read(registry.open_blob("a", BLOB)) == b"layer"
        assert registry.has_blob("a", BLOB)
        registry.manifest("a", "same")
    assert all(one.header("authorization") == "Bearer the-token" for one in faults.requests)
    assert [one.header("authorization") for one in other_faults.requests] == ["", ""]


def test_another_host_that_asks_for_credentials_gets_none(faults: FaultServer, other_faults: FaultServer) -> None:
    faults.on("GET", ".*", Reply(307, headers={"Location": f"{other_faults.url}/storage"}))
    challenge = {"WWW-Authenticate": f'Bearer realm="{other_faults.url}/steal"'}
    other_faults.on("GET", "/storage", Reply(401, headers=challenge)).on(
        "GET", "/steal.*", Reply(200, b'{"token":"t"}')
    )
    registry = connect(faults.address, options(credentials=FixedCredentials(USER)))
    with registry, pytest.raises(UnreachableError) as caught:
        registry.open_blob("a", BLOB)
    assert caught.value.code == "unauthorized"
    assert other_faults.asked() == ["GET /storage"]


def test_an_upload_location_on_another_host_gets_no_authorization(
    faults: FaultServer, other_faults: FaultServer
) -> None:
    faults.on("POST", ".*", Reply(202, headers={"Location": f"{other_faults.url}/up?sig=1"}))
    other_faults.on("PUT", "/up.*", Reply(201))
    with connect(faults.address, options(token="the-token")) as registry:
        write(registry.write_blob("a", BLOB), b"layer")
    assert other_faults.asked() == [f"PUT /up?sig=1&digest={BLOB.digest}"]
    assert other_faults.requests[0].header("authorization") == ""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("way", ["basic", "bearer", "fixed"])
def test_a_registry_that_repeats_the_secrets_does_not_get_them_into_messages(
    faults: FaultServer, other_faults: FaultServer, status: int, way: str
) -> None:
    """Every way in which a secret is sent comes back in an error body, at many cuts."""
    token = "hush-hush-token"

    def echo(asked: Asked) -> Reply:
        sent = asked.header("authorization")
        if not sent:
            realm = f'Bearer realm="{other_faults.url}/t"' if way == "bearer" else 'Basic realm="r"'
            return Reply(401, headers={"WWW-Authenticate": realm})
        told = sent.split()[1]
        plain = base64.b64decode(told).decode() if way == "basic" else told
        words = f"{'a' * int(asked.target.rpartition('/v')[2])} {told} {plain} {plain}"
        return Reply(status, json.dumps({"errors": [{"code": told, "message": words}]}).encode())

    other_faults.on("GET", "/t.*", Reply(200, json.dumps({"token": token}).encode()))
    faults.on("GET", ".*", echo)
    given = options(retries=0, token=token if way == "fixed" else "", credentials=FixedCredentials(USER))
    for number in range(0, 270, 13):
        with connect(faults.address, given) as registry, pytest.raises(IsthmusError) as caught:
            registry.manifest("a", f"v{number}")
        shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.as_document())
        assert "hush-" not in shown
        assert BASIC.split()[1][:8] not in shown
    assert "hush" not in repr(given)
