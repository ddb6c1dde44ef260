"""`isthmus receipt`: say what a store holds, to carry back."""

import os
from pathlib import Path

import click

from isthmus.bundle import load_private_key, make_receipt
from isthmus.cli.command import Run, common_options
from isthmus.store import Store


@click.command("receipt")
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option("--sign", "key_path", type=click.Path(path_type=Path), help="Sign with this private key.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The receipt to write.")
@common_options
def command(run: Run, store: Path | None, key_path: Path | None, out: Path) -> int:
    """Write down what the store holds, by digest, so that the next bundle need carry only what is new.

    \b
    Example:
      isthmus receipt --store /srv/store --sign site.key --out site.receipt
    """
    key = load_private_key(key_path) if key_path else None
    with Store.open(store or run.store_path) as held:
        raw = make_receipt(held, key)
        blobs = sum(1 for _ in held.iter_blobs())
    temporary = out.with_name(out.name + ".partial")
    temporary.write_bytes(raw)
    os.replace(temporary, out)
    run.emit({"receipt": str(out), "blobs": blobs}, f"{out}: {blobs} blobs")
    return 0
