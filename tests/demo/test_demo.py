"""The demo does a whole crossing, leaves nothing behind, and takes one more step as one function."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.demo.run import run_demo
from isthmus.demo.steps import STEPS, Step, World
from isthmus.errors import UsageError


def test_the_command_proves_every_reference_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", "demo", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    # What is served has the list of what becomes stale, too, which the lock makes.
    assert document["found"] + 1 == document["served"] == document["proved"] == 10
    assert document["carried"] >= 30
    results = {step["step"]: step["result"] for step in document["steps"]}
    assert "0 decisions open" in results["configure"]
    assert "newer: vulnerabilities.db" in results["receipt, update"]
    assert list(tmp_path.iterdir()) == []


def test_keep_leaves_everything_and_wants_an_empty_directory(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "kept")
    assert report.kept == tmp_path / "kept"
    assert (tmp_path / "kept" / "outside" / "isthmus.lock").exists()
    assert (tmp_path / "kept" / "inside" / "store" / "index.json").exists()
    assert (tmp_path / "kept" / "inside" / "site" / "dns" / "unbound.conf").exists()
    assert (tmp_path / "kept" / "outside" / "bundle" / "release.html").exists()
    with pytest.raises(UsageError) as caught:
        run_demo(tmp_path / "kept")
    assert caught.value.code == "file-exists"


def test_another_step_is_one_function(tmp_path: Path) -> None:
    def count(world: World) -> str:
        return f"{len(world.lock.references)} again"

    report = run_demo(steps=(*STEPS, Step("Count", count)))
    assert report.lines[-1].result == "10 again"
