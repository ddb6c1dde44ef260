"""A directory with an isthmus.yaml, in which commands are run. Not a test file."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.main import run
from isthmus.inventory.lock import LockEntry, read_lock


class Workplace:
    """A directory with an isthmus.yaml, in which commands are run."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.capsys = capsys
        self.lock = directory / "isthmus.lock"
        self.store = directory / ".isthmus" / "store"

    def write(self, *additions: dict[str, Any], **platform: Any) -> None:
        document = {"platform": {"name": "p", "add": list(additions), **platform}}
        (self.directory / "isthmus.yaml").write_text(json.dumps(document))

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        status = run([*arguments, "--json"])
        out = self.capsys.readouterr().out
        return status, json.loads(out) if out else {}

    def entries(self) -> dict[str, LockEntry]:
        return {entry.name: entry for entry in read_lock(self.lock).references}
