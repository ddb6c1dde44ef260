"""Input that wants to do harm: an error that names the file, soon, and nothing else."""

import gzip
import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.scan.document import Document
from isthmus.scan.input import MAX_FILE, decode, read_text
from isthmus.scan.run import scan, scan_documents
from isthmus.scan.yaml_reader import parse_all

BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40)
)
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: x/good:1}]}\n"

HOSTILE = {
    "aliases": BOMB.encode(),
    "merge-keys": MERGE_BOMB.encode(),
    "cycle": b"a: &a [*a]\n",
    "no-anchor": b"a: *b\n",
    "100-mb-scalar": b"a: " + b"x" * 100_000_000,
    "deep-flow": b"[" * 3_000_000,
    "deep-mapping": b"{a: " * 1_000_000,
    "deep-block": b"- " * 3_000_000,
    "deep-json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "invalid-utf-8": b"a: \xff\xfe\n",
    "nul": b"a: \0\n",
    "control": b"a: \x01\n",
    "template": b"a: {{ .Values.x }}\n",
    "keys": b"? {a: 1}\n: 2\n",
    "anchors": b"&a " * 100_000,
    "unclosed": b'a: "x',
    "tab": b"a:\n\t- b\n",
    "damaged-gzip": gzip.compress(b"a: 1" * 1000)[:-20],
    "gzip-bomb": gzip.compress(b"\0" * (MAX_FILE + 10), 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_names_the_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.yaml"
    file.write_bytes(HOSTILE[name])
    started = time.process_time()
    inventory = scan([f"manifests:{file}"])
    assert time.process_time() - started < 1.5
    assert not inventory.references
    (item,) = inventory.unresolved
    assert item.what.startswith(str(file))
    assert item.finding is not None


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "x" * 10_000_000,
        'a: "' + "x y" * 3_000_000 + '"',
        "#" * 10_000_000,
        " " * 10_000_000,
        "\n" * 10_000_000,
    ],
    ids=["plain", "quoted", "comment", "blanks", "lines"],  # the text itself would be in the environment
)
def test_long_lines_are_read_in_time(tmp_path: Path, text: str) -> None:
    file = tmp_path / "long.yaml"
    file.write_text(f"{POD}---\n{text}\n---\n{POD.replace('good', 'better')}")
    started = time.process_time()
    inventory = scan([f"manifests:{file}"])
    assert time.process_time() - started < 2.5
    assert [ref.name for ref in inventory.references] == ["docker.io/x/better:1", "docker.io/x/good:1"]


SLOW = {
    "containers": "docker " * 140_000,
    "flags": "docker pull " + "--a " * 250_000,
    "managers": "apk -apk " * 100_000,
    "kubectl": "kubectl x " * 100_000,
    "spaces": "a =" + " " * 900_000 + "x" + " " * 90_000 + "y",
    "words": "a" * 1_000_000,
    "images": "image" * 200_000,
    "dashes": "-" * 1_000_000,
    "slashes": "https://" * 120_000,
    "dots": "a." * 500_000,
    "plugins": "opensearch-plugin install " * 38_000,
    "servers": "server " * 14_000 + " iburst",
    "lines": "image: \n" * 120_000,
    "quotes": "'" * 1_000_000,
    "assignments": "A=quay.io/a/b:1," * 60_000,
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("key", ["run.sh", "a.yaml", "a.conf"])
def test_no_text_is_slow_to_search(name: str, key: str) -> None:
    text = SLOW[name] + "\nimage = 1\n"
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {key: text}}
    started = time.process_time()
    scan_documents([Document("hostile", data)])
    assert time.process_time() - started < 3


@pytest.mark.parametrize("name", SLOW)
def test_no_argument_is_slow_to_search(name: str) -> None:
    container = {
        "image": "x/y:1",
        "args": [SLOW[name], f"--a={SLOW[name]}"],
        "env": [{"name": "A", "value": SLOW[name]}],
    }
    things = {
        "apiVersion": "x.io/v1",
        "kind": "T",
        "spec": {"url": SLOW[name], "image": SLOW[name], SLOW[name]: "x"},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    started = time.process_time()
    scan_documents([Document("hostile", pod), Document("hostile", things)])
    assert time.process_time() - started < 4


def test_the_rest_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    file.write_text(f"{POD}---\na: {{{{ x }}}}\n---\n{POD.replace('good', 'better')}")
    inventory = scan([f"manifests:{file}"])
    assert len(inventory.references) == 2
    (item,) = inventory.unresolved
    assert item.what == f"{file}:6"
    assert "helm:" in item.hint


def test_memory_stays_bounded(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMB)
    tracemalloc.start()
    scan([f"manifests:{file}"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_deep_but_allowed(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    value: object = {"image": "quay.io/a/b:1"}
    for _ in range(150):
        value = {"a": [value]} if isinstance(value, dict) else value
    file.write_text(json.dumps({"apiVersion": "x.io/v1", "kind": "T", "spec": value}))
    scan([f"manifests:{file}"])


def test_special_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "link.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "up").symlink_to(tmp_path)
    (tmp_path / "good.yaml").write_text(POD)
    inventory = scan([f"manifests:{tmp_path}"])
    assert [ref.name for ref in inventory.references] == ["docker.io/x/good:1"]
    assert len(inventory.unresolved) == 3


def test_errors_of_reading(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_text(str(tmp_path / "none"))
    assert caught.value.code == "file-not-found"
    with pytest.raises(UsageError, match="UTF-8"):
        decode(b"\xff", "x")
    assert decode(b"\xef\xbb\xbfa: 1", "x") == "a: 1"
    assert decode(gzip.compress(b"a: 1\n") + gzip.compress(b"b: 2\n"), "x") == "a: 1\nb: 2\n"
    with pytest.raises(UsageError, match="NUL"):
        read_text(str(_write(tmp_path / "nul", b"a\n\0")))


def test_a_list_of_everything_is_one_document() -> None:
    items = [
        {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": f"x/y:{i}"}]}} for i in range(2000)
    ]
    (document,) = parse_all(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "x")
    assert len(document["items"]) == 2000


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
