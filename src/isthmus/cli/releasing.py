"""The release document that `pack` writes for the security officer: its options, and where its files go.

Not here: what is in it (`report`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from isthmus.bundle import BundlePlan, SigningKey, read_receipt
from isthmus.bundle.beside import replace, write_beside
from isthmus.bundle.medium import io_errors
from isthmus.cli.command import Run
from isthmus.errors import UsageError
from isthmus.inventory.lock import read_lock
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.bundle import SignedBy
    from isthmus.report.changes import Earlier


def release_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--release, --no-release, --previous, --sbom and --signed-by; the command gets them as `release`."""

    def wrapped(*arguments: Any, **options: Any) -> Any:
        names = ("release_dir", "no_release", "previous", "sbom", "signed_by")
        chosen = ReleaseOptions(*(options.pop(name) for name in names))
        return function(*arguments, release=chosen, **options)

    wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.option(
        "--release",
        "release_dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Write release.html, .json and .csv and sbom.cdx.json there.  [default: beside the volumes]",
    ),
    click.option("--no-release", is_flag=True, help="Write no release document."),
    click.option(
        "--previous",
        type=click.Path(path_type=Path),
        metavar="release.json",
        help="Say what changed since this release.  [default: since the receipts, if any]",
    ),
    click.option(
        "--sbom",
        type=click.Choice(["none", "carried", "full"]),
        default="full",
        show_default=True,
        help="Look for packages nowhere, in attached SBOMs, or in layers too (each layer is opened once).",
    ),
    click.option(
        "--signed-by",
        multiple=True,
        metavar="COSIGN.PUB[=PATTERN]",
        help="Check the signatures of images by this key, and say so in the release document.",
    ),
)


class ReleaseOptions:
    """What was asked for."""

    def __init__(
        self, place: Path | None, no_release: bool, previous: Path | None, sbom: str, signed_by: tuple[str, ...]
    ) -> None:
        if place is not None and no_release:
            raise UsageError("wrong-usage", "either --release or --no-release, not both")
        self.place = place
        self.wanted = not no_release
        self.sbom = sbom
        self.before = _earlier(previous) if previous else None
        self.signers = _signers(signed_by) if signed_by else ()

    def directory(self, out: Path, *, hidden: bool, again: bool) -> Path | None:
        """Where the files go: nowhere of their own accord where the bundle is a stream, encrypted, or mended."""
        if not self.wanted or again:
            return None
        return self.place or (None if str(out) == "-" or hidden else out)


def _signers(signed_by: tuple[str, ...]) -> "tuple[SignedBy, ...]":
    from isthmus.cli.demanding import demands_of

    return demands_of((), (), (), signed_by).signed


def _earlier(path: Path) -> "Earlier":
    from isthmus.report import earlier

    return earlier(path)


def _held(receipts: Sequence[Path]) -> "Earlier | None":
    """What the sites hold is what to compare with where no earlier release was given."""
    from isthmus.report.changes import held_before

    return held_before([read_receipt(path) for path in receipts]) if receipts else None


def write_release(
    run: Run,
    options: ReleaseOptions,
    place: Path,
    out: Path,
    plan: BundlePlan,
    store: Store,
    lock_path: Path | None,
    keys: Sequence[SigningKey],
    receipts: Sequence[Path] = (),
) -> list[str]:
    """Make the release document of a packed bundle and write its files; their paths. Raises `io-failed`."""
    from isthmus.report import Asked, make_release
    from isthmus.report.contents import Mode
    from isthmus.report.release import DOCUMENT, SIGNATURE

    references = read_lock(lock_path).references if lock_path else ()
    asked = Asked(
        evidence={(entry.kind, entry.stored_name): entry.evidence for entry in references},
        signers=options.signers,
        before=options.before or _held(receipts),
        mode=cast("Mode", options.sbom),
        cache=run.workspace / "cache",
        keys=tuple(str(key.public) for key in keys),
    )
    with run.progress("release") as report:
        _, files = make_release(plan, store, asked, report)
    if keys:
        files[SIGNATURE] = keys[0].sign(files[DOCUMENT]).value
    if place == out:
        write_beside(place, files)
    else:
        with io_errors(place):
            place.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            replace(place / name, data)
    return [str(place / name) for name in sorted(files)]
