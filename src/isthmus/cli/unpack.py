"""`isthmus unpack`: bring a bundle into a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from isthmus.bundle import MissingVolume, UnpackResult, load_policy, load_public_key, unpack, unpack_stream
from isthmus.bundle.compared import changed_beside
from isthmus.bundle.policy import gate
from isthmus.bundle.problems import error_for
from isthmus.cli.command import Run, common_options, fsync_option
from isthmus.cli.demanding import approval_options, demands_of, identity_option, image_options
from isthmus.cli.discs import can_ask, disc_by_disc
from isthmus.cli.documents import take_release
from isthmus.cli.output import human_size
from isthmus.cli.verify import called_as_sealed, source_of
from isthmus.errors import IncompleteError


@click.command("unpack")
@click.argument(
    "bundles", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="BUNDLE…"
)
@click.option("--store", type=click.Path(path_type=Path), required=True, help="The store to fill.")
@click.option(
    "--key", "keys", multiple=True, type=click.Path(path_type=Path), help="Require a signature by this public key."
)
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    help="What this site accepts: keys, threshold, sequence, expiry. Pinned for later runs.",
)
@click.option("--allow-older", is_flag=True, help="Take a bundle with an older sequence number.")
@identity_option
@approval_options
@image_options
@fsync_option
@common_options
def command(
    run: Run,
    bundles: tuple[Path, ...],
    store: Path,
    keys: tuple[Path, ...],
    identity_paths: tuple[Path, ...],
    policy_path: Path | None,
    allow_older: bool,
    approver_paths: tuple[Path, ...],
    approval_files: tuple[Path, ...],
    signers: tuple[str, ...],
    attestations: tuple[str, ...],
    fsync: bool,
) -> int:
    """Bring volumes into a store, in any order, all at once or one after the other; - reads them from a pipe.

    The store changes only when the whole bundle is there and verified. What was read before is kept beside
    the store and need not be read again. The lock and the release document that lie beside the volumes go into the
    store too, where serve shows them. On a terminal it asks for the next disc until the bundle is complete.

    \b
    Examples:
      isthmus unpack bundle/ --store /srv/store --key isthmus.pub
      ssh outside cat bundle/*.isv | isthmus unpack - --store /srv/store --key isthmus.pub
      isthmus unpack /media/cdrom --store /srv/store --key isthmus.pub
      isthmus unpack bundle/ --store /srv/store --key isthmus.pub --identity isthmus.age
      isthmus unpack bundle/ --store /srv/store --key isthmus.pub --require-approval officer.pub
      isthmus unpack bundle/ --store /srv/store --require-signed-by cosign.pub='registry.example/*'
    """
    demands = demands_of(approver_paths, approval_files, bundles, signers, attestations)
    policy = load_policy(policy_path) if policy_path else None
    public = [load_public_key(path) for path in keys]
    if not public and not gate(store, policy=policy).keys:
        run.note("No --key was given: damage will be found, but not who made this bundle.")

    def attempt(places: tuple[Path, ...]) -> UnpackResult:
        with run.progress("unpack") as report, _sealed_names(sealed=bool(identity_paths)):
            if (source := source_of(places, identity_paths)) is not None:
                bring = partial(unpack_stream, source)
            else:
                bring = partial(unpack, places)
                for file in changed_beside(places):
                    run.note(f"{file} is not the file that was packed; do not run or trust it")
            return bring(
                store,
                public,
                report,
                durable=fsync,
                policy=policy,
                allow_older=allow_older,
                demands=demands,
            )

    result = disc_by_disc(bundles, attempt) if can_ask(bundles, as_json=run.as_json) else attempt(bundles)
    reports = take_release(run, bundles, store, result.bundle, public or gate(store, policy=policy).keys)
    document = {
        "blobs": result.blobs,
        "bytes": result.bytes,
        "rebuilt": result.rebuilt,
        "missing": list(result.missing),
        "reports": reports,
    }
    rebuilt = f", {result.rebuilt} of them rebuilt from parity" if result.rebuilt else ""
    run.emit(document, f"{store}: {result.blobs} blobs, {human_size(result.bytes)}{rebuilt}")
    return 0


@contextmanager
def _sealed_names(*, sealed: bool) -> Iterator[None]:
    """Say of missing volumes how their encrypted files are called."""
    try:
        yield
    except IncompleteError as error:
        if not sealed or error.code != "missing-volume":
            raise
        volumes = [MissingVolume(**{**item, "references": tuple(item["references"])}) for item in error.items]
        raise error_for((), [called_as_sealed(volume) for volume in volumes]) or error from error
