"""`status` on a terminal, and what `report` reads of other commands."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from isthmus.cli.looking import Looker
from isthmus.cli.main import run as run_command
from isthmus.cli.reporting import read_rehearsal
from isthmus.errors import UsageError
from isthmus.inventory.lock import Lock, LockEntry, write_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.rehearse.result import Egress, Failure, RehearsalResult
from isthmus.report.platform import Known, make_report
from isthmus.serve import serving
from isthmus.store import Store
from tests.serve.conftest import fill

ISTHMUS = Path(sys.executable).with_name("isthmus")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    content = fill(tmp_path / ".isthmus/store")
    entry = LockEntry("image", "registry.k8s.io/pause:3.10", content.pause.digest, content.pause.media_type)
    write_lock(tmp_path / "isthmus.lock", Lock(references=(entry,)))
    return tmp_path


def test_on_a_terminal_it_looks_again_until_it_is_stopped(place: Path) -> None:
    main, side = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [ISTHMUS, "status", "--every", "0.3"], cwd=place, stdin=side, stdout=side, stderr=side, env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        os.close(side)
        said = _until(main, "1 of 1 are there")
        assert "isthmus status" in said
        with Store.open(place / ".isthmus/store") as store:
            store.set_references((), remove=["registry.k8s.io/pause:3.10"])
        _until(main, "0 of 1 are there")
        process.send_signal(signal.SIGINT)
        rest = _until(main, "the name is not")
        assert "Traceback" not in rest
        assert process.wait(20) == 3
    os.close(main)


def _until(descriptor: int, words: str) -> str:
    said = ""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([descriptor], [], [], 0.5)[0]:
            try:
                said += os.read(descriptor, 65536).decode("utf-8", "replace")
            except OSError:
                break
            if words in said:
                return said
    raise AssertionError(said[-2000:])


def test_what_is_looked_at_again_costs_nothing_while_nothing_changes(place: Path) -> None:
    looker = Looker(place / ".isthmus/store", place / "isthmus.lock", (), "", None, tuple)
    first = looker.look()
    again = looker.look()
    assert first.is_good
    assert again.coverage is first.coverage
    assert again.store is first.store


def test_a_server_that_lacks_something(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import http.client

    with serving(place / ".isthmus/store", MirrorMap()) as address:
        connection = http.client.HTTPConnection(address)
        connection.request("GET", "/v2/mirror/quay.io/none/manifests/1")
        assert connection.getresponse().status == 404
        connection.close()
        assert run_command(["status", "--serve", f"http://{address}"]) == 3
        assert "missing     quay.io/none:1" in capsys.readouterr().out
        assert run_command(["status", "--serve", f"http://{address}", "--json"]) == 3
        document = json.loads(capsys.readouterr().out)
        assert document["serve"]["missing"][0]["name"] == "quay.io/none:1"
        assert document["serve"]["metrics"]["isthmus_missing"] == 1


def test_a_site_has_the_lock_that_came_with_its_bundle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place / ".isthmus/store"
    (place / "isthmus.lock").rename(store / "isthmus.lock")
    monkeypatch.chdir("/")
    for words in (["check", "--store", str(store)], ["report", "--store", str(store)]):
        assert run_command(words) == 0
    assert run_command(["check", "--store", str(store), "--lock", "none.lock"]) == 2


def test_a_rehearsal_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = RehearsalResult(
        pulled=2, failed=(Failure("a", "not there"),), notes=("n",), seconds=1.5,
        egress=(
            Egress("x.org", 443, "tcp", "a.io/b:1", "sh", 3),
            Egress("y.org", 0, "dns", "a.io/b:1", "", 1, "allow"),
        ),
    )  # fmt: skip
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result.document()))
    read = read_rehearsal(path)
    assert (read.pulled, read.failed[0].name, [row.decision for row in read.egress]) == (2, "a", ["", "allow"])
    entry = LockEntry("image", "a.io/b:1", Digest.of(b""), evidence=("images:i.txt",))
    report = make_report(Lock(references=(entry,)), Known(rehearsal=read))
    leaving = next(each for each in report.open if each.rule == "undecided-egress")
    assert leaving.evidence[0].source == "images:i.txt"
    assert msgspec.json.decode(msgspec.json.encode(report))["rehearsal"]["pulled"] == 2


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"pulled": "x"}', '{"pulled": 1, "egress": [1]}', '{"pulled": 1, "egress": 5}']
)
def test_what_is_no_rehearsal(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_rehearsal(path)
