"""`isthmus configure` as people run it: statuses, --json, --dry-run, the same bytes again, nothing elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus.cli.main import run
from isthmus.inventory.lock import Lock, write_lock
from tests.site.conftest import GUIDE, entries

RUNTIMES = {"containerd": ("containerd", "cluster-api", "kubespray"), "rke2": ("rke2",), "talos": ("talos",)}


def snapshot(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a directory: mode, when it was changed, and the bytes."""
    return {
        str(path.relative_to(top)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in top.rglob("*")
    }


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide's isthmus.yaml and lock, without the checkout of Compliant Kubernetes."""
    work = tmp_path / "work"
    work.mkdir()
    text = (GUIDE / "isthmus.yaml").read_text()
    (work / "isthmus.yaml").write_text(
        text.replace("kind: harbor", "ca: ca.pem\n    kind: harbor").partition("  ck8s:")[0]
        + "  alerts:"
        + text.partition("  alerts:")[2]
    )
    shutil.copy(GUIDE / "ca.pem", work / "ca.pem")
    write_lock(work / "isthmus.lock", Lock(references=entries()))
    monkeypatch.chdir(work)
    return work


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    status = run(["configure", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_only_the_output_directory_is_touched(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(workplace.parent)
    status, document = told(capsys, "--out", "site")
    assert (status, document["decisions"]) == (0, [])
    after = snapshot(workplace.parent)
    assert {name: value for name, value in after.items() if not name.startswith("work/site")} == before
    written = {str(path.relative_to(workplace)) for path in (workplace / "site").rglob("*") if path.is_file()}
    assert written == set(document["files"])
    assert not [path for path in (workplace / "site").rglob("*") if path.is_symlink()]


def test_the_same_again_changes_nothing_and_elsewhere_is_the_same(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "--out", "site")
    before = snapshot(workplace / "site")
    told(capsys, "--out", "site")
    assert snapshot(workplace / "site") == before
    told(capsys, "--out", "other")
    other = snapshot(workplace / "other")
    assert {name: (mode, data) for name, (mode, _, data) in other.items()} == {
        name: (mode, data) for name, (mode, _, data) in before.items()
    }


def test_a_dry_run_names_the_same_files_and_writes_none(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(workplace.parent)
    status, document = told(capsys, "--out", "site", "--dry-run")
    assert status == 0
    assert snapshot(workplace.parent) == before
    assert told(capsys, "--out", "site")[1] == document
    assert run(["configure", "--out", "again", "--dry-run"]) == 0
    assert "would write again/README.md" in capsys.readouterr().out


def test_an_open_decision_is_status_3_and_is_in_the_readme(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workplace / "isthmus.yaml"
    file.write_text(file.read_text().replace(", address: 10.65.131.137}", "}"))
    status, document = told(capsys, "--out", "site")
    assert status == 3
    keys = {decision["key"] for decision in document["decisions"]}
    assert keys == {"site.files.address"}
    assert "site.files.address" in (workplace / "site/README.md").read_text()
    assert told(capsys, "--check")[0] == 3
    file.write_text(
        file.read_text().replace("  waive:", "  waive:\n    - {what: site.files.address, reason: ours}")
    )
    assert told(capsys, "--out", "site")[0] == 0
    assert "Nothing is left to decide." in (workplace / "site/README.md").read_text()


@pytest.mark.parametrize(
    "words",
    [[], ["--out", "x", "--only", "nothing"], ["--out", "x", "--lock", "none.lock"], ["--registry", "a/b"]],
)
def test_wrong_usage_is_status_2(workplace: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, document = told(capsys, *words)
    assert (status, document["error"]["status"]) == (2, 2)
    assert document["error"]["message"]
    assert not (workplace / "x").exists()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_readme_says_what_the_runtime_needs(
    workplace: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = workplace / "isthmus.yaml"
    file.write_text(file.read_text().replace("runtime: containerd", f"runtime: {runtime}"))
    assert told(capsys, "--out", "site", "--only", "index")[1]["files"] == ["site/README.md"]
    text = (workplace / "site/README.md").read_text()
    nodes = text.partition("## Nodes")[2].partition("## Site and clusters")[0]
    table, _, others = nodes.partition("not needed for")
    for name in RUNTIMES[runtime]:
        assert f"[{name}/]({name}/)" in table
        assert f"`{name}/`" not in others
    assert "`openshift/`" in others


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["configure", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert "exit status is 3" in " ".join(text.split())


def test_a_link_in_the_output_directory_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "site").mkdir()
    (workplace / "elsewhere").mkdir()
    (workplace / "site/containerd").symlink_to(workplace / "elsewhere")
    status, document = told(capsys, "--out", "site")
    assert (status, document["error"]["code"]) == (2, "wrong-usage")
    assert not list((workplace / "elsewhere").iterdir())
    assert sorted(path.name for path in (workplace / "site").iterdir()) == ["containerd"]


def test_json_is_one_document(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["configure", "--out", "site", "--json"]) == 0
    out = capsys.readouterr().out
    assert set(msgspec.json.decode(out)) == {"files", "decisions"}
