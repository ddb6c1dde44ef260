"""Pull and mirror through a registry that does everything wrong: a table of faults and how each run ends.

Whatever happens, a run ends complete or with the right exit status and code, nothing wrong is stored or
tagged, the next run without the fault completes, and no output holds a secret. Behind the faults is Debian's
registry.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.inventory.lock import read_lock
from isthmus.oci import Digest
from isthmus.registry import ConnectionOptions, FixedCredentials, connect
from isthmus.store import Store
from tests.real import docker_registry, programs
from tests.real.docker_registry import DockerRegistry
from tests.registry.faults import Asked, Reply
from tests.transfer.front import PASSWORD, SECRETS, SIGNATURE, Front, cut_after, other_bytes
from tests.transfer.images import API, SHARED, WEB, fill

pytestmark = pytest.mark.real
BLOB = "/v2/.*/blobs/sha256:.*"
MANIFEST = "/v2/.*/manifests/sha256:.*"
ANY = "/v2/.*"
HOSTS = ("docker.io", "quay.io", "ghcr.io")
NAMES = (WEB, API, SHARED)
GREEDY = 100 * 1024 * 1024


@dataclass(frozen=True)
class Case:
    """A fault, and how the run must end: 0, or an exit status and a code."""

    name: str
    spoil: Callable[[Front], object]
    status: int = 0
    code: str = ""
    uses: int = 1_000_000


def echo(asked: Asked) -> Reply:
    """A refusal that repeats whatever it was sent."""
    body = {"errors": [{"code": "DENIED", "message": f"{asked.target} {asked.header('Authorization')}"}]}
    return Reply(403, json.dumps(body).encode())


def lying_range(front: Front) -> None:
    """Break off once, then claim the range that was asked for and send the beginning."""

    def lie(asked: Asked) -> Reply:
        asked_for = asked.header("Range")
        if not asked_for:
            return replace(front.pass_on(asked), cut=50_000)
        headers = {name: value for name, value in asked.headers.items() if name != "range"}
        whole = front.pass_on(replace(asked, headers=headers)).body
        start = int(asked_for.removeprefix("bytes=").rstrip("-"))
        claimed = {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
        return Reply(206, whole[: len(whole) - start], claimed)

    front.spoil("GET", BLOB, lie, times=2)


def other_range(asked: Asked) -> Reply:
    return Reply(206, b"x" * 10, {"Content-Range": "bytes 3-12/13"})


def ignored_range(front: Front) -> None:
    """Break off, and send everything from the beginning afterwards."""

    def whole(asked: Asked) -> Reply:
        headers = {name: value for name, value in asked.headers.items() if name != "range"}
        return front.pass_on(replace(asked, headers=headers))

    front.spoil("GET", BLOB, whole)
    front.spoil("GET", BLOB, cut_after(front, 50_000), times=2)


def signed_refusal(front: Front) -> None:
    """Lead to a signed URL that is refused, with its own words."""
    front.spoil("GET", "/signed.*", echo)
    front.spoil("GET", BLOB, Reply(307, headers={"Location": f"{front.url}/signed?X-Signature={SIGNATURE}"}))


def burst(*statuses: int, headers: dict[str, str] | None = None) -> Callable[[Front], None]:
    def spoil(front: Front) -> None:
        for status in statuses:
            front.spoil("GET", ANY, Reply(status, headers=headers or {}), times=1)

    return spoil


READING = [
    Case("drops-after-bytes", lambda f: f.spoil("GET", BLOB, cut_after(f, 100_000), times=3)),
    Case("drops-always", lambda f: f.spoil("GET", BLOB, cut_after(f, 0)), 5, "unreachable"),
    Case("resets", lambda f: f.spoil("GET", ANY, Reply(cut=-1), times=4)),
    Case("resets-always", lambda f: f.spoil("GET", ANY, Reply(cut=-1)), 5, "unreachable"),
    Case("slow-down-for-1s", burst(429, 429, headers={"Retry-After": "1"})),
    Case("slow-down", burst(429, 429, 429)),
    Case("slow-down-for-1h", lambda f: f.spoil("GET", BLOB, Reply(429, headers={"Retry-After": "3600"})), 5,
         "rate-limited"),
    Case("slow-down-always", lambda f: f.spoil("GET", BLOB, Reply(429)), 5, "rate-limited"),
    Case("trouble-bursts", burst(500, 502, 503, 504, 500)),
    Case("trouble-always", lambda f: f.spoil("GET", BLOB, Reply(503)), 5, "unreachable"),
    Case("tokens-end", lambda f: None, uses=2),
    Case("tokens-never-good", lambda f: None, 5, "unauthorized", uses=0),
    Case("token-of-nonsense", lambda f: f.spoil("GET", "/token.*", Reply(200, b'{"token":"')), 5, "protocol"),
    Case("token-server-down", lambda f: f.spoil("GET", "/token.*", Reply(503), times=2)),
    Case("slow-loris-body", lambda f: f.spoil("GET", BLOB, lambda a: replace(f.pass_on(a), drip=0.05), times=2)),
    Case("slow-loris-head", lambda f: f.spoil("GET", MANIFEST, Reply(raw=b"HTTP/1.1 200 OK\r\n" * 99, drip=0.1),
         times=2)),
    Case("length-too-short", lambda f: f.spoil("GET", BLOB, lambda a: replace(f.pass_on(a), length=7)), 4,
         "size-mismatch"),
    Case("length-too-long", lambda f: f.spoil("GET", BLOB, lambda a: replace(f.pass_on(a), length=10**12)), 4,
         "size-mismatch"),
    Case("other-bytes-once", lambda f: f.spoil("GET", BLOB, other_bytes(f), times=1)),
    Case("other-bytes", lambda f: f.spoil("GET", BLOB, other_bytes(f)), 4, "digest-mismatch"),
    Case("other-manifest", lambda f: f.spoil("GET", MANIFEST, other_bytes(f)), 4, "digest-mismatch"),
    Case("cut-manifest", lambda f: f.spoil("GET", MANIFEST, cut_after(f, 100), times=2)),
    Case("half-a-manifest", lambda f: f.spoil("GET", MANIFEST, Reply(200, b'{"schemaVersion":2,"lay')), 4,
         "digest-mismatch"),
    Case("manifest-of-100-MB", lambda f: f.spoil("GET", MANIFEST, Reply(200, b" ", length=GREEDY,
         endless=b" " * 65536)), 5, "protocol"),
    Case("manifest-without-end", lambda f: f.spoil("GET", MANIFEST, Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n",
         endless=b" " * 65536)), 5, "protocol"),
    Case("lying-range", lying_range),
    Case("other-range", lambda f: f.spoil("GET", BLOB, other_range), 5, "refused"),
    Case("ignored-range", ignored_range),
    Case("redirect-circle", lambda f: f.spoil("GET", BLOB, lambda a: Reply(307, headers={"Location": a.target})),
         5, "protocol"),
    Case("signed-url-refused", signed_refusal, 5, "unauthorized"),
    Case("refusal-that-repeats-secrets", lambda f: f.spoil("GET", BLOB, echo), 5, "unauthorized"),
    Case("headers-without-end", lambda f: f.spoil("GET", MANIFEST, Reply(raw=b"HTTP/1.1 200 OK\r\n",
         endless=b"X-A: b\r\n" * 100)), 5, "protocol"),
]  # fmt: skip

UPLOAD = "/v2/.*/blobs/uploads/.*"
WRITING = [
    Case("begin-in-trouble", lambda f: f.spoil("POST", UPLOAD, Reply(500), times=3)),
    Case("begin-reset", lambda f: f.spoil("POST", UPLOAD, Reply(cut=-1), times=3)),
    Case("upload-cut", lambda f: f.spoil("PUT", UPLOAD, Reply(cut=-1, read_body=False), times=3)),
    Case("upload-in-trouble", lambda f: f.spoil("PUT", UPLOAD, Reply(503), times=3)),
    Case("upload-lost", lambda f: f.spoil("PUT", UPLOAD, Reply(404), times=2)),
    Case("upload-too-large", lambda f: f.spoil("PUT", UPLOAD, Reply(413)), 5, "refused"),
    Case("upload-stored-as-other", lambda f: f.spoil("PUT", UPLOAD, Reply(201, headers={
         "Docker-Content-Digest": f"sha256:{'0' * 64}"})), 4, "digest-mismatch"),
    Case("no-place-to-upload", lambda f: f.spoil("POST", UPLOAD, Reply(202)), 5, "protocol"),
    Case("tokens-end", lambda f: None, uses=3),
    Case("manifests-slow-down", lambda f: f.spoil("PUT", "/v2/.*/manifests/.*", Reply(429), times=3)),
    Case("manifests-refused", lambda f: f.spoil("PUT", "/v2/.*/manifests/.*", echo), 5, "unauthorized"),
    Case("tag-stored-as-other", lambda f: f.spoil("PUT", "/v2/.*/manifests/[0-9]", Reply(201, headers={
         "Docker-Content-Digest": f"sha256:{'0' * 64}"})), 4, "digest-mismatch"),
]  # fmt: skip


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Debian's registry with the images, as its own clients pushed them, and the lock of them."""
    programs.require("docker-registry")
    directory = tmp_path_factory.mktemp("behind")
    registry = docker_registry.start(directory)
    fill(directory / "store")
    assert run(["push", "--store", str(directory / "store"), "--to", f"{registry.address}/up", "-q"]) == 0
    (directory / "list.txt").write_text("\n".join(NAMES) + "\n")
    upstream = [f"--upstream={host}={registry.url}/up/{host}" for host in HOSTS]
    lock = ["lock", f"images:{directory / 'list.txt'}", "--out", str(directory / "isthmus.lock"), "-q"]
    assert run([*lock, *upstream]) == 0
    registry.lock = directory / "isthmus.lock"  # type: ignore[attr-defined]
    yield registry
    registry.stop()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same decisions as ever, only sooner."""
    defaults = ConnectionOptions.__init__.__kwdefaults__
    assert defaults is not None
    quick = {"backoff": 0.01, "read_timeout": 1.0, "connect_timeout": 2.0, "minimum_rate": 4096, "retries": 5}
    for name, value in quick.items():
        monkeypatch.setitem(defaults, name, value)
    monkeypatch.setattr("isthmus.transfer.blob.FIRST_PAUSE", 0.01)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("FRONT_AUTH", f"user:{PASSWORD}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))


def configure(*fronts: Front) -> None:
    hosts = ", ".join(f"'{front.address}': {{auth: 'env:FRONT_AUTH'}}" for front in fronts)
    Path("isthmus.yaml").write_text(f"platform: {{architectures: [], registries: {{{hosts}}}}}\n")


def through(url: str) -> list[str]:
    return [f"--upstream={host}={url}/up/{host}" for host in HOSTS]


def check_end(case: Case, status: int, shown: str) -> None:
    assert status == case.status, shown
    if case.code:
        error = json.loads(shown[shown.index('{"error"') :] if '{"error"' in shown else shown)["error"]
        assert (error["code"], error["status"]) == (case.code, case.status), error
        assert error["message"]


def check_silence(captured: str) -> None:
    """No output, and no file that a fault of ours would leave, holds a secret."""
    left = "".join(path.read_text(errors="replace") for path in Path().glob("isthmus-fault-*"))
    assert not left, left
    for secret in SECRETS:
        assert secret not in captured


def check_store(path: Path) -> None:
    """Every blob under a final name is what the name says."""
    with Store.open(path) as store:
        for digest, size in store.iter_blobs():
            data = store.blob_path(digest).read_bytes()
            assert len(data) == size
            assert hashlib.sha256(data).hexdigest() == digest.hex


@pytest.mark.parametrize("case", READING, ids=lambda case: case.name)
def test_pull(case: Case, behind: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    lock: Path = behind.lock  # type: ignore[attr-defined]
    wanted = {entry.name: entry.digest for entry in read_lock(lock).references}
    with Front(behind.address, uses=case.uses) as front:
        case.spoil(front)
        configure(front)
        pull = ["pull", "--lock", str(lock), "--store", "store", "--json", "-vv"]
        status = run([*pull, *through(front.url)])
        captured = capfd.readouterr()
        check_end(case, status, captured.out)
        check_silence(captured.out + captured.err)
    check_store(Path("store"))
    with Store.open(Path("store")) as store:
        assert {one.name: one.descriptor.digest for one in store.references()} == ({} if status else wanted)
    if status:
        assert run([*pull, *through(behind.url)]) == 0
    with Store.open(Path("store")) as store:
        assert {one.name: one.descriptor.digest for one in store.references()} == wanted


def tags_there(behind: DockerRegistry, prefix: str) -> dict[str, Digest]:
    """What the names stand for at the registry that is mirrored to."""
    found = {}
    with connect(behind.address, ConnectionOptions(credentials=FixedCredentials(None))) as registry:
        for name in NAMES:
            repository, _, tag = name.rpartition(":")
            descriptor = registry.manifest_digest(f"{prefix}/{repository}", tag)
            if descriptor is not None:
                found[name] = descriptor.digest
                registry.manifest(f"{prefix}/{repository}", tag)
    return found


def mirror_and_check(
    case: Case, behind: DockerRegistry, source: str, target: str, capfd: pytest.CaptureFixture[str], prefix: str
) -> None:
    lock: Path = behind.lock  # type: ignore[attr-defined]
    wanted = {entry.name: entry.digest for entry in read_lock(lock).references}
    mirror = ["mirror", "--lock", str(lock), "--json", "-vv", *through(source)]
    status = run([*mirror, "--to", f"{target}/{prefix}"])
    captured = capfd.readouterr()
    check_end(case, status, captured.out)
    check_silence(captured.out + captured.err)
    there = tags_there(behind, prefix)
    if status:
        # A tag that the registry took and lied about is there all the same, and right.
        assert all(wanted[name] == digest for name, digest in there.items())
        assert (
            run(["mirror", "--lock", str(lock), "-q", *through(behind.url), "--to", f"{behind.address}/{prefix}"])
            == 0
        )
    assert tags_there(behind, prefix) == wanted


@pytest.mark.parametrize("case", READING, ids=lambda case: case.name)
def test_mirror_from(case: Case, behind: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    with Front(behind.address, uses=case.uses) as front:
        case.spoil(front)
        configure(front)
        mirror_and_check(case, behind, front.url, behind.address, capfd, f"from/{case.name.lower()}")


@pytest.mark.parametrize("case", WRITING, ids=lambda case: case.name)
def test_mirror_to(case: Case, behind: DockerRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    with Front(behind.address, uses=case.uses) as front:
        case.spoil(front)
        configure(front)
        mirror_and_check(case, behind, behind.url, front.address, capfd, f"to/{case.name.lower()}")


def test_a_token_is_not_shown_to_whom_a_redirect_leads(
    behind: DockerRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    lock: Path = behind.lock  # type: ignore[attr-defined]
    with Front(behind.address) as front, Front(behind.address) as storage:
        storage.spoil(
            "GET", "/signed/.*", lambda a: storage.pass_on(replace(a, target=a.target[7:].partition("?")[0]))
        )
        leads = lambda a: Reply(307, headers={"Location": f"{storage.url}/signed{a.target}?sig={SIGNATURE}"})  # noqa: E731
        front.spoil("GET", BLOB, leads)
        configure(front)
        status = run(["pull", "--lock", str(lock), "--store", "store", "-vv", *through(front.url)])
        assert status == 0
        assert storage.requests
        assert all(not asked.header("Authorization") for asked in storage.requests)
    captured = capfd.readouterr()
    check_silence(captured.out + captured.err)
