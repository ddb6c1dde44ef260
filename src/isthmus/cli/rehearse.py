"""`isthmus rehearse`: pull everything for real in a network that has no way out, or on a cluster's own nodes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.cli.command import DEFAULT_LOCK, Run, common_options, parse_duration
from isthmus.errors import UsageError

if TYPE_CHECKING:
    from isthmus.rehearse.cluster import Cluster
    from isthmus.rehearse.result import RehearsalResult
    from isthmus.rehearse.site import Real
    from isthmus.site.plan import Site

_DEFAULT = "https://registry.rehearsal.internal"
_OWN_KUBECONFIG = "-"


@dataclass(frozen=True)
class Asked:
    """The options of this command."""

    lock_path: Path
    store: Path | None
    run_for: str | None
    only: tuple[str, ...]
    jobs: int
    servfail: bool
    runtime: str | None
    registry: str | None
    files: str | None
    scratch: Path | None
    discard: bool
    out: Path | None
    clean: bool
    cluster: str | None
    context: str | None
    namespace: str
    node: tuple[str, ...]
    patience: str
    dry_run: bool


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    path = click.Path(path_type=Path)
    for decorate in reversed(
        (
            click.option(
                "--lock", "lock_path", type=path, default=DEFAULT_LOCK, show_default=True, help="The lock."
            ),
            click.option("--store", type=path, help="The store.  [default: WORKSPACE/store]"),
            click.option(
                "--run",
                "run_for",
                metavar="TIME",
                help="Also start every image's entry point for so long, such as 10s.",
            ),
            click.option("--image", "only", multiple=True, metavar="GLOB", help="Only these images. Repeatable."),
            click.option(
                "--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Pulls at once."
            ),
            click.option(
                "--servfail",
                is_flag=True,
                help="Refuse unknown names, as the site does, instead of recording what follows.",
            ),
            click.option(
                "--runtime",
                type=click.Choice(["containerd", "podman"]),
                help="What the node has; podman stands for CRI-O.  [default: by site.nodes.runtime]",
            ),
            click.option(
                "--registry",
                metavar="URL",
                help="Pull from this running registry, not from one that serves the store.",
            ),
            click.option("--files", metavar="URL", help="Fetch from this running file server."),
            click.option(
                "--scratch", type=path, help="Where images are unpacked.  [default: the temporary directory]"
            ),
            click.option("--discard", is_flag=True, help="Remove each image when it was seen: needs less disk."),
            click.option("--out", type=path, help="Write the result there too: .html or .json."),
            click.option(
                "--clean", is_flag=True, help="Only remove what a rehearsal left behind that was killed."
            ),
            click.option(
                "--cluster",
                metavar="[KUBECONFIG]",
                is_flag=False,
                flag_value=_OWN_KUBECONFIG,
                help="Let the nodes of a real cluster pull, by kubectl.",
            ),
            click.option("--context", help="With --cluster: the context of the kubeconfig."),
            click.option(
                "--namespace", default="default", show_default=True, help="With --cluster: where the pods are."
            ),
            click.option(
                "--node", multiple=True, help="With --cluster: only this node. Repeatable.  [default: all ready]"
            ),
            click.option(
                "--patience",
                default="90s",
                show_default=True,
                metavar="TIME",
                help="With --cluster: how long a failed pull may still be tried again.",
            ),
            click.option("--dry-run", is_flag=True, help="With --cluster: print the pods, create nothing."),
        )
    ):
        function = decorate(function)
    return function


@click.command("rehearse")
@_options
@common_options
def command(run: Run, **options: Any) -> int:
    """Build the closed world on this machine, and pull everything of the lock in it by its original name.

    In network namespaces of their own, the site serves the store and a containerd with the generated
    configuration pulls from it; a default route leads nowhere but to a recorder. Files, charts and artifacts are
    fetched too. With --run, every entry point is started, and what it wants from the Internet is recorded by
    image and process: the downloads that nobody declared. Needs root, or user namespaces (which cover less).
    Everything is taken away again; the machine's own network is not touched.

    With --registry and --files, servers that are already running are used under the site's names; nothing else
    leaves. With --cluster, pods in one namespace let every node of a real cluster pull every image; nothing in
    them runs, and they are deleted.

    Ends with 3 where something did not come, or where an attempt to leave is not decided in isthmus.yaml
    (platform.decide).

    \b
    Examples:
      isthmus rehearse
      isthmus rehearse --run 10s --out rehearsal.html
      isthmus rehearse --registry https://registry.site.internal --scratch /var/tmp --discard
      isthmus rehearse --cluster ~/.kube/config --namespace rehearsal
      isthmus rehearse --clean
    """
    asked = Asked(**options)
    if asked.cluster is None and (asked.dry_run or asked.node or asked.context):
        raise UsageError("wrong-usage", "--dry-run, --node and --context are for --cluster")
    if asked.out is not None and asked.out.suffix not in (".html", ".json"):
        raise UsageError("wrong-usage", f"not .html or .json: {asked.out.name[:100]}")
    if asked.clean:
        return _clean(run, asked)
    if asked.dry_run:
        return _show_pods(run, asked)
    if asked.cluster is not None:
        return _finish(run, asked, _on_cluster(run, asked))
    status = _without_root(asked)
    return _finish(run, asked, _here(run, asked)) if status is None else status


def _clean(run: Run, asked: Asked) -> int:
    from isthmus.rehearse.cluster import clean_cluster
    from isthmus.rehearse.traces import clean

    if asked.cluster is not None:
        removed = clean_cluster(_cluster(asked))
    else:
        removed = clean(asked.scratch)
    said = "\n".join(f"removed {name}" for name in removed) or "nothing was left"
    run.emit({"removed": list(removed)}, said)
    return 0


def _without_root(asked: Asked) -> int | None:
    """The status of this command, run again inside namespaces of the user; None where we are root."""
    import os
    import sys

    from isthmus.rehearse import rootless
    from isthmus.rehearse.traces import clean

    if os.geteuid() == 0:
        return None
    if asked.registry or asked.files:
        raise UsageError("wrong-usage", "servers that are already running can only be used as root")
    if asked.runtime == "podman":
        raise UsageError("wrong-usage", "a rehearsal with podman needs root")
    clean(asked.scratch)
    return rootless.again(sys.argv[1:])


def _here(run: Run, asked: Asked) -> "RehearsalResult":
    from isthmus.rehearse.run import Options, rehearse
    from isthmus.store import Store

    real = _real(asked)
    site = _site(run, asked, real)
    store: Path | None = asked.store or run.store_path
    if not real.registry or (not real.files and any(entry.contents for entry in site.entries)):
        Store.open(asked.store or run.store_path).close()
    else:
        store = None
    options = Options(
        jobs=asked.jobs,
        seconds=parse_duration(asked.run_for) if asked.run_for else 0.0,
        sink=not asked.servfail,
        runtime=asked.runtime or ("podman" if site.config.site.nodes.runtime == "crio" else "containerd"),
        scratch=asked.scratch,
        discard=asked.discard,
        real=real,
    )
    with run.progress("rehearse", "items") as report:
        return rehearse(site, store, options, report)


def _real(asked: Asked) -> "Real":
    from urllib.parse import urlsplit

    from isthmus.rehearse.site import Real

    for url in filter(None, (asked.registry, asked.files)):
        try:
            parts = urlsplit(url)
            fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            fine = False
        if not fine or parts.path not in ("", "/") or parts.query or parts.username is not None:
            raise UsageError("wrong-usage", "not the URL of a server", where=url[:200], hint="https://host[:port]")
    return Real((asked.registry or "").rstrip("/"), (asked.files or "").rstrip("/"))


def _site(run: Run, asked: Asked, real: "Real | None" = None) -> "Site":
    from fnmatch import fnmatchcase

    from isthmus.cli.configure import site_of

    site = site_of(run, asked.lock_path, default=(real.registry if real else "") or _DEFAULT)
    if asked.only:
        entries = tuple(
            entry for entry in site.entries if any(fnmatchcase(entry.name, glob) for glob in asked.only)
        )
        if not entries:
            raise UsageError(
                "wrong-usage",
                f"nothing in the lock is like {', '.join(asked.only)}",
                where=str(asked.lock_path),
            )
        site = replace(site, entries=entries)
    return site


def _cluster(asked: Asked) -> "Cluster":
    from isthmus.rehearse.cluster import Cluster

    kubeconfig = None if asked.cluster in (None, _OWN_KUBECONFIG) else Path(str(asked.cluster)).expanduser()
    return Cluster(kubeconfig, asked.context or "", asked.namespace)


def _show_pods(run: Run, asked: Asked) -> int:
    import json

    from isthmus.rehearse.cluster import PullOptions, manifests, wanted

    found = manifests(_cluster(asked), wanted(_site(run, asked).entries), PullOptions(nodes=asked.node))
    run.emit(found, json.dumps(found, indent=2))
    return 0


def _on_cluster(run: Run, asked: Asked) -> "RehearsalResult":
    from isthmus.rehearse.cluster import PullOptions, rehearse_cluster, wanted

    options = PullOptions(nodes=asked.node, patience=parse_duration(asked.patience))
    images = wanted(_site(run, asked).entries)
    with run.progress("rehearse", "items") as report:
        return rehearse_cluster(_cluster(asked), images, options, report)


def _finish(run: Run, asked: Asked, result: "RehearsalResult") -> int:
    if asked.out is not None:
        config = run.config()
        _write(asked.out, result, config.platform.name if config else "platform")
    run.emit(result.document(), lambda: _show(result))
    return 0 if result.is_complete else 3


def _write(out: Path, result: "RehearsalResult", name: str) -> None:
    import json

    from isthmus.errors import UnreachableError

    if out.suffix == ".html":
        from isthmus.rehearse.page import rehearsal_page

        text = rehearsal_page(result, name)
    else:
        text = json.dumps(result.document(), indent=2, sort_keys=True) + "\n"
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be written: {error.strerror}", where=str(out)) from error


def _show(result: "RehearsalResult") -> None:
    for note in result.notes:
        click.echo(note)
    for failure in result.failed:
        click.echo(f"failed  {failure.name}: {failure.why}")
    for row in result.egress:
        click.echo(
            f"egress  {row.target}/{row.proto}  by {row.by}, {row.count} times: {row.decision or 'not decided'}"
        )
    done = f"{result.pulled} images pulled, {result.fetched} other things fetched"
    if result.started:
        done += f", {result.started} entry points started"
    wrong = f"{len(result.failed)} failed, {sum(not row.decision for row in result.egress)} undecided ways out"
    click.echo(f"{done} in {result.seconds:.1f} s; {wrong}")
