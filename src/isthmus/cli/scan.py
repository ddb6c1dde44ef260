"""`isthmus scan`: find everything that a platform will ask for."""

from collections import Counter
from pathlib import Path

import click
import msgspec

from isthmus.cli.command import Run, common_options
from isthmus.cli.finding import scan_platform
from isthmus.cli.output import print_table
from isthmus.errors import UsageError
from isthmus.inventory.merge import difference
from isthmus.inventory.model import Inventory, Ref
from isthmus.oci import Reference


@click.command("scan")
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
@click.option("--out", type=click.Path(path_type=Path), help="Write the inventory there too, as JSON.")
@click.option("--why", metavar="REFERENCE", help="Show every piece of evidence for one reference.")
@click.option("--diff", "old", type=click.Path(path_type=Path), help="Say what changed since this inventory.")
@click.option("--all", "show_all", is_flag=True, help="Show conditional, test and merely possible references too.")
@common_options
def command(
    run: Run, sources: tuple[str, ...], out: Path | None, why: str | None, old: Path | None, show_all: bool
) -> int:
    """Find every image, artifact and file that the platform will ask for, with evidence for each.

    \b
    SOURCE is KIND:VALUE, for instance
      manifests:deploy/         a file or directory of YAML or JSON, - for standard input
      images:images.txt         a reference a line
      helm:./chart?values=my.yaml&namespace=web
    Without SOURCE, those of isthmus.yaml are scanned.

    \b
    Examples:
      isthmus scan manifests:deploy/ images:extra.txt
      kubectl get deploy,ds,sts -A -o yaml | isthmus scan manifests:-
      isthmus scan manifests:deploy/ --why registry.k8s.io/pause:3.10
      isthmus scan manifests:deploy/ --out next.json --diff last.json

    Exit status 3 when anything could not be resolved; it is listed.
    """
    inventory = scan_platform(run, sources)
    if out:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(inventory, enc_hook=str), indent=2) + b"\n")
    if old:
        return _compare(run, _read_inventory(old), inventory)
    if why:
        return _explain(run, inventory, why)
    run.emit(inventory, lambda: _show(inventory, show_all))
    return 3 if inventory.unresolved else 0


def _show(inventory: Inventory, show_all: bool) -> None:
    shown = [ref for ref in inventory.references if show_all or ref.is_locked]
    rows = [(_host(ref), ref.kind, ref.name, _sureness(ref), _first(ref)) for ref in sorted(shown, key=_host)]
    print_table(f"{len(shown)} references", ("upstream", "kind", "name", "", "evidence"), rows)
    left = [ref for ref in inventory.references if not ref.is_locked]
    if left and not show_all:
        kinds = Counter("possible" if ref.confidence == "possible" else ref.when for ref in left)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        click.echo(f"{len(left)} more are not locked unless asked for ({listed}); --all shows them")
    if inventory.endpoints:
        asked = [(e.purpose, e.url, e.decision or "open", e.advice) for e in inventory.endpoints]
        columns = ("purpose", "endpoint", "decision", "advice")
        print_table(f"{len(asked)} endpoints, which cannot be carried", columns, asked)
    for item in inventory.unresolved:
        click.secho(f"unresolved: {item.what}: {item.why}", fg="red", err=True)
        if item.hint:
            click.echo(f"  hint: {item.hint}", err=True)


def _explain(run: Run, inventory: Inventory, name: str) -> int:
    normal = str(Reference.parse(name)) if "://" not in name else name
    found = [ref for ref in inventory.references if normal == ref.name or name in ref.as_written]
    if not found:
        click.secho(f"{name} was not found in this platform", fg="red", err=True)
        return 3
    rows = [
        (f.rule, f.confidence, f.when, f.source, f.object, f.path, f.note) for ref in found for f in ref.findings
    ]
    columns = ("rule", "sure", "when", "source", "object", "path", "note")
    run.emit(found, lambda: print_table(f"{normal}", columns, rows))
    return 0


def _read_inventory(path: Path) -> Inventory:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Inventory)
    except FileNotFoundError as error:
        raise UsageError("file-not-found", "there is no such inventory", where=str(path)) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            "invalid-input", f"not an inventory: {error}", where=str(path), hint="'isthmus scan --out' writes one"
        ) from error


def _compare(run: Run, old: Inventory, new: Inventory) -> int:
    """What an upgrade brings and what it no longer needs."""
    added, removed = difference(old, new)

    def show() -> None:
        for mark, colour, refs in (("+", "green", added), ("-", "red", removed)):
            for ref in refs:
                click.secho(f"{mark} {ref.kind} {ref.name}", fg=colour)
        click.echo(f"{len(added)} added, {len(removed)} removed")

    run.emit({"added": added, "removed": removed}, show)
    return 3 if new.unresolved else 0


def _host(ref: Ref) -> str:
    if ref.kind in ("image", "artifact", "chart") and "://" not in ref.name:
        return ref.name.partition("/")[0]
    return ref.name.partition("://")[2].partition("/")[0]


def _sureness(ref: Ref) -> str:
    words = [ref.confidence] if ref.confidence != "certain" else []
    return " ".join(words + ([ref.when] if ref.when != "always" else []))


def _first(ref: Ref) -> str:
    if not ref.findings:
        return ""
    first = ref.findings[0]
    more = f" (+{len(ref.findings) - 1})" if len(ref.findings) > 1 else ""
    return f"{first.object} {first.path}".strip() + more
