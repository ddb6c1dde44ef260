"""The report's forms by the schemas of those who define them; the commands after a whole crossing."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.main import run as run_command
from isthmus.demo.run import run_demo
from isthmus.report.platform import write
from tests.report import example

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def test_sarif_is_valid_by_the_schema_of_oasis(tmp_path: Path) -> None:
    schemas = pytest.importorskip("jsonschema_rs")
    schema = _sarif_schema(tmp_path)
    # A pattern in it is no regular expression ("]?" without its bracket); nothing of ours has a language.
    for name in ("run", "toolComponent"):
        del schema["definitions"][name]["properties"]["language"]["pattern"]
    log = json.loads(write(example.report(), "sarif"))
    assert [str(error) for error in schemas.validator_for(schema).iter_errors(log)] == []


def test_cyclonedx_is_valid_by_the_official_schema() -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib, which has the schemas, is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = write(example.report(), "cyclonedx").decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


@pytest.fixture
def crossed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both sides after the demonstration's crossing."""
    run_demo(tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795514400")
    return tmp_path


def test_a_report_and_a_status_of_a_site(crossed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock, store = "demo/outside/isthmus.lock", "demo/inside/store"
    outs = [f"r{ending}" for ending in (".html", ".json", ".csv", ".cdx.json", ".vex.json", ".sarif", ".xml")]
    words = ["report", "--lock", lock, "--store", store, *(word for out in outs for word in ("--out", out))]
    assert run_command(words) == 0
    first = {out: (crossed / out).read_bytes() for out in outs}
    assert run_command(words) == 0
    assert {out: (crossed / out).read_bytes() for out in outs} == first
    report = json.loads(first["r.json"])
    assert {item["state"] for item in report["needed"]} == {"present"}
    assert report["exact"]
    assert report["crossings"][0]["name"] == "demo"
    assert report["crossings"][0]["signed_by"]
    capsys.readouterr()

    assert run_command(["status", "--once", "--store", store, "--lock", lock, "--bundles", "demo/outside"]) == 0
    said = capsys.readouterr().out
    count = len(report["needed"])
    assert f"{count} of {count} are there" in said
    assert "demo/outside/bundle: " in said
    assert run_command(["status", "--json", "--store", store, "--lock", lock]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["present"] == count

    for blob in (crossed / store / "blobs/sha256").iterdir():
        if blob.stat().st_size > 1_000_000:
            blob.unlink()
    assert run_command(["status", "--store", store, "--lock", lock]) == 3
    assert run_command(["check", "--store", store, "--lock", lock, "--junit", "check.xml"]) == 3
    assert "is not there" in (crossed / "check.xml").read_text()
    assert run_command(["report", "--lock", lock, "--store", store, "--out", "bad.sarif"]) == 3
    assert json.loads((crossed / "bad.sarif").read_bytes())["runs"][0]["results"]
    capsys.readouterr()
    upgrade = ["check", "--upgrade", lock, "--store", store, "--contents", "demo/outside/store", "--json"]
    assert run_command(upgrade) == 3
    carry = json.loads(capsys.readouterr().out)
    assert carry["exact"]
    assert carry["bytes"] > 1_000_000
    assert run_command(["receipt", "--store", "demo/outside/store", "--out", "whole.receipt"]) == 0
    by_receipt = ["check", "--upgrade", lock, "--receipt", "whole.receipt", "--json"]
    assert run_command(by_receipt) == 0


def test_wrong_usage_is_said(crossed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del crossed
    lock = "demo/outside/isthmus.lock"
    assert run_command(["report", "--lock", lock, "--out", "report.pdf"]) == 2
    assert "none of the known endings" in capsys.readouterr().err
    assert run_command(["report", "--lock", lock, "--rehearsal", lock, "--out", "r.html"]) == 2
    assert run_command(["check", "--lock", lock, "--receipt", "x"]) == 2
    assert run_command(["check", "--environment"]) == 2
    assert run_command(["status", "--store", "nowhere"]) == 2
    assert run_command(["status", "--store", "demo/inside/store", "--serve", "ftp://x"]) == 2
    assert run_command(["status", "--store", "demo/inside/store", "--serve", "http://127.0.0.1:1"]) == 3


def _sarif_schema(place: Path) -> Any:
    """From a package of npm that brings it; skips where npm or the package cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("not installed: npm, which brings the schema of SARIF")
    done = subprocess.run(
        [npm, "pack", "--silent", "@microsoft/jest-sarif@1.0.0-beta.0"],
        cwd=place, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    archives = list(place.glob("*.tgz"))
    if done.returncode or not archives:
        pytest.skip(f"the schema of SARIF cannot be had: {done.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/lib/schemas/sarif-2.1.0-rtm.5.json")
        assert member is not None
        return json.load(member)
