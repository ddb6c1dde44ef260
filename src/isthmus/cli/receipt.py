"""`isthmus receipt`: say what a store holds, to carry back, on paper too; and read paper back."""

import os
from pathlib import Path

import click

from isthmus.bundle import load_private_key, make_receipt
from isthmus.bundle.compact import check_compact, make_compact, read_compact
from isthmus.bundle.keys import SigningKey, load_public_key
from isthmus.bundle.medium import open_regular, write_file
from isthmus.bundle.receipt import paper_receipt
from isthmus.cli.command import Run, common_options
from isthmus.errors import UsageError
from isthmus.store import Store

_MOST_TEXT = 16 * 1024 * 1024


@click.command("receipt")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option("--sign", "key_path", type=click.Path(path_type=Path), help="Sign with this private key.")
@click.option("--out", type=click.Path(path_type=Path), help="The receipt to write.")
@click.option(
    "--paper",
    type=click.Path(path_type=Path),
    help="Write the receipt for a way back on paper: F.txt (lines to type), F.svg (QR codes), F.html (both).",
)
@click.option(
    "--read",
    "typed",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Read lines that were typed, or QR codes that were scanned, and write --out; may be given many times.",
)
@click.option(
    "--receipt-key",
    "public_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="With --read: the paper must be signed by this public key.",
)
@common_options
def command(
    run: Run,
    store: Path | None,
    key_path: Path | None,
    out: Path | None,
    paper: Path | None,
    typed: tuple[Path, ...],
    public_paths: tuple[Path, ...],
) -> int:
    """Write down what the store holds, by digest, so that the next bundle need carry only what is new.

    On paper, each digest is cut short; which blobs are meant is found in the store of whoever reads it, before the
    next `pack --since`.

    \b
    Examples:
      isthmus receipt --store /srv/store --sign site.key --out site.receipt
      isthmus receipt --store /srv/store --sign site.key --paper receipt.html
      isthmus receipt --read typed.txt --receipt-key site.pub --out site.receipt
    """
    if typed:
        if out is None or paper or key_path:
            raise UsageError("wrong-usage", "--read needs --out, and goes with neither --paper nor --sign")
        return _read(run, store, typed, public_paths, out)
    if public_paths:
        raise UsageError("wrong-usage", "--receipt-key says who signed what --read reads")
    if not out and not paper:
        raise UsageError("wrong-usage", "say where to write the receipt", hint="--out F, or --paper F.html")
    key = load_private_key(key_path) if key_path else None
    document: dict[str, object] = {}
    lines = []
    with Store.open(store or run.store_path) as held:
        document["blobs"] = sum(1 for _ in held.iter_blobs())
        if out:
            raw = make_receipt(held, key)
            temporary = out.with_name(out.name + ".partial")
            temporary.write_bytes(raw)
            os.replace(temporary, out)
            document["receipt"] = str(out)
            lines.append(f"{out}: {document['blobs']} blobs")
        if paper:
            document |= _paper(held, key, paper)
            lines.append(f"{paper}: {document['lines']} lines, {document['codes']} QR codes")
    document.setdefault("receipt", str(paper))
    run.emit(document, "\n".join(lines))
    return 0


def _paper(held: Store, key: SigningKey | None, paper: Path) -> dict[str, object]:
    from isthmus.carry.paper import to_lines, write_sheet

    data = make_compact((digest for digest, _ in held.iter_blobs()), key)
    compact, lines = read_compact(data), to_lines(data)
    about = (
        f"Isthmus paper receipt: {len(compact.prefixes)} blobs, {8 * compact.prefix_size} bits of each digest; "
        f"one of a million others is taken for one of them with a chance of {compact.chance:.0e}. "
        f"{f'Signed by {key.public}' if key else 'NOT SIGNED'}."
    )
    codes = write_sheet(paper, lines, about)
    return {"paper": str(paper), "lines": len(lines), "codes": codes, "chance": compact.chance}


def _read(run: Run, store: Path | None, typed: tuple[Path, ...], keys: tuple[Path, ...], out: Path) -> int:
    from isthmus.carry.paper import read_lines

    data = read_lines("\n".join(_text(path) for path in typed))
    compact, where = read_compact(data), ", ".join(str(path) for path in typed)
    public = [load_public_key(path) for path in keys]
    if public:
        check_compact(compact, public, where)
    else:
        run.note("No --receipt-key was given: nobody vouches for the receipt.")
    with Store.open(store or run.store_path) as held:
        raw = paper_receipt(data, held)
        found = sum(1 for digest, _ in held.iter_blobs() if compact.holds(digest))
    write_file(out, [memoryview(raw)])
    document = {"receipt": str(out), "blobs": found, "on_paper": len(compact.prefixes)}
    run.emit(document, f"{out}: {found} of the {len(compact.prefixes)} blobs on paper are in this store")
    return 0


def _text(path: Path) -> str:
    with open_regular(path) as file:
        if file.size > _MOST_TEXT:
            raise UsageError("invalid-input", "it is too large to have been typed", where=str(path))
        return file.at(0, file.size).decode("utf-8", "replace")
