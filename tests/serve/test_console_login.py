"""Who may look at the console: no users, anonymous pull, sessions, Basic, rights, forged forms, guessing."""

import json
import re
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from isthmus.serve.console import session as sessions
from isthmus.serve.console.session import Limiter, Sessions
from isthmus.serve.pushes import Pushes, read_pushes
from isthmus.serve.shared import Share
from tests.serve.conftest import Answer, Client
from tests.serve.console_site import Site, make_site
from tests.serve.test_access import ADMIN, READER, USERS, basic

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("login"))


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text(USERS)
    return tmp_path / "users"


@pytest.fixture
def closed(site: Site, auth: Path) -> Iterator["Browser"]:
    thread = ServerThread(site.store, MirrorMap(), Listen(auth=auth))
    browser = Browser(thread.address)
    yield browser
    browser.close()
    thread.stop()


class Browser(Client):
    """A client with a jar for cookies."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.jar: dict[str, str] = {}

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        sent = {**HTML, **(headers or {})}
        if self.jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        answer = super().request(method, path, sent, body)
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel.value:
                    self.jar[name] = morsel.value
                else:
                    self.jar.pop(name, None)
        return answer

    def submit(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
        return self.request("POST", path, {**FORM, **(headers or {})}, urlencode(fields).encode())

    def log_in(self, name: str, password: str, place: str = "/console/") -> Answer:
        page = self.get(f"/console/login?{urlencode({'next': place})}").body.decode()
        return self.submit("/console/login", token=token_of(page), next=place, name=name, password=password)


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_a_page_asks_for_a_login_and_leads_back(closed: Browser) -> None:
    answer = closed.get("/console/search?q=pause")
    assert answer.status == 303
    assert answer.headers["Location"] == "/console/login?next=%2Fconsole%2Fsearch%3Fq%3Dpause"
    form = closed.get(answer.headers["Location"])
    assert form.status == 200
    assert "registry.k8s.io" not in form.body.decode()
    answer = closed.log_in("admin", "secret", "/console/search?q=pause")
    assert (answer.status, answer.headers["Location"]) == (303, "/console/search?q=pause")
    page = closed.get("/console/search?q=pause")
    assert page.status == 200
    assert "registry.k8s.io" in page.body.decode()
    assert "admin" in page.body.decode()
    assert closed.get("/console/login").headers["Location"] == "/console/"


def test_the_cookie_is_for_us_alone_and_says_nothing(closed: Browser) -> None:
    answer = closed.log_in("admin", "secret")
    cookie = next(line for line in answer.headers.get_all("Set-Cookie", []) if line.startswith("isthmus_console"))
    for part in ("HttpOnly", "SameSite=Strict", "Path=/console"):
        assert part in cookie
    assert "Secure" not in cookie  # by plain HTTP it would never come back
    answer = closed.get("/console/login", X_Forwarded_Proto="https")
    closed.jar.clear()
    secure = closed.get("/console/login", X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert "Secure" in secure


@pytest.mark.parametrize(
    "path", ["", "contents", "missing", "reference/registry.k8s.io/pause:3.10", "downloads/ca.pem"]
)
def test_nothing_is_shown_to_nobody(closed: Browser, path: str) -> None:
    assert closed.get(f"/console/{path}").status == 303
    answer = closed.get(f"/console/{path}", Accept="*/*")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    answer = closed.get(f"/console/{path}", HX_Request="true")
    assert (answer.status, answer.headers["HX-Redirect"]) == (401, "/console/login")
    assert b"pause" not in answer.body


def test_basic_works_as_well(closed: Browser) -> None:
    assert closed.request("GET", "/console/", ADMIN).status == 200
    assert closed.request("GET", "/console/", basic("admin", "wrong")).status == 401
    assert closed.request("GET", "/console/", {"Authorization": "Basic %%%"}).status == 401
    assert closed.request("GET", "/console/", {"Authorization": "Bearer x.y"}).status == 401


def test_users_see_what_they_may_pull(closed: Browser) -> None:
    page = closed.request("GET", "/console/search", READER).body.decode()
    assert "quay.io/" in page
    for other in ("registry.k8s.io", "docker.io", "Kubespray"):
        assert other not in page
    assert closed.request("GET", "/console/reference/registry.k8s.io/pause:3.10", READER).status == 404
    assert closed.request("GET", "/console/manifest/registry.k8s.io/pause:3.10", READER).status == 404
    assert closed.request("GET", "/console/downloads/isthmus.lock", READER).status == 404
    assert closed.request("GET", "/console/downloads/reports/sbom.cdx.json", READER).status == 404
    closed.request("GET", "/v2/mirror/registry.k8s.io/secret/manifests/1", ADMIN)
    closed.request("GET", "/v2/mirror/quay.io/shown/manifests/1", ADMIN)
    for path in ("", "missing"):
        page = closed.request("GET", f"/console/{path}", READER).body.decode()
        assert "quay.io/shown" in page
        assert "registry.k8s.io/secret" not in page
    assert "admin (127.0.0.1)" in closed.request("GET", "/console/missing", ADMIN).body.decode()
    page = closed.request("GET", "/console/coverage", READER).body.decode()
    assert "registry.k8s.io" not in page


def test_a_form_of_others_does_nothing(closed: Browser) -> None:
    fields: Any = {"name": "admin", "password": "secret", "next": "/console/"}
    assert closed.submit("/console/login", **fields).status == 403
    token = token_of(closed.get("/console/login").body.decode())
    stolen = closed.jar.pop("isthmus_login")
    assert closed.submit("/console/login", token=token, **fields).status == 403
    closed.jar["isthmus_login"] = "0" * 32
    assert closed.submit("/console/login", token=token, **fields).status == 403
    closed.jar["isthmus_login"] = stolen
    assert closed.submit("/console/login", {"Sec-Fetch-Site": "cross-site"}, token=token, **fields).status == 403
    assert closed.request("POST", "/console/login", {"Content-Type": "text/plain"}, b"token=x").status == 415
    assert closed.submit("/console/login", token=token, **fields).status == 303


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example/",
        "https://evil.example/",
        "/console/\\evil",
        "/v2/",
        "javascript:x",
        "/console/\r\nX: y",
        "/console/x//y",
    ],
)
def test_a_login_never_leads_elsewhere(closed: Browser, place: str) -> None:
    assert closed.log_in("admin", "secret", place).headers["Location"] == "/console/"


def test_logging_out_ends_the_session_everywhere(closed: Browser) -> None:
    closed.log_in("admin", "secret")
    kept = dict(closed.jar)
    page = closed.get("/console/").body.decode()
    assert closed.submit("/console/logout", token="1.x").status == 403
    assert closed.get("/console/").status == 200
    assert closed.submit("/console/logout", token=token_of(page)).status == 303
    assert closed.get("/console/").status == 303
    closed.jar = kept  # as somebody who had copied the cookie
    assert closed.get("/console/").status == 303


def test_a_new_password_ends_sessions(closed: Browser, auth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed.log_in("admin", "secret")
    lines = USERS.splitlines()
    auth.write_text("\n".join([f"admin:{lines[3].split(':')[1]}", *lines[2:]]))
    deadline = time.monotonic() + 15
    while closed.get("/console/").status == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert closed.get("/console/").status == 303


def audited(path: Path) -> list[tuple[str, str, str, int]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(one["from"] == "127.0.0.1" for one in lines)
    return [(one["action"], _who(one), one["result"], one["status"]) for one in lines]


def _who(line: dict[str, str]) -> str:
    """Who it was, or in brackets who somebody wanted to be."""
    return f"({line['claimed']})" if "claimed" in line else line.get("user", "")


def test_logins_and_logouts_are_in_the_audit_log(
    site: Site, auth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "WINDOW", 1e9)
    thread = ServerThread(site.store, MirrorMap(), Listen(auth=auth, audit=tmp_path / "audit"))
    browser = Browser(thread.address)
    try:
        browser.log_in("admin", "Not-The-Pa55word")
        browser.log_in("My-Pa55word-In-The-Wrong-Field", "")
        browser.request("POST", "/console/login", {"Content-Type": "text/plain"}, b"token=x")
        browser.submit("/console/login", name="admin", password="secret")  # a forged one
        browser.log_in("admin", "secret")
        page = browser.get("/console/").body.decode()
        browser.submit("/console/logout", token="1.x")
        browser.submit("/console/logout", token=token_of(page))
        browser.submit("/console/logout")  # nobody is logged in: nothing happens
        browser.request("GET", "/console/", basic("admin", "wrong"))
        for _ in range(sessions.ATTEMPTS):
            browser.log_in("reader", "guess")
        browser.log_in("reader", "x")
    finally:
        browser.close()
        thread.stop()
    assert audited(tmp_path / "audit") == [
        ("login", "(admin)", "UNAUTHORIZED", 401),
        ("login", "", "UNAUTHORIZED", 401),
        ("login", "", "failed", 415),
        ("login", "(admin)", "DENIED", 403),
        ("login", "admin", "done", 303),
        ("logout", "admin", "DENIED", 403),
        ("logout", "admin", "done", 303),
        ("login", "(admin)", "UNAUTHORIZED", 401),
        *[("login", "(reader)", "UNAUTHORIZED", 401)] * sessions.ATTEMPTS,
        ("login", "(reader)", "TOOMANYREQUESTS", 429),
    ]
    text = (tmp_path / "audit").read_text()
    for secret in ("Pa55word", "secret", "guess", "wrong"):
        assert secret not in text


def test_logins_for_tokens_are_in_the_audit_log(site: Site, auth: Path, tmp_path: Path) -> None:
    thread = ServerThread(site.store, MirrorMap(), Listen(auth=auth, audit=tmp_path / "audit"))
    client = Client(thread.address)
    try:
        client.request("GET", "/token?service=isthmus&account=admin", ADMIN)
        client.request("GET", "/token?service=isthmus&account=admin", basic("admin", "wrong"))
        form = urlencode({"grant_type": "password", "username": "admin", "password": "secret"}).encode()
        client.request("POST", "/token", FORM, form)
        client.request("GET", "/token?service=isthmus")
    finally:
        client.close()
        thread.stop()
    assert audited(tmp_path / "audit") == [
        ("login", "admin", "done", 200),
        ("login", "(admin)", "UNAUTHORIZED", 401),
        ("login", "admin", "done", 200),
    ]
    text = (tmp_path / "audit").read_text()
    assert "secret" not in text
    assert "wrong" not in text


def test_guessing_is_slowed_down(closed: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WINDOW", 1e9)  # none begins while this runs
    for _ in range(sessions.ATTEMPTS):
        assert closed.log_in("admin", "wrong").status == 401
    answer = closed.log_in("admin", "secret")
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= sessions.WINDOW + 1
    assert closed.request("GET", "/console/", ADMIN).status == 429
    assert closed.request("GET", "/v2/", ADMIN).status == 200  # nobody is locked out of the registry by that
    assert closed.log_in("ci", "Pässword").status == 303


def test_wrong_names_and_wrong_passwords_look_the_same(closed: Browser) -> None:
    pages = [re.sub(r'value="[^"]*"', "", closed.log_in(name, "no").body.decode()) for name in ("admin", "nobody")]
    assert pages[0] == pages[1]
    hostile = closed.log_in("<script>x</script>", "no").body.decode()
    assert "<script>x" not in hostile


def test_with_anonymous_pull_all_is_open_but_what_others_asked_for(site: Site, auth: Path) -> None:
    thread = ServerThread(site.store, MirrorMap(), Listen(auth=auth, anonymous_pull=True))
    try:
        browser = Browser(thread.address)
        browser.get("/v2/mirror/quay.io/asked/manifests/1")
        token = browser.get("/token?scope=repository:mirror/quay.io/asked:pull", Accept="*/*").json["token"]
        browser.get("/v2/mirror/quay.io/asked/manifests/1", Authorization=f"Bearer {token}")
        page = browser.get("/console/").body.decode()
        assert "Log in" in page
        assert "quay.io/asked" not in page
        assert browser.get("/console/missing").headers["Location"].startswith("/console/login")
        browser.log_in("reader", "x")
        page = browser.get("/console/missing").body.decode()
        assert "quay.io/asked" in page
        browser.close()
    finally:
        thread.stop()


def test_a_session_that_was_touched_is_none() -> None:
    made = Sessions()
    session = made.begin("admin", "hash")
    text = made.write(session)
    assert made.read(text) == session
    assert made.fits(session, "hash")
    assert not made.fits(session, "other")
    for wrong in (
        "",
        ".",
        "x.y",
        text[:-1],
        text[1:],
        "é." + text,
        text + "=",
        "a" * 5000,
    ):
        assert made.read(wrong) is None


def test_a_session_goes_on_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Sessions()
    session = made.begin("admin", "hash")
    start = session.since
    monkeypatch.setattr("time.time", lambda: start + sessions.LIFETIME * 0.9)
    assert session.is_old(start + sessions.LIFETIME * 0.9)
    later = made.go_on(session)
    monkeypatch.setattr("time.time", lambda: start + sessions.LIFETIME * 1.5)
    assert made.read(made.write(session)) is None
    assert made.read(made.write(later)) == later
    monkeypatch.setattr("time.time", lambda: start + sessions.LONGEST + 1)
    assert made.read(made.write(made.go_on(later))) is None


def test_the_limiter_counts_names_and_addresses_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WINDOW", 1e9)
    limiter = Limiter()
    for number in range(sessions.ATTEMPTS_OF_ADDRESS):
        limiter.failed("192.0.2.1", f"name{number}")
    assert limiter.wait("192.0.2.1", "another") > 0
    assert limiter.wait("192.0.2.2", "another") == 0
    later = time.time() + sessions.WINDOW
    monkeypatch.setattr("time.time", lambda: later)
    assert limiter.wait("192.0.2.1", "another") == 0


def test_workers_share_sessions_and_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WINDOW", 1e9)
    one, other = Sessions(), Sessions()
    session = one.begin("admin", "hash")
    assert other.read(one.write(session)) == session
    one.end(session)
    assert other.read(one.write(session)) is None
    first, second = Limiter(shared=True), Limiter(shared=True)
    for _ in range(sessions.ATTEMPTS):
        first.failed("198.51.100.9", "admin")
    assert second.wait("198.51.100.9", "admin") > 0


def test_workers_see_the_pushes_of_others(tmp_path: Path) -> None:
    pushes = Pushes()
    pushes.begin("a", "localhost/team/app", "ci")
    pushes.reach("a", 5, 10)
    one, other = Share(0, 2, tmp_path), Share(1, 2, tmp_path)
    one.tell("pushes", pushes.told())
    (push,) = read_pushes(other.others("pushes"))
    assert (push.repository, push.done, push.total) == ("localhost/team/app", 5, 10)
    one.tell("pushes", b"{")
    assert read_pushes(other.others("pushes")) == ()
