"""The benchmarks really run, small, with real counterparts: `bench memory` here, whose limits must hold."""

import json
from pathlib import Path

import pytest

from bench import __main__ as command_line
from tests.real.programs import require

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_memory_and_disk_stay_within_their_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require("docker-registry")
    assert command_line.main(["memory", "--size", "160MiB", "--results", str(tmp_path)]) == 0
    assert "kept" in capsys.readouterr().out
    runs = json.loads((tmp_path / "memory.json").read_text())["runs"]
    assert {"mirror", "pack", "pack in volumes", "pull", "push", "unpack", "unpack in volumes"} == set(runs)
