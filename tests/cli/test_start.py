"""The program begins and ends without searching for garbage; a command searches."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from isthmus.cli.command import Run, common_options
from isthmus.cli.start import main


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_status_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["isthmus", "no-such-command"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2


def test_a_command_searches_for_garbage() -> None:
    seen = []

    def command(_run: Run) -> None:
        seen.append(gc.isenabled())

    gc.disable()
    common_options(command)(as_json=False, verbose=0, quiet=False, file=None, workspace=None)
    assert seen == [True]


def test_little_is_imported_before_a_command_is_known() -> None:
    code = """
import sys
from isthmus.cli.start import main
sys.argv = ["isthmus", "--version"]
try:
    main()
finally:
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "isthmus.cli.main" in loaded
    heavy = {"aiohttp", "asyncio", "cryptography", "jinja2", "rich", "sqlite3", "ssl", "yaml"}
    assert not heavy & loaded
    assert not {
        name for name in loaded if name.startswith(("isthmus.bundle", "isthmus.registry", "isthmus.store"))
    }
