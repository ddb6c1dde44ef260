"""How `scan`, `lock` and `mirror` come from sources to an inventory. Not here: scanning itself."""

from isthmus.cli.command import Run
from isthmus.errors import UsageError
from isthmus.inventory.model import Inventory, Item, Ref


def scan_platform(run: Run, sources: tuple[str, ...]) -> Inventory:
    """Scan the given sources, or else what isthmus.yaml names, and apply what the file says of them.

    What the file adds is part of its platform and so is left out where sources are given; its decisions
    and waivers always hold. Raises UsageError where there is nothing to scan.
    """
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
