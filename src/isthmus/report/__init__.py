"""What people and auditors read: release reports, SBOMs, coverage; and the same for machines.

`release` makes the documents of a bundle; `page`, `charts` and `templates` are the parts that any report is
laid out with; `packages` looks into images. Not here: anything that decides what crosses.
"""

from isthmus.report.changes import earlier, read_release
from isthmus.report.model import Release
from isthmus.report.release import Asked, make_release

__all__ = ["Asked", "Release", "earlier", "make_release", "read_release"]
