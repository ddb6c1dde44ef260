"""`isthmus keys`: make signing keys."""

from pathlib import Path

import click

from isthmus.bundle import generate_identity, generate_keys
from isthmus.cli.command import Run, common_options


@click.group("keys")
def command() -> None:
    """Make keys for signing bundles."""


@command.command("new")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The directory to write to.")
@click.option("--name", default="isthmus", show_default=True, help="What the files are called.")
@click.option("--age", is_flag=True, help="Make an age identity for encryption instead; its holder can decrypt.")
@common_options
def new(run: Run, out: Path, name: str, age: bool) -> int:
    """Make an Ed25519 key pair. The private key stays outside; the public one goes inside by a safe way.

    Nothing is overwritten.

    \b
    Example:
      isthmus keys new --out keys/
    """
    if age:
        paths = generate_identity(out, name)
        note = (
            f"recipient: {paths.key_id}  (pack --encrypt-to)\nidentity:  {paths.private} (keep it secret, inside)"
        )
        run.emit({"public": str(paths.public), "private": str(paths.private), "recipient": paths.key_id}, note)
        return 0
    paths = generate_keys(out, name)
    document = {"public": str(paths.public), "private": str(paths.private), "key_id": paths.key_id}
    run.emit(
        document, f"public key:  {paths.public}\nprivate key: {paths.private} (keep it secret)\nid: {paths.key_id}"
    )
    return 0
