"""The measuring itself: that a benchmark's numbers are those of the command, and its checks bite."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench import __main__ as command_line
from bench import layout
from bench.big_blob import chunks
from bench.disk import DiskWatch, used
from bench.measure import Cost, MeasureError, Spread, best_peer, run, take_turns
from bench.priority import precedence
from bench.report import MIB, Report, Table


def python(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", program]


def test_cost_is_that_of_the_command_and_its_children(tmp_path: Path) -> None:
    child = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    cost = run(python(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"), cwd=tmp_path)
    assert 0.3 <= cost.cpu < 3
    assert cost.wall >= 0.3


def test_peak_memory_is_not_that_of_the_measuring_process(tmp_path: Path) -> None:
    ballast = bytearray(96 * MIB)
    small = run(python("pass"), cwd=tmp_path)
    large = run(python(f"bytearray({len(ballast)})[:] = b'x' * {len(ballast)}"), cwd=tmp_path)
    assert small.peak_rss < 64 * MIB < 96 * MIB < large.peak_rss


def test_a_command_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"(?s)status 3.*because"):
        run(python("import sys; print('because'); sys.exit(3)"), cwd=tmp_path)


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def contender(name: str) -> Mapping[str, Cost]:
        order.append(name)
        return {"all": Cost(float(len(order)), 1, 1, 1)}

    costs = take_turns({"a": lambda: contender("a"), "b": lambda: contender("b")}, 2, lambda _: None)
    assert order == ["a", "b"] * 3
    assert [cost.wall for cost in costs["all"]["b"]] == [4, 6]


def test_medians_and_the_best_peer() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert best_peer({"isthmus": 1.0, "x": 3.0, "y": 2.0}, "isthmus") == ("y", 2.0)
    assert best_peer({"isthmus": 1.0}, "isthmus") is None


def test_disk_is_blocks_and_a_linked_file_counts_once(tmp_path: Path) -> None:
    before = used([tmp_path])
    with DiskWatch(tmp_path) as watch:
        (tmp_path / "data").write_bytes(b"x" * MIB)
        (tmp_path / "same").hardlink_to(tmp_path / "data")
    assert used([tmp_path]) - before == watch.growth
    assert MIB <= watch.growth < 2 * MIB
    assert used([tmp_path / "nothing"]) == 0


def test_a_layout_with_a_flipped_byte_or_a_missing_blob_is_refused(tmp_path: Path) -> None:
    def put(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (tmp_path / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    layer = put(b"layer")
    config = put(json.dumps({"config": {"Cmd": ["/bin/sh"]}}).encode())
    top = put(
        json.dumps({"manifests": [put(json.dumps({"config": config, "layers": [layer]}).encode())]}).encode()
    )
    assert layout.check(tmp_path, [str(top["digest"])]) == 4
    path = tmp_path / "blobs" / "sha256" / str(layer["digest"]).removeprefix("sha256:")
    path.write_bytes(b"lAyer")
    with pytest.raises(MeasureError, match="not what its name says"):
        layout.check(tmp_path, [str(top["digest"])])
    path.unlink()
    with pytest.raises(MeasureError, match="is not in"):
        layout.check(tmp_path, [str(top["digest"])])


@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 5])
def test_generated_bytes_have_their_size_and_are_the_same_again(size: int) -> None:
    content = b"".join(chunks(size))
    assert len(content) == size
    assert content == b"".join(chunks(size))


def test_a_report_is_written_with_every_run(tmp_path: Path) -> None:
    costs = {"all": {"isthmus": [Cost(1.5, 0.5, 0.25, MIB, {"requests": 3.0})]}}
    path = Report("x", {"runs": 1}, {}, costs, [], failures=["too big"]).write(tmp_path)
    document = json.loads(path.read_text())
    assert document["runs"]["all"]["isthmus"][0]["cpu"] == 0.75
    assert document["failures"] == ["too big"]
    assert document["machine"]["cores"] >= 1


def test_a_table_aligns_its_columns() -> None:
    text = str(Table("title", ("tool", "s"), [("a", "10.00"), ("long", "1.00")], ["note"]))
    assert text.splitlines() == ["title", "tool      s", "────  ─────", "a     10.00", "long   1.00", "note"]


def test_the_command_line_names_the_benchmarks_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["speed"])
    assert stopped.value.code == 2
    assert "transfer, between" in capsys.readouterr().err


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="raising priorities needs root")
def test_precedence_reaches_what_is_measured_and_ends(tmp_path: Path) -> None:
    ask = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with precedence():
        run(python(ask), cwd=tmp_path, log=tmp_path / "log")
    assert (tmp_path / "log").read_text().strip() == "-19"
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
