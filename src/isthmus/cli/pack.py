"""`isthmus pack`: make a bundle of signed volumes from the store."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from isthmus.bundle import (
    BundlePlan,
    BundleReference,
    Held,
    held_by_all,
    load_private_key,
    load_public_key,
    pack,
    pack_again,
    pack_encrypted,
    pack_stream,
    plan_bundle,
    read_receipt,
)
from isthmus.bundle.ahead import StoreAhead
from isthmus.bundle.carried_lock import store_lock
from isthmus.bundle.documents import MAX_LOCK, with_lock
from isthmus.bundle.encryption import encrypted, plain_size, recipient
from isthmus.bundle.fitting import Companions, nothing_beside
from isthmus.bundle.medium import open_regular
from isthmus.cli.command import DEFAULT_LOCK, Run, common_options, fsync_option, parse_size
from isthmus.cli.output import human_size
from isthmus.cli.pack_plan import would_write
from isthmus.cli.pack_tool import choose_tool
from isthmus.cli.releasing import ReleaseOptions, release_options, write_release
from isthmus.errors import IncompleteError, UsageError
from isthmus.inventory.lock import LockEntry, read_lock
from isthmus.oci import Descriptor, Platform
from isthmus.store import Store

MEDIA: Final = {"cd": 734_003_200, "dvd": 4_695_000_000, "bd25": 24_700_000_000, "fat32": 4_294_967_295}
"""Bytes of the largest volume: discs less what their file system takes; on FAT a file ends before 4 GiB."""


@click.command("pack")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    help="The directory for the volumes; - writes them one after the other to standard output.",
)
@click.option(
    "--volume-size",
    metavar="SIZE",
    help="At most so much a volume: 650MB, 4GiB, cd, dvd, bd25, fat32…  [default: one volume]",
)
@click.option(
    "--parity", metavar="PERCENT", help="Add so much that damaged or lost parts can be rebuilt from: 10%."
)
@click.option(
    "--encrypt-to",
    "recipients",
    multiple=True,
    metavar="AGE_RECIPIENT",
    help="Encrypt to this age recipient (age1… or an SSH public key); may be given several times.",
)
@click.option("--again", metavar="VOLUME", help="Write only this volume (number or file name) once more.")
@click.option(
    "--sign",
    "key_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Sign with this private key; up to 8.",
)
@click.option("--sequence", type=click.IntRange(0), help="A number that grows with every bundle for a site.")
@click.option("--expires", metavar="DATE", help="The site refuses the bundle from then on: 2027-01-31.")
@click.option(
    "--since",
    "receipts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RECEIPT",
    help="Leave out what the site says it holds; given several times, what all the sites hold.",
)
@click.option(
    "--receipt-key",
    "receipt_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Require receipts to be signed by this public key.",
)
@click.option("--store", type=click.Path(path_type=Path), help="The store.  [default: WORKSPACE/store]")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    help="Pack what this lock names.  [default: ./isthmus.lock if present, otherwise all of the store]",
)
@click.option("--no-tool", is_flag=True, help="Do not carry Isthmus itself.")
@click.option(
    "--tool-wheels",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the wheels that Isthmus needs from here.  [default: by pip, as site.tools says]",
)
@click.option("--name", default=None, help="The bundle's name, part of the volumes' file names.")
@release_options
@fsync_option
@click.option("--dry-run", is_flag=True, help="Say what would be written; change nothing.")
@common_options
def command(
    run: Run,
    out: Path,
    volume_size: str | None,
    parity: str | None,
    recipients: tuple[str, ...],
    again: str | None,
    key_paths: tuple[Path, ...],
    sequence: int | None,
    expires: str | None,
    receipts: tuple[Path, ...],
    receipt_keys: tuple[Path, ...],
    store: Path | None,
    lock_path: Path | None,
    no_tool: bool,
    tool_wheels: Path | None,
    name: str | None,
    fsync: bool,
    dry_run: bool,
    release: ReleaseOptions,
) -> int:
    """Write everything that must cross into volumes that fit the medium, each verifiable alone.

    The same store, lock and options give the same bytes. After an interruption, run the same command again.
    The lock lies beside the first volume, or is inside a stream and encrypted volumes; after unpack it is
    isthmus.lock in the site's store.
    For whoever approves it, release.html says what crosses, with release.json, release.csv and an SBOM.
    Isthmus itself crosses too: at the site, python3 bootstrap.py --key PUB installs it without a network.

    \b
    Examples:
      isthmus pack --out bundle/ --sign keys/isthmus.key
      isthmus pack --out bundle/ --volume-size dvd --parity 10% --sign keys/isthmus.key
      isthmus pack --out bundle/ --volume-size dvd --again 3 --sign keys/isthmus.key
      isthmus pack --out bundle/ --sign keys/isthmus.key --encrypt-to "$(cat isthmus.age.pub)"
      isthmus pack --out - --sign keys/isthmus.key | ssh site isthmus unpack - --store /srv/store --key isthmus.pub
      isthmus pack --out update/ --since site.receipt --receipt-key site.pub --sign keys/isthmus.key
      isthmus pack --out bundle/ --sign keys/isthmus.key --previous old/release.json --signed-by cosign.pub
    """
    if str(out) == "-" and ((run.as_json and not dry_run) or again):
        raise UsageError("wrong-usage", "standard output is the bundle: --json and --again cannot be used with it")
    if recipients and again:
        raise UsageError("wrong-usage", "an encrypted volume cannot be the same again; pack the bundle once more")
    sealed = [recipient(text) for text in recipients]
    since = _held(run, receipts, receipt_keys)
    key = [load_private_key(path) for path in key_paths]
    until = None
    if expires:
        from isthmus.bundle.policy import expiry

        until = expiry(expires)
    size = volume_bytes(volume_size) if volume_size else None
    if size and sealed:
        size = plain_size(size, len(sealed))
    if lock_path is None and DEFAULT_LOCK.exists() and store is None:
        lock_path = DEFAULT_LOCK
    crossing = lock_path or (DEFAULT_LOCK if DEFAULT_LOCK.is_file() else None)
    with Store.open(store or run.store_path) as held:
        references = _references(read_lock(lock_path).references, lock_path, held) if lock_path else None
        config = run.config()
        title = name or (config.platform.name if config else "") or "bundle"
        tool = choose_tool(
            run,
            held,
            no_tool=no_tool,
            wheels=tool_wheels,
            encrypted=bool(sealed) and str(out) != "-",
            streamed=str(out) == "-",
            dry_run=dry_run,
        )
        lock = _lock(crossing, asked=lock_path is not None)
        planned = StoreAhead(held) if dry_run else held
        inside = _lock_inside(planned, references, lock) if tool.companions is nothing_beside else ()
        plan = plan_bundle(
            planned,
            references,
            size,
            title,
            since,
            _percent(parity),
            sequence,
            until,
            (*tool.first, *inside),
            _with_lock(tool.companions, lock),
        )
        if dry_run:
            alone = tool.plan_alone(held, size)
            document, said = would_write(plan, sealed, alone, streamed=str(out) == "-")
            run.emit(document, said) if run.as_json or str(out) != "-" else run.note(said)
            return 0
        number = _number(again, plan) if again else 0
        with run.progress("pack") as report:
            if str(out) == "-":
                with open(os.dup(sys.stdout.fileno()), "wb") as out_stream, _around(out_stream, sealed) as stream:
                    result = pack_stream(plan, held, stream, key, report)
            elif sealed:
                tool.pack_alone(held, out, size, key)
                result = pack_encrypted(plan, held, out, sealed, key, report, durable=fsync)
            elif number:
                result = pack_again(plan, number, held, out, key, report, durable=fsync)
            else:
                result = pack(plan, held, out, key, report, durable=fsync)
        place = release.directory(out, hidden=bool(sealed), again=bool(number))
        released = write_release(run, release, place, out, plan, held, lock_path, key, receipts) if place else []
    volumes = [{"file": str(v.file), "size": v.size, "sha256": v.sha256} for v in result.volumes]
    document = {
        "bundle": result.bundle,
        "volumes": volumes,
        "blobs": result.blobs,
        "bytes": result.bytes,
        "deltas": result.deltas,
        "full_bytes": result.full_bytes,
        "tool": tool.document(),
        "release": released,
    }
    less = f", without {result.deltas} blobs that the site holds" if receipts else ""
    signed = "signed" if key else "NOT SIGNED"
    count = "1 volume" if len(volumes) == 1 else f"{len(volumes)} volumes"
    lines = [f"bundle {result.bundle[:16]}…: {count}, {human_size(result.bytes)}{less}, {signed}"]
    lines += [f"  {volume['file']}  {volume['size']} bytes" for volume in volumes]
    lines += tool.lines()
    lines += [f"  {file}" for file in released if file.endswith(".html")]
    if str(out) == "-":
        run.note("\n".join(lines))
    else:
        run.emit(document, "\n".join(lines))
    return 0


def _lock(lock_path: Path | None, *, asked: bool) -> tuple[bytes, frozenset[str]] | None:
    """The lock that may cross, and the names in it; one that was not asked for may make no sense."""
    if lock_path is None:
        return None
    try:
        lock = read_lock(lock_path)
    except UsageError:
        if asked:
            raise
        return None
    with open_regular(lock_path) as file:
        return file.at(0, MAX_LOCK), frozenset(entry.stored_name for entry in lock.references)


def _with_lock(companions: Companions, lock: tuple[bytes, frozenset[str]] | None) -> Companions:
    """The files beside the volumes, with the lock where all that it names is carried or held."""
    if lock is None or companions is nothing_beside:
        return companions
    raw, named = lock
    return with_lock(companions, raw, lambda found: named <= {each.name for each in found.references})


def _lock_inside(
    store: Store | StoreAhead, references: list[BundleReference] | None, lock: tuple[bytes, frozenset[str]] | None
) -> tuple[BundleReference, ...]:
    """The lock as a part of a bundle that nothing lies beside, under the same condition."""
    if lock is None:
        return ()
    carried = {each.name for each in (store.references() if references is None else references)}
    return (store_lock(store, lock[0]),) if lock[1] <= carried else ()


def volume_bytes(text: str) -> int:
    """The bytes that a volume may have: a size, or the name of a medium with room left for its file system."""
    return MEDIA.get(text.strip().lower()) or parse_size(text)


def _around(stream: BinaryIO, recipients: Sequence[Any]) -> AbstractContextManager[BinaryIO]:
    return encrypted(stream, recipients) if recipients else nullcontext(stream)


def _percent(text: str | None) -> float:
    try:
        return float(text.strip().removesuffix("%")) if text else 0.0
    except ValueError:
        raise UsageError("invalid-size", f"not a percentage: {text!r}", hint="write 10%") from None


def _number(volume: str, plan: BundlePlan) -> int:
    """The volume that a number or a file name means."""
    names = [plan.manifest.file_name(number) for number in range(1, len(plan.manifest.volumes) + 1)]
    if Path(volume).name in names:
        return names.index(Path(volume).name) + 1
    if volume.isdecimal() and 1 <= int(volume) <= len(names):
        return int(volume)
    raise UsageError(
        "wrong-usage",
        f"the bundle has no volume {volume[:100]!r}; it has {names[0]} to {names[-1]}",
        hint="a volume is only the same again with the same store, lock and options",
    )


def _held(run: Run, receipts: tuple[Path, ...], key_paths: tuple[Path, ...]) -> Held | None:
    """What all the sites hold, by their receipts; None where there is no receipt."""
    if not receipts:
        if key_paths:
            raise UsageError("wrong-usage", "--receipt-key says who signed the receipts; give --since as well")
        return None
    keys = [load_public_key(path) for path in key_paths]
    if not keys:
        run.note("No --receipt-key was given: nobody vouches for the receipts.")
    return held_by_all(read_receipt(path, keys).blobs for path in receipts)


def _references(entries: tuple[LockEntry, ...], lock_path: Path, store: Store) -> list[BundleReference]:
    """What the lock names and the store must have; raises IncompleteError (`missing-content`)."""
    platforms = tuple(Platform.parse(text) for text in read_lock(lock_path).platforms)
    missing = [entry.name for entry in entries if store.blob_size(entry.digest) is None]
    if missing:
        raise IncompleteError(
            "missing-content",
            f"the store lacks {len(missing)} of the {len(entries)} references of {lock_path}",
            items=missing,
            hint="run 'isthmus pull' first",
        )
    return [
        BundleReference(
            name=entry.stored_name,
            descriptor=Descriptor(
                media_type=entry.media_type, digest=entry.digest, size=store.blob_size(entry.digest) or 0
            ),
            kind=entry.kind,
            platforms=platforms,
        )
        for entry in entries
    ]
