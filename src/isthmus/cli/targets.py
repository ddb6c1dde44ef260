"""Where `push` and `mirror` write to: a registry and the mapping of names into it. Not here: copying."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from isthmus.cli.command import Run, parse_duration
from isthmus.cli.connecting import connection_options, host_options, same_host, without_credentials
from isthmus.cli.output import counted, human_size
from isthmus.cli.siting import checked_prefix
from isthmus.errors import UsageError
from isthmus.inventory import mapping as mappings
from isthmus.inventory.mapping import DEFAULT_PREFIX, MirrorMap, parse_mapping
from isthmus.oci import Descriptor, Digest, Reference

if TYPE_CHECKING:
    from isthmus.registry import Registry
    from isthmus.transfer import CopyResult, RegistrySurvey
    from isthmus.transfer.memory import Remembered
    from isthmus.transfer.wanted import Wanted

STATE = "state.sqlite"


@dataclass(frozen=True)
class Target:
    """A registry, and how names map into it."""

    host: str
    registry: "Registry"
    mapping: MirrorMap

    def name_inside(self, name: str) -> str:
        """What a reference is called there."""
        reference = Reference.parse(name)
        tag = f":{reference.tag}" if reference.tag else f"@{reference.digest}"
        return f"{self.host}/{self.mapping.repository(reference)}{tag}"


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that write to a registry."""
    for decorate in (
        click.option("--to", required=True, metavar="REGISTRY[/PREFIX]", help="The registry to fill."),
        click.option(
            "--mapping",
            type=click.Choice(get_args(mappings.Mapping)),
            default="prefix",
            show_default=True,
            help=f"prefix keeps the upstream host in the name (below PREFIX, or {DEFAULT_PREFIX}); flat drops it.",
        ),
        click.option(
            "--kind",
            type=click.Choice(["generic", "harbor"]),
            help="harbor: make the projects that names need, private unless isthmus.yaml says otherwise.  "
            "[default: site.registry.kind for that host, else generic]",
        ),
        click.option("--dry-run", is_flag=True, help="Say which names would be written; change nothing."),
        click.option(
            "--trust-for",
            metavar="DURATION",
            default="0s",
            help="Do not even ask for what was seen there within this time, as 90s, 10m, 24h or 7d.",
        ),
        click.option(
            "--verify", is_flag=True, help="Ask for every manifest and blob, whatever former runs completed."
        ),
        click.option(
            "--single-platform",
            is_flag=True,
            help="Where one platform of an index is carried, put that image under the tag: for registries that "
            "refuse an index with children missing. The digest of the tag changes, and is reported.",
        ),
    ):
        function = decorate(function)
    return function


def split_target(to: str, mapping: str) -> tuple[str, MirrorMap]:
    """The registry's host and the mapping of `REGISTRY[/PREFIX]`; raises UsageError (`wrong-usage`)."""
    shown = without_credentials(to)
    if "@" in to:
        hint = "log in (docker login, podman login), or name the credentials in isthmus.yaml (auth)"
        raise UsageError("wrong-usage", f"--to {shown!r}: credentials do not belong here", hint=hint)
    if "://" in to:
        raise UsageError("wrong-usage", f"--to {shown!r} begins with a scheme", hint="write host[:port][/prefix]")
    host, _, prefix = to.partition("/")
    kind = parse_mapping(mapping)
    if not prefix and kind == "prefix":
        prefix = DEFAULT_PREFIX
    return host, MirrorMap(mapping=kind, prefix=checked_prefix(prefix))


@contextmanager
def open_target(
    run: Run, to: str, mapping: str, ca: Path | None, insecure: bool, plain_http: bool, jobs: int
) -> Iterator[Target]:
    """Connect to the registry to fill, as isthmus.yaml says of it; closed at the end of the context."""
    from isthmus.registry import connect

    host, mirror_map = split_target(to, mapping)
    registry = connect(host, host_options(connection_options(ca, insecure, plain_http, jobs), run.config(), host))
    try:
        yield Target(host, registry, mirror_map)
    finally:
        registry.close()


def prepare_target(run: Run, target: Target, kind: str | None, names: Iterable[str]) -> None:
    """Make what the registry needs before names can be written there: the projects of a Harbor."""
    config = run.config()
    site = config.site.registry if config else None
    is_site = site is not None and same_host(site.host, target.host)
    if (kind or (site.kind if site is not None and is_site else "generic")) != "harbor":
        return
    from isthmus.transfer.harbor import ProjectOptions, ensure_projects

    options = ProjectOptions()
    if site is not None and is_site:
        options = ProjectOptions(public=site.projects.public, storage_limit=site.projects.storage_limit)
    repositories = (target.mapping.repository(Reference.parse(name)) for name in names)
    for project in ensure_projects(target.registry, repositories, options):
        run.note(f"made the {'public' if options.public else 'private'} project {project}")


