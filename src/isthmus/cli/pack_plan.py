"""What `pack --dry-run` says: the bytes that the same command would write. Not here: planning them (`bundle`)."""

from collections.abc import Sequence
from typing import Any

from isthmus.bundle import BundlePlan
from isthmus.bundle.encryption import sealed_size
from isthmus.cli.output import human_size


def would_write(
    plan: BundlePlan, recipients: Sequence[Any], tool: BundlePlan | None, *, streamed: bool
) -> tuple[dict[str, Any], str]:
    """The volumes' bytes for `--json` and for people; `tool` is its own bundle, where it is one.

    Of encrypted files, `bytes` are the most that they may have and `least_bytes` the least, since each begins with
    something of random length.
    """
    sizes = [plan.size] if streamed else [volume.size for volume in plan.manifest.volumes]
    bounds = [sealed_size(size, recipients) if recipients else (size, size) for size in sizes]
    least, most = (sum(column) for column in zip(*bounds, strict=True))
    count = len(plan.manifest.volumes)
    document = {
        "dry_run": True,
        "bundle": plan.bundle,
        "bytes": most,
        "least_bytes": least,
        "volumes": count,
        "tool_bytes": tool.size if tool else 0,
    }
    exact = f"{most} bytes" if least == most else f"{least} to {most} bytes"
    lines = [f"would write {count} volume{'' if count == 1 else 's'}, {human_size(most)} ({exact})"]
    if tool:
        lines.append(f"and Isthmus itself in a bundle of its own, not encrypted, {human_size(tool.size)}")
    return document, "\n".join(lines)
