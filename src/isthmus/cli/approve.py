"""`isthmus approve`: sign that a bundle may cross."""

from pathlib import Path

import click

from isthmus.bundle import add_approval, approve, load_private_key, load_public_key, subject_of
from isthmus.bundle.approval import FILE
from isthmus.bundle.keys import short_id
from isthmus.cli.command import Run, common_options
from isthmus.errors import UsageError


@click.command("approve")
@click.argument("bundle", type=click.Path(path_type=Path), metavar="BUNDLE_OR_release.json")
@click.option(
    "--sign", "key_path", type=click.Path(path_type=Path), required=True, help="The approver's private key."
)
@click.option(
    "--key",
    "maker_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Require release.json to be signed by this public key of the bundle's maker.",
)
@click.option("--name", default="", help="Who approves, for those who read it.")
@click.option("--comment", default="", help="What is to be said about it.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file.  [default: approval.json beside the bundle]"
)
@click.option("--dry-run", is_flag=True, help="Say what would be approved; write nothing.")
@common_options
def command(
    run: Run,
    bundle: Path,
    key_path: Path,
    maker_paths: tuple[Path, ...],
    name: str,
    comment: str,
    out: Path | None,
    dry_run: bool,
) -> int:
    """Sign that a bundle may cross, after its release.html was read and the bundle was scanned.

    First, release.json is compared with the bundle where that is here, and release.html with release.json: what
    was read is what is approved. The approval holds for exactly this bundle and, where it is there, exactly this
    release.json. Several approvers add to the same file. `unpack --require-approval PUB`, or the site's policy,
    asks for it.

    \b
    Examples:
      isthmus approve bundle/ --key isthmus.pub --sign officer.key --name "A. Officer" --comment "CHG-1234"
      isthmus approve release.json --sign officer.key --out approval.json
    """
    subject = subject_of(bundle)
    if subject.release:
        from isthmus.report.checking import check_release

        keys = [load_public_key(path) for path in maker_paths]
        for line in check_release(subject.document, subject.manifest, keys):
            run.note(line)
    elif maker_paths:
        raise UsageError("file-not-found", "there is no release.json to verify", where=str(subject.document))
    target = out or subject.place / FILE
    approval = approve(subject, load_private_key(key_path), name, comment)
    count = 0 if dry_run else add_approval(target, approval)
    document = {
        "approval": str(target),
        "bundle": subject.bundle,
        "release": subject.release,
        "approved_by": approval.key[:16],
        "time": approval.statement.time,
        "approvals": count,
        "dry_run": dry_run,
    }
    about = f"bundle {subject.bundle[:16]}…"
    release = (
        f" and release.json {subject.release[:16]}…" if subject.release else ", which has no release.json here"
    )
    done = "would approve" if dry_run else f"{target}: approved"
    run.emit(
        document, f"{done} {about}{release}\nby {short_id(bytes.fromhex(approval.key))} at {document['time']}"
    )
    return 0