@contextmanager
def surveying(run: Run, target: Target, trust_for: str, verify: bool) -> Iterator["RegistrySurvey"]:
    """What is known of the target from former runs, in the workspace's state; saved at the end."""
    from isthmus.transfer import Memory, RegistrySurvey

    seconds = parse_duration(trust_for)
    with Memory(run.workspace / STATE, target.host) as memory:
        target.registry.remember_uploads(memory)
        yield RegistrySurvey(target.registry, memory, trust_for=seconds, verify=verify)


def nothing_to_do(
    run: Run, target: Callable[[], AbstractContextManager[Target]], host: str, trust_for: str, jobs: int,
    wanted: Callable[[], "Sequence[Wanted]"],
) -> "tuple[CopyResult, int] | None":  # fmt: skip
    """What there is to say, with the number of requests, where all is still there that former runs completed.

    None where that is not so. The target is connected to only if it must be asked.
    """
    started = time.monotonic()
    seconds = parse_duration(trust_for)
    path = run.workspace / STATE
    if not os.path.isfile(path):
        return None
    from isthmus.transfer.memory import Memory
    from isthmus.transfer.result import CopyResult
    from isthmus.transfer.settled_there import find_settled

    with Memory(path, host) as memory, ExitStack() as stack:
        asked: list[Target] = []

        def registry() -> "Registry":
            asked.append(stack.enter_context(target()))
            return asked[0].registry

        found: Sequence[Remembered] | None = find_settled(wanted(), memory, seconds, registry, jobs)
        if found is None:
            return None
        blobs = memory.blobs([one.key for one in found])
        roots = tuple(one.root for one in found)
        took = time.monotonic() - started
        result = CopyResult(
            references=len(found), blobs=0, bytes=0, mounted=0, skipped=blobs, seconds=took, roots=roots
        )
        return result, sum(one.registry.requests for one in asked)


def stand_ins(run: Run, host: str) -> dict[tuple[str, Digest], Digest]:
    """What former runs of `--single-platform` put in place of indexes there, by repository and index."""
    from isthmus.transfer.memory import Memory

    path = run.workspace / STATE
    if not os.path.isfile(path):
        return {}
    with Memory(path, host) as memory:
        former = memory.recall().values()
    return {
        (one.repository, Digest(one.digest)): one.root.digest for one in former if one.root.digest != one.digest
    }


def digest_changes(names: Iterable[tuple[str, Digest]], result: "CopyResult") -> list[dict[str, str]]:
    """References of which the tag now stands for another digest than the one wanted, in the order of names."""
    return [
        {"name": name, "from": wanted, "to": root.digest}
        for (name, wanted), root in zip(names, result.roots, strict=True)
        if root.digest != wanted
    ]


def copy_document(
    result: "CopyResult", requests: int, changes: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """The contract's document of `mirror` and `push`."""
    document: dict[str, Any] = {
        "references": result.references,
        "blobs": result.blobs,
        "bytes": result.bytes,
        "mounted": result.mounted,
        "skipped": result.skipped,
        "requests": requests,
        "seconds": round(result.seconds, 3),
    }
    if changes:
        document["digest_changes"] = list(changes)
    return {**document, **foreign_document(result.skipped_foreign)}


def foreign_document(skipped: Sequence[Descriptor]) -> dict[str, Any]:
    """The foreign layers that were left out, where there are any."""
    layers = [{"digest": blob.digest, "size": blob.size, "urls": list(blob.urls or ())} for blob in skipped]
    return {"skipped_foreign": layers} if layers else {}


def show_foreign(skipped: Sequence[Descriptor]) -> None:
    """The same for people."""
    for blob in skipped:
        urls = f", which is at {', '.join(blob.urls)}" if blob.urls else ""
        click.secho(f"left out: the foreign layer {blob.digest} ({human_size(blob.size)}){urls}", fg="yellow")


def show_copy(to: str, result: "CopyResult", changes: Sequence[Mapping[str, str]] = ()) -> None:
    """The same for people."""
    show_foreign(result.skipped_foreign)
    for change in changes:
        click.echo(f"{change['name']} stands for {change['to']} there, instead of {change['from']}")
    what = f"{counted(result.references, 'reference')}, {counted(result.blobs, 'blob')}"
    click.echo(
        f"{to}: {what}, {human_size(result.bytes)} in {result.seconds:.1f} s; "
        f"{result.mounted} mounted, {result.skipped} there already"
    )
    if not result.finished:
        click.echo("manifests and tags are put once the blobs of all shards are there")
