"""How `scan`, `lock` and `mirror` come from sources to an inventory. Not here: scanning itself."""

from collections.abc import Sequence
from typing import Protocol

from isthmus.cli.command import Run
from isthmus.errors import IncompleteError, IsthmusError, UnreachableError, UsageError, VerificationError
from isthmus.inventory.model import Inventory, Item, Ref


def scan_platform(run: Run, sources: tuple[str, ...]) -> Inventory:
    """Scan the given sources, or else what isthmus.yaml names, and apply what the file says of them.

    What the file adds is part of its platform and so is left out where sources are given; its decisions
    and waivers always hold. Raises UsageError where there is nothing to scan.
    """
    if run.scanned is not None and sources in run.scanned:
        return run.scanned[sources]
    found = _scan(run, sources)
    if run.scanned is not None:
        run.scanned[sources] = found
    return found


def _scan(run: Run, sources: tuple[str, ...]) -> Inventory:
    import msgspec

    from isthmus.inventory.settle import settle
    from isthmus.scan.run import scan
    from isthmus.scan.source import SourceSpec

    config = run.config()
    if config is None and not sources:
        raise UsageError(
            "wrong-usage",
            "there is nothing to scan: no SOURCE was given and there is no isthmus.yaml",
            hint="name a source such as manifests:deploy/, or write the file with 'isthmus init'",
        )
    if config is None:
        return scan(sources)
    platform = msgspec.structs.replace(config.platform, add=(), perishables=()) if sources else config.platform
    specs = [SourceSpec.parse(text) for text in sources or platform.sources]
    if run.file is not None and not sources:
        specs = [spec.under(str(run.file.parent)) for spec in specs]
    found = scan(specs, platform.catalogue)
    return settle(found, platform, str(run.file or "isthmus.yaml"), config.site)


def references_to_lock(
    run: Run, inventory: Inventory, include: tuple[str, ...]
) -> tuple[tuple[Ref, ...], tuple[Item, ...]]:
    """What of the inventory is locked, by the options and isthmus.yaml; and all that is left out of the lock."""
    from isthmus.inventory.settle import to_lock

    config = run.config()
    selection = (
        to_lock(inventory, {*include, *config.platform.include}, config.platform.waive)
        if config
        else to_lock(inventory, include)
    )
    return selection.references, (*inventory.unresolved, *selection.left)


class Failed(Protocol):
    """A reference that could not be resolved, and why."""

    @property
    def reference(self) -> Ref: ...  # noqa: D102

    @property
    def error(self) -> IsthmusError: ...  # noqa: D102


def refuse_incomplete(
    failures: Sequence[Failed], left: Sequence[Item], hint: str, also: Sequence[str] = ()
) -> None:
    """Raise VerificationError, UnreachableError or IncompleteError where something was not resolved or left out.

    Where nothing could be reached at all, that is the news, not that every single image is missing.
    """
    wrong = [f for f in failures if isinstance(f.error, VerificationError)]
    away = [f for f in failures if isinstance(f.error, UnreachableError) and f.error.code != "not-found"]
    listed = [f"{failure.reference.name}: {failure.error.message}" for failure in failures]
    if wrong:
        first_wrong = wrong[0].error
        raise VerificationError(
            first_wrong.code,
            f"{len(wrong)} references are not what they must be: {wrong[0].reference.name}: {first_wrong.message}",
            items=listed,
            hint=first_wrong.hint,
        )
    if away:
        first = away[0].error
        raise UnreachableError(
            first.code, f"{len(failures)} references could not be resolved", items=listed, hint=first.hint or hint
        )
    listed += [f"{item.what}: {item.why}" for item in left]
    listed += also
    if listed:
        raise IncompleteError("unresolved", f"{len(listed)} items could not be resolved", items=listed, hint=hint)
