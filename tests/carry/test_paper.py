"""A receipt goes back on paper: printed, typed with slips, scanned in any order, and is as good as the file."""

import importlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.bundle import KeyPaths, generate_keys, load_private_key, load_public_key, read_receipt
from isthmus.bundle.compact import check_compact, make_compact, read_compact
from isthmus.carry.paper import read_lines, to_lines, write_sheet
from isthmus.carry.paper.sheet import code_texts
from isthmus.cli.main import main
from isthmus.errors import IncompleteError, IsthmusError, UsageError, VerificationError
from isthmus.oci import Digest
from isthmus.store import Store
from tests.bundle.conftest import fill, put_image

DIGESTS = [Digest.of(str(number).encode()) for number in range(300)]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPaths:
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> KeyPaths:
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def data(keys: KeyPaths) -> bytes:
    return make_compact(DIGESTS, load_private_key(keys.private))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), seed=st.integers())
def test_any_bytes_in_any_order_in_any_hand(data: bytes, seed: int) -> None:
    lines, chance = to_lines(data), random.Random(seed)
    chance.shuffle(lines)
    written = [
        line.lower().replace("1", "l").replace("0", "o") if chance.random() < 0.5 else line for line in lines
    ]
    text = "\n".join(["a note on top", *written, *chance.sample(lines, len(lines) // 2), "and below"])
    assert read_lines(text) == data


def test_each_slip_is_found_in_its_line(data: bytes) -> None:
    chance = random.Random(1)
    lines = to_lines(data)
    assert max(map(len, lines)) < 80
    for _ in range(500):
        number = chance.randrange(len(lines))
        line = lines[number]
        place = chance.choice([n for n, letter in enumerate(line) if letter.isalnum()])
        slip = chance.choice("23456789ABCDEFGHJKMNPQRSTVWXYZ".replace(line[place], ""))
        typed = [*lines[:number], line[:place] + slip + line[place + 1 :], *lines[number + 1 :]]
        with pytest.raises(IncompleteError) as error:
            read_lines("\n".join(typed))
        assert {"line": number + 1} in error.value.items
        assert error.value.status == 3


def test_lines_that_lack_are_named(data: bytes) -> None:
    lines = to_lines(data)
    with pytest.raises(IncompleteError, match="3, 7") as error:
        read_lines("\n".join(line for number, line in enumerate(lines, 1) if number not in (3, 7)))
    assert list(error.value.items) == [{"line": 3}, {"line": 7}]


@pytest.mark.parametrize("text", ["", "hello\n", "\0" * 100])
def test_what_is_no_sheet(text: str) -> None:
    with pytest.raises(UsageError):
        read_lines(text)
    with pytest.raises(UsageError):
        read_lines("\n".join([*to_lines(b"one"), *to_lines(b"two")]))


def test_it_is_small_and_says_how_sure_it_is(data: bytes, keys: KeyPaths, other: KeyPaths) -> None:
    compact = read_compact(data)
    assert all(compact.holds(digest) for digest in DIGESTS)
    assert not any(compact.holds(Digest.of(f"other {number}".encode())) for number in range(10_000))
    assert compact.chance < 1e-9
    assert len(data) < 300 * 9 + 200
    assert data == make_compact(reversed(DIGESTS), load_private_key(keys.private))
    check_compact(compact, [load_public_key(keys.public)], "paper")
    with pytest.raises(VerificationError):
        check_compact(compact, [load_public_key(other.public)], "paper")
    with pytest.raises(VerificationError):
        check_compact(read_compact(make_compact(DIGESTS)), [load_public_key(keys.public)], "paper")
    changed = bytearray(data)
    changed[60] ^= 1
    with pytest.raises(IsthmusError):
        check_compact(read_compact(bytes(changed)), [load_public_key(keys.public)], "paper")


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200))
def test_hostile_paper_gives_our_error(junk: bytes) -> None:
    for data in (junk, b"IR1" + junk):
        try:
            read_compact(data)
        except UsageError:
            continue


def test_a_scanner_reads_the_codes(data: bytes) -> None:
    """By another program than the one that made them."""
    segno = pytest.importorskip("segno", reason="segno makes the QR codes")
    numpy: Any = pytest.importorskip("numpy", reason="zxing-cpp needs numpy to be given a picture")
    zxing: Any = pytest.importorskip("zxingcpp", reason="zxing-cpp reads QR codes")
    texts = []
    for text in code_texts(to_lines(data)):
        rows = [[0 if dark else 255 for dark in row] for row in segno.make_qr(text, error="m").matrix_iter(4, 4)]
        (found,) = zxing.read_barcodes(numpy.array(rows, dtype=numpy.uint8))
        texts.append(found.text)
    random.Random(1).shuffle(texts)
    assert read_lines("\n".join(texts)) == data


def test_without_segno_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.import_module("builtins").__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "segno":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr("builtins.__import__", without)
    with pytest.raises(UsageError, match="segno") as error:
        write_sheet(tmp_path / "x.svg", to_lines(b"x"), "about")
    assert ".txt" in error.value.hint
    assert write_sheet(tmp_path / "x.txt", to_lines(b"x"), "about") == 0


def isthmus(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    assert ended.value.code == status, capsys.readouterr()
    return json.loads(capsys.readouterr().out)


def test_the_commands(keys: KeyPaths, other: KeyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the site prints is typed outside, and the next bundle leaves out what the site has."""
    site, store = tmp_path / "site", tmp_path / "store"
    for place in (site, store):
        with Store.create(place) as held:
            fill(held)
    with Store.open(store) as held:
        put_image(held, "registry.example/team/new", "1", [b"only outside" * 100])
    with Store.open(site) as held:
        put_image(held, "registry.example/site/own", "1", [b"only inside" * 100])
    for kind in ("txt", "html", "svg"):
        sheet = tmp_path / f"sheet.{kind}"
        made = isthmus(capsys, "receipt", "--store", site, "--sign", keys.private, "--paper", sheet)
        assert made["codes"] == (0 if kind == "txt" else -(-made["lines"] // 14))
        assert sheet.stat().st_size
    typed = tmp_path / "sheet.txt"
    out = tmp_path / "site.receipt"
    words = ["receipt", "--store", store, "--read", typed, "--out", out]
    found = isthmus(capsys, *words, "--receipt-key", keys.public)
    assert (found["blobs"], found["on_paper"]) == (made["blobs"] - 3, made["blobs"])
    isthmus(capsys, *words[:-1], tmp_path / "x", "--receipt-key", other.public, status=4)
    read_receipt(out, [load_public_key(keys.public)])
    with pytest.raises(VerificationError):
        read_receipt(out, [load_public_key(other.public)])
    packing = ["pack", "--store", store, "--no-tool", "--since", out, "--receipt-key", keys.public]
    packed = isthmus(capsys, *packing, "--out", tmp_path / "update")
    assert (packed["blobs"], packed["deltas"]) == (3, found["blobs"])
    isthmus(capsys, "unpack", tmp_path / "update", "--store", site)
    wrong = isthmus(capsys, *packing[:4], "--since", typed, "--out", tmp_path / "other", status=2)
    assert "--read" in wrong["error"]["hint"]
    document = json.loads(out.read_bytes())
    document["blobs"].append([str(Digest("sha256:" + "f" * 64)), 5])
    out.write_text(json.dumps(document))
    isthmus(capsys, *packing, "--out", tmp_path / "third", status=4)
    typed.write_text("\n".join(typed.read_text().splitlines()[:-1]))
    assert isthmus(capsys, *words, status=3)["error"]["items"]
