"""The examples of docs/library.md, as they stand there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import serving
from tests.transfer.images import API, SHARED, WEB, fill

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
HOSTS = ("docker.io", "quay.io", "ghcr.io")


def example(name: str) -> Callable[..., Any]:
    """A function that the page defines."""
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if f"def {name}(" in block:
            namespace: dict[str, Any] = {"__name__": "docs.library"}
            exec(compile(block, str(PAGE), "exec"), namespace)
            found: Callable[..., Any] = namespace[name]
            return found
    raise AssertionError(f"{PAGE} defines no {name}")


def test_registries_to_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifests = fill(tmp_path / "upstream")
    with serving(tmp_path / "upstream", MirrorMap(prefix="")) as address:
        substitutes = {host: f"http://{address}/{host}" for host in HOSTS}
        names = [WEB, API, SHARED, "quay.io/team/none:1"]
        entries, result = example("fetch")(names, tmp_path / "store", substitutes)
        _, again = example("fetch")(names[:3], tmp_path / "store", substitutes)
    assert {entry.name: entry.digest for entry in entries} == {n: manifests[n].digest for n in (WEB, API, SHARED)}
    assert [root.digest for root in result.roots] == [entry.digest for entry in entries]
    assert (again.blobs, again.bytes, again.skipped) == (0, 0, result.blobs)
    assert capsys.readouterr().out.startswith("quay.io/team/none:1: ")
