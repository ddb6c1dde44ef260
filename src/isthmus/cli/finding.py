"""How `scan`, `lock`, `mirror` and `cross` come from sources to an inventory. Not here: scanning itself."""

from isthmus.cli.command import Run
from isthmus.errors import UsageError
from isthmus.inventory.model import Inventory


def scan_platform(run: Run, sources: tuple[str, ...]) -> Inventory:
    """Scan the given sources, or else what isthmus.yaml names; raises UsageError where there is neither."""
    from isthmus.scan.run import scan
    from isthmus.scan.source import SourceSpec

    config = run.config()
    if sources:
        return scan([SourceSpec.parse(text) for text in sources])
    if config is None:
        raise UsageError(
            "wrong-usage",
            "there is nothing to scan: no SOURCE was given and there is no isthmus.yaml",
            hint="name a source such as manifests:deploy/, or write the file with 'isthmus init'",
        )
    return scan([SourceSpec.parse(text) for text in config.platform.sources], config.platform)
