"""Everything that is not an image crosses once, by the command line, and is used by its real consumers.

Outside: an HTTP publisher, a git repository, and Debian's docker-registry with a chart. Inside: `serve`, its file
server, and another docker-registry that `push` fills; git, Helm's own library, promtool and curl's work by urllib.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.content.alerts import staleness_rules
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, ServerThread
from tests.content.conftest import Publisher
from tests.content.workplace import Workplace
from tests.real.conftest import StartRegistry
from tests.real.programs import require

pytestmark = [pytest.mark.real]
BINARY = os.urandom(300_000)


def chart(name: str, version: str) -> bytes:
    out = io.BytesIO()
    texts = {
        f"{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n",
        f"{name}/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
        f"{name}/values.yaml": "a: 1\n",
    }
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workplace:
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    return Workplace(directory, capsys)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "published")
    yield made
    made.server.shutdown()
    made.server.server_close()


def origin(tmp_path: Path) -> str:
    work = tmp_path / "origin"
    work.mkdir()
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "one"], ["tag", "v1.0"]):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@x", *words], cwd=work, check=True, capture_output=True
        )
    return f"file://{work}"


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
    return body


def test_everything_crosses_and_is_used(
    place: Workplace, publisher: Publisher, docker_registry: StartRegistry, tmp_path: Path
) -> None:
    require("git")
    outside, inside = docker_registry(), docker_registry()
    helm = pytest.importorskip("helm_python", reason="needs helm-python-sdk (the extra helm)")
    from helm_python import registry as helm_registry

    for version in ("1.0.0", "1.4.2", "2.0.0"):
        archive = tmp_path / f"oci-{version}.tgz"
        archive.write_bytes(chart("oci", version))
        helm_registry.push(archive, f"oci://{outside.address}/charts", plain_http=True)
    data = chart("web", "3.1.4")
    publisher.put("repo/web-3.1.4.tgz", data)
    index = {"apiVersion": "v1", "entries": {"web": [{"name": "web", "version": "3.1.4", "urls": ["web-3.1.4.tgz"],
             "digest": hashlib.sha256(data).hexdigest()}]}}  # fmt: skip
    publisher.put("repo/index.yaml", json.dumps(index).encode())
    binary = publisher.put("release/v1.31.0/bin/linux/amd64/kubelet", BINARY)
    git = origin(tmp_path)
    place.write(
        {"file": binary, "sha256": hashlib.sha256(BINARY).hexdigest()},
        {"file": publisher.put("db.bin", b"ages"), "refresh": "9d", "serve": "data/"},
        {"git": git, "serve": "git/origin.git"},
        {"chart": f"{publisher.url}/repo#web"},
        {"chart": f"oci://{outside.address}/charts/oci?version=^1"},
        architectures=[],
    )
    assert place.run("lock")[0] == 0
    names = {entry.kind: entry.stored_name for entry in place.entries().values()}
    assert f"{outside.address}/charts/oci:1.4.2" in {entry.stored_name for entry in place.entries().values()}
    assert names["git"].startswith("isthmus.internal/git/")
    assert place.run("pull")[0] == 0
    # What lock and pull brought is named: nothing of it is garbage.
    assert place.run("gc", "--store", str(place.store), "--grace", "0", "--dry-run")[1]["blobs"] == 0
    status, packed = place.run("pack", "--no-tool", "--out", "bundle")
    assert status == 0, str(packed)
    site = tmp_path / "site"
    assert place.run("unpack", "bundle", "--store", str(site))[0] == 0
    status, checked = place.run("check", "--store", str(site))
    assert (status, checked["present"]) == (0, len(place.entries())), str(checked)
    assert place.run("receipt", "--store", str(site), "--out", "site.receipt")[0] == 0

    assert place.run("push", "--store", str(site), "--to", inside.address)[0] == 0
    status, checked = place.run("check", "--registry", inside.url)
    assert (status, checked["present"]) == (0, len(place.entries())), str(checked)
    mirrored = place.run("mirror", "--to", f"{inside.address}/again")
    assert mirrored[0] == 0, str(mirrored)

    server = ServerThread(site, MirrorMap(), Listen(files=("127.0.0.1", 0)))
    try:
        _consume(server, publisher, helm_registry, helm, tmp_path)
    finally:
        server.stop()


def _consume(server: ServerThread, publisher: Publisher, helm_registry: Any, helm: Any, tmp_path: Path) -> None:
    files = f"http://{server.files_address}"
    assert get(f"{files}/{publisher.host}/release/v1.31.0/bin/linux/amd64/kubelet") == BINARY
    assert get(f"{files}/data/db.bin") == b"ages"
    assert b"isthmus_perishable_age_seconds" in get(f"http://{server.address}/metrics")
    subprocess.run(
        ["git", "clone", "-q", f"{files}/git/origin.git", str(tmp_path / "clone")], check=True,
        capture_output=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "clone" / ".git").is_dir()
    where = tmp_path / "pulled"
    where.mkdir()
    reference = f"oci://{server.address}/mirror/isthmus.internal/charts/web"
    helm_registry.pull(reference, version="3.1.4", destination=where, plain_http=True)
    loaded = helm.Chart.load(where / "web-3.1.4.tgz")
    assert (loaded.name, loaded.version) == ("web", "3.1.4")


def test_promtool_accepts_the_alert_rules(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    rules = tmp_path / "rules.yaml"
    rules.write_text(staleness_rules())
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True, capture_output=True)
    series = [
        {"series": f'isthmus_perishable_{what}{{name="db",kind="artifact"}}', "values": f"{value}+0x200"}
        for what, value in (("age_seconds", 95), ("max_age_seconds", 100), ("stale", 0))
    ]
    stale = [{"series": 'isthmus_perishable_stale{name="old",kind="file"}', "values": "1+0x200"}]
    expected = [
        {"alertname": "IsthmusPerishableStale", "eval_time": "2h", "exp_alerts": [
            {"exp_labels": {"severity": "warning", "name": "old", "kind": "file"}, "exp_annotations": {
                "summary": "old is stale",
                "description": "It is missing, or older than is accepted. Outside: isthmus refresh --pack DIR "
                "--since RECEIPT; inside: isthmus unpack. What breaks: isthmus status."}}]},
        {"alertname": "IsthmusPerishableSoonStale", "eval_time": "2h", "exp_alerts": [
            {"exp_labels": {"severity": "info", "name": "db", "kind": "artifact"}, "exp_annotations": {
                "summary": "db is soon stale", "description": "It is 1m 35s old: bring a refreshed bundle."}}]},
        {"alertname": "IsthmusPerishablesUnknown", "eval_time": "2h", "exp_alerts": []},
    ]  # fmt: skip
    one = {"interval": "1m", "input_series": [*series, *stale], "alert_rule_test": expected}
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [one]}
    (tmp_path / "tests.yaml").write_text(json.dumps(tests))
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
